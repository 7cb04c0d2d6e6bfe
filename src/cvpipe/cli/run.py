"""`cvpipe run`: a pipeline on a video, in this process, without any service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvpipe.cli import extras, output
from cvpipe.cli.exits import ExitCode, exit_code_of_state
from cvpipe.cli.options import Decode, From, Json, StopWhen, Threads, To, load_settings, read_file

if TYPE_CHECKING:
    from cvpipe.camera import CameraSpec
    from cvpipe.job import TimeRange


def run(
    *,
    video: Annotated[Path, typer.Argument(metavar="VIDEO", parser=read_file, help="The video file.")],
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Name of a pipeline, or a YAML or JSON file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made where it is missing.")],
    chunk_seconds: Annotated[float, typer.Option(min=0.2, max=120, help="Length of a unit of work, about.")] = 30,
    annotate: Annotated[bool, typer.Option("--annotate", help="Also write a copy with the findings drawn.")] = False,
    starts_at: Annotated[
        str | None,
        typer.Option(
            "--starts-at",
            metavar="TIME",
            help="When the first frame was taken: ISO 8601 with its zone, 2026-01-01T10:00:00Z. Default: what the file "
            "says.",
        ),
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(
            "--camera", metavar="FILE", help="The camera that recorded it (YAML, JSON), for stages that name none."
        ),
    ] = None,
    start: From = None,
    stop: To = None,
    stop_when: StopWhen = None,
    threads: Threads = None,
    decode: Decode = None,
    as_json: Json = False,
) -> ExitCode:
    """Run a pipeline on a video in this process, without any service.

    Writes frames.ndjson and job.json to the folder (annotated.mp4 with --annotate, and what stages make of the whole
    video), over those of an earlier run.
    With --json the job document comes on standard output.
    """
    from cvpipe.camera import read_camera
    from cvpipe.pipeline import check_stop, load_pipeline, with_cameras
    from cvpipe.pipeline.cards import check_cards

    settings = load_settings(threads=threads, decode=decode)
    spec = load_pipeline(pipeline, settings=settings, files=True, field="--pipeline")
    known = None if camera is None else read_camera(camera, field="--camera")
    spec = with_cameras(spec, camera_file, default=known)
    check_cards(spec, settings.models_path)
    check_stop(spec, stop_when, field="--stop-when")
    time_range = read_range(start, stop)
    began = None if starts_at is None else read_moment(starts_at)
    extras.require("worker", what="cvpipe run")
    from cvpipe.engine import run_local

    with output.progress(video.name) as on_progress:
        job = run_local(
            video,
            spec,
            out,
            settings=settings,
            chunk_seconds=chunk_seconds,
            annotate=annotate,
            range=time_range,
            starts_at=began,
            stop_when=stop_when,
            on_progress=on_progress,
        )
    if as_json:
        output.as_json(job)
    else:
        frames = job["frames"]
        lost = frames["total"] - frames["ok"]
        inside = sum(gap["status"] != "missing" for gap in job["gaps"])
        notes = [f"{lost} could not be read, in {output.count(inside, 'gap')}"] if lost else []
        notes += ["the file is cut off"] if inside < len(job["gaps"]) else []
        if told := job.get("stopped"):
            notes.append(f"seen enough at {told['time']:.1f} s")
        notes += [f"{frames} decoded by {what}" for what, frames in job["decoding"].items()]
        notes += [note for name, told in job["summary"].items() if (note := _note(name, told))]
        noted = f" ({', '.join(notes)})" if notes else ""
        files = ", ".join(str(out / name) for name in job["exports"])
        total = output.count(frames["total"], "frame")
        output.line(f"{total}{noted} in {job['seconds']:.1f} s, {job['fps']:.1f} frames/s: {files}")
    return exit_code_of_state(job["state"])


def _note(stage: str, told: Mapping[str, Any]) -> str | None:
    """What a stage's summary says of things that were left out; None where nothing was."""
    if "calls" in told:  # it counts questions, not frames
        missing = told["failed"] + told["skipped"]
        return (
            f"{missing} of {output.count(told['items'], 'question')} of {stage} without an answer" if missing else None
        )
    return f"{told['skipped']} skipped by {stage}" if told.get("skipped") else None


FILES_OF_CAMERAS = (".yaml", ".yml", ".json")
"""How the name of a camera's file ends; others are names of cameras of a service."""


def camera_file(name: str) -> CameraSpec:
    """The camera of a stage: here, where there is no service, the name of a file. Raises: InvalidRequest."""
    from cvpipe.camera import read_camera
    from cvpipe.errors import InvalidRequest

    if not name.endswith(FILES_OF_CAMERAS):
        raise InvalidRequest(f"a service knows cameras by name; here, name a YAML or JSON file instead of {name!r}")
    return read_camera(Path(name))


def read_moment(text: str) -> float:
    """Seconds since the epoch of what --starts-at names. Raises: InvalidRequest."""
    from cvpipe.errors import InvalidRequest
    from cvpipe.results import epoch_seconds

    try:
        return epoch_seconds(text)
    except ValueError as error:
        raise InvalidRequest(f"wanted a time like 2026-01-01T10:00:00Z: {error}", field="--starts-at") from None


def read_range(start: float | None, stop: float | None) -> TimeRange | None:
    """The part of a video that --from and --to name. Raises: InvalidRequest."""
    from cvpipe.errors import InvalidRequest
    from cvpipe.job import MAX_SECONDS, TimeRange

    if start is None and stop is None:
        return None
    for name, value in (("--from", start), ("--to", stop)):
        if value is not None and not 0 <= value <= MAX_SECONDS:
            raise InvalidRequest(f"wanted seconds from 0 to {MAX_SECONDS:.0f}, got {value:g}", field=name)
    if stop is not None and stop <= (start or 0):
        raise InvalidRequest("must be greater than --from", field="--to")
    return TimeRange(start=start or 0, stop=stop)
