"""`cvpipe videos`: the files of a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cvpipe.cli import output
from cvpipe.cli.doors import open_client
from cvpipe.cli.options import DEFAULT_URL, From, Json, To, Url

app = typer.Typer(name="videos", help="Videos of a running service.", no_args_is_help=True)


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The video file.")],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Send a video to the service and show its id. The same file twice is the same video."""
    with open_client(url) as client, output.progress(file.name, unit="bytes") as on_progress:
        video = client.upload(file, on_progress=on_progress)
    if as_json:
        output.as_json(video.model_dump(mode="json"))
    else:
        output.line(video.id)


@app.command()
def show(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="Its id, the sha256 of the file.")],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show what the service knows of a video."""
    with open_client(url) as client:
        found = client.video(video)
    if as_json:
        output.as_json(found.model_dump(mode="json"))
        return
    output.line(f"{found.id}  {found.state}  {found.size} bytes")
    for name, value in (found.facts or {}).items():
        output.line(f"  {name}: {value}")
    if found.error is not None:
        output.line(f"  error: {found.error.message} ({found.error.code})")


Out = Annotated[Path, typer.Option("--out", "-o", help="The file to write.")]
VideoId = Annotated[str, typer.Argument(metavar="VIDEO", help="Its id, the sha256 of the file.")]
Width = Annotated[int | None, typer.Option(min=16, max=8192, help="Pixels; the height follows.")]


@app.command()
def frame(
    *,
    video: VideoId,
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="In display order, from 0.")],
    out: Out,
    width: Width = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Save a frame as a picture: a PNG where the file's name says so, else a JPEG."""
    with open_client(url) as client:
        kind: Literal["jpg", "png"] = "png" if out.suffix.lower() == ".png" else "jpg"
        output.whole_file(out, client.frame_picture(video, number, width=width, format=kind))
    _saved(out, as_json=as_json)


@app.command()
def sheet(
    *,
    video: VideoId,
    out: Out,
    columns: Annotated[int | None, typer.Option(min=1, max=20, help="Frames side by side.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, max=50, help="Lines of frames.")] = None,
    width: Width = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Save a contact sheet: evenly spaced frames with their times."""
    with open_client(url) as client:
        output.whole_file(out, client.sheet(video, columns=columns, rows=rows, width=width))
    _saved(out, as_json=as_json)


@app.command()
def clip(
    *, video: VideoId, out: Out, start: From = None, stop: To = None, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """Save a part of a video as an MP4 file."""
    with open_client(url) as client, output.progress(out.name, unit="bytes") as on_progress:
        client.clip(video, start or 0, stop, out, on_progress=on_progress)
    _saved(out, as_json=as_json)


def _saved(out: Path, *, as_json: bool) -> None:
    if as_json:
        output.as_json({"saved": str(out)})
    else:
        output.line(str(out))
