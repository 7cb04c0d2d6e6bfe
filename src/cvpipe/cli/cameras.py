"""`cvpipe cameras`: the cameras of a running service; files of cameras, and lenses from chessboards, here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvpipe.cli import extras, output
from cvpipe.cli.doors import open_client
from cvpipe.cli.options import DEFAULT_URL, Json, Url, load_settings, read_file
from cvpipe.errors import InvalidRequest

if TYPE_CHECKING:
    from cvpipe.cameras import Camera

app = typer.Typer(name="cameras", help="Cameras: from pixels to metres.", no_args_is_help=True)

CameraFile = Annotated[Path, typer.Argument(metavar="FILE", help="A YAML or JSON file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The camera's name.")]


@app.command()
def add(
    file: CameraFile,
    replace: Annotated[bool, typer.Option("--replace", help="Make a new version of the one that is there.")] = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Give a camera to the service; says how well its marks fit."""
    with open_client(url) as client:
        _show(client.add_camera(file, replace=replace), as_json=as_json)


@app.command()
def ls(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List the cameras of the service."""
    with open_client(url) as client:
        cameras = client.cameras()
    if as_json:
        output.as_json([camera.model_dump(mode="json", exclude_none=True) for camera in cameras])
        return
    output.columns(
        ("CAMERA", "VERSION", "STATE", "KNOWN BY", "ERROR"),
        [(c.name, c.version, c.state, _known_by(c), "-" if c.reprojection is None else _pixels(c)) for c in cameras],
    )


@app.command()
def show(
    camera: Annotated[
        str, typer.Argument(metavar="CAMERA", help="`name` or `name@version`; or a file, without service.")
    ],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show a camera and how well it is known; a file is calibrated here."""
    if camera.endswith((".yaml", ".yml", ".json")):
        from cvpipe.camera import read_camera
        from cvpipe.cameras import Camera

        spec = read_camera(Path(camera))
        _show(Camera.of(spec, state="ready" if spec.chessboard is None else "calibrating"), as_json=as_json)
        return
    with open_client(url) as client:
        _show(client.camera(camera), as_json=as_json)


@app.command()
def rm(name: Name, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Remove a camera with all its versions; jobs keep theirs."""
    with open_client(url) as client:
        client.remove_camera(name)
    if as_json:
        output.as_json({"removed": [name]})
    else:
        output.line(f"{name} removed")


@app.command()
def calibrate(
    video: Annotated[
        Path, typer.Argument(metavar="VIDEO", parser=read_file, help="A chessboard, held before the camera.")
    ],
    columns: Annotated[int, typer.Option(min=3, max=50, help="Inner corners in a row: one less than squares.")],
    rows: Annotated[int, typer.Option(min=3, max=50, help="Inner corners in a column.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Camera file to write, YAML. Default: shown only.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find a lens in the video of a chessboard, on this machine.

    Hold the board still and tilted, now here, now there, until it has been all over the picture.
    """
    extras.require("worker", what="cvpipe cameras calibrate")
    import yaml

    from cvpipe.engine.chessboard import find_lens
    from cvpipe.inference import OnnxTools
    from cvpipe.video import Decoders, Limits

    if not video.is_file():
        raise InvalidRequest(f"no video file {str(video)!r}")
    settings = load_settings()
    with Decoders(limits=Limits.of(settings)) as decoders, output.progress(video.name) as on_progress:
        index = decoders.index(video)
        found = find_lens(
            decoders, video, index, OnnxTools.of(settings).cv2, columns=columns, rows=rows, on_progress=on_progress
        )
    width, height = found.size
    document: dict[str, Any] = {"width": width, "height": height, "lens": found.lens.model_dump(mode="json")}
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if as_json:
        output.as_json({**document, "reprojection": {"rms": found.rms_pixels}, "pictures": found.pictures})
        return
    where = "" if out is None else f": {out}"
    output.line(f"{found.pictures} pictures of the board, reprojection error {found.rms_pixels:.2f} pixels{where}")
    if out is None:
        output.line(text.rstrip())


def _show(camera: Camera, *, as_json: bool) -> None:
    if as_json:
        output.as_json(camera.model_dump(mode="json", exclude_none=True))
        return
    version = "" if camera.version is None else f"@{camera.version}"
    output.line(f"{camera.name}{version} is {camera.state}, known by {_known_by(camera)}")
    if camera.reprojection is not None:
        worst = camera.reprojection
        output.line(
            f"  reprojection error {_pixels(camera)}; the worst of {worst.marks}: {worst.worst_mark}, {worst.worst:.2f}"
        )
    if camera.position is not None:
        x, y, z = camera.position
        output.line(f"  stands at {x:.2f}, {y:.2f}, {z:.2f} m up")
    if camera.error is not None:
        output.line(f"  {camera.error.message}")


def _known_by(camera: Camera) -> str:
    spec = camera.camera
    parts = [
        name
        for name, value in (
            ("lens", spec.lens), ("chessboard", spec.chessboard), ("pose", spec.pose), ("points", spec.points),
            ("lines", spec.lines), ("views", spec.views),
        )
        if value
    ]  # fmt: skip
    return ", ".join(parts)


def _pixels(camera: Camera) -> str:
    assert camera.reprojection is not None
    return f"{camera.reprojection.rms:.2f} pixels"
