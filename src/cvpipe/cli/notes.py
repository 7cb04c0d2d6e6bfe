"""What is known here of a pipeline's cameras and of the servers that it calls, and what only a service can know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cvpipe.cli.run import FILES_OF_CAMERAS
from cvpipe.errors import AddressRefused, CvpipeError, InvalidPipeline

if TYPE_CHECKING:
    from cvpipe.pipeline import PipelineSpec
    from cvpipe.settings import Settings


def notes_on(spec: PipelineSpec, settings: Settings) -> list[str]:
    """What is to be noted of a pipeline. Raises: CvpipeError where something is wrong wherever it runs."""
    return [*_notes_on_cameras(spec), *_notes_on_calls(spec, settings)]


def _notes_on_cameras(spec: PipelineSpec) -> list[str]:
    from cvpipe.camera import read_camera
    from cvpipe.pipeline.spec import place

    notes = []
    for number, options in enumerate(spec.stages):
        wanted = getattr(options, "camera", None)
        if isinstance(wanted, str) and wanted.endswith(FILES_OF_CAMERAS):
            try:
                read_camera(Path(wanted))
            except CvpipeError as error:
                where = f"stages.{number}.camera"
                raise type(error)(f"{place(number, options)}: {error.message}", field=where) from None
        elif isinstance(wanted, str):
            notes.append(f"{place(number, options)}: whether there is a camera {wanted!r} the service knows")
        elif options.needs_camera and wanted is None:
            notes.append(f"{place(number, options)} takes the camera that comes with the job (--camera)")
    return notes


def _notes_on_calls(spec: PipelineSpec, settings: Settings) -> list[str]:
    from cvpipe.outside import Outside, Rules, Secrets
    from cvpipe.pipeline import Policy, check_calls, check_policy

    notes = []
    headers = None if settings.outside_secrets is None else Secrets.read(settings.outside_secrets).headers
    check_calls(spec, Outside(Rules.opened()).check, headers)
    if headers is None:
        wanted = sorted({secret for options in spec.stages if (secret := getattr(options, "secret", None)) is not None})
        notes += [f"whether there is a secret {name!r} the service knows (CVPIPE_OUTSIDE_SECRETS)" for name in wanted]
    try:
        check_calls(spec, Outside.of(settings).check, None)
        check_policy(spec, Policy.of(settings.outside_pictures))
    except (AddressRefused, InvalidPipeline) as error:
        notes.append(error.message)
    return notes
