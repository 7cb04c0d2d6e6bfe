"""The cameras of a pipeline, written into it: a job keeps those that it began with, whatever becomes of their names."""

from __future__ import annotations

from collections.abc import Callable

from cvpipe.calibration import calibrate
from cvpipe.camera import CameraSpec
from cvpipe.errors import CvpipeError, InvalidPipeline
from cvpipe.pipeline.spec import PipelineSpec, place
from cvpipe.stages import StageOptions
from cvpipe.stages.undistort import UndistortOptions

FindCamera = Callable[[str], CameraSpec]


def with_cameras(
    spec: PipelineSpec, find: FindCamera, *, default: str | CameraSpec | None = None, field: str = ""
) -> PipelineSpec:
    """The pipeline with each camera written out that a stage names.

    find: the camera of a name; raises NotFound. default: of stages that name none. field: path of the pipeline in what
    the caller sent; the default's is `camera`. Raises: NotFound; InvalidPipeline where a stage has no camera;
    InvalidRequest where one can't be calibrated; Conflict where its lens is still looked for.
    """
    stages = []
    for number, options in enumerate(spec.stages):
        if not options.needs_camera:
            stages.append(options)
            continue
        where = ".".join(part for part in (field, f"stages.{number}.camera") if part)
        own = getattr(options, "camera")  # noqa: B009 - any stage may have the option
        wanted = own or default
        if wanted is None:
            raise InvalidPipeline(
                f"{place(number, options)} needs a camera: name one in the stage, or with the job", field=where
            )
        try:
            camera = find(wanted) if isinstance(wanted, str) else wanted
            if sees_ground(options):
                calibrate(camera)
            elif camera.lens is None:
                raise InvalidPipeline(f"the lens of camera {camera.name!r} is not known")
        except CvpipeError as error:
            raise type(error)(error.message, field=where if own else "camera") from None
        stages.append(options.model_copy(update={"camera": camera}))
    return spec.model_copy(update={"stages": tuple(stages)})


def sees_ground(options: StageOptions) -> bool:
    """Whether a stage looks at the ground before its camera, and not only through its lens."""
    return not isinstance(options, UndistortOptions)
