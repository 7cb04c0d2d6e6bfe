"""`cvpipe videos`: the files of a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cvpipe.cli import output
from cvpipe.cli.doors import open_client
from cvpipe.cli.options import DEFAULT_URL, Json, Url

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
