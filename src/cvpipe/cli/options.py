"""Options that several commands have, and the settings of this call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cvpipe.errors import InvalidRequest, explain

if TYPE_CHECKING:
    from cvpipe.settings import Settings


def read_file(text: str) -> Path:
    """The path that a video is named by. Raises: typer.BadParameter."""
    if not text:
        raise typer.BadParameter("wanted the name of a file, got ''")
    if "://" in text:
        raise typer.BadParameter(f"only files are read, not addresses: download {text!r} first")
    return Path(text)


Json = Annotated[bool, typer.Option("--json", help="Machine-readable output; errors too, on standard error.")]
Url = Annotated[str, typer.Option("--url", envvar="CVPIPE_URL", help="Address of the service.")]
From = Annotated[float | None, typer.Option("--from", help="Seconds since the first frame. Default: the start.")]
To = Annotated[float | None, typer.Option("--to", help="Seconds since the first frame. Default: the end.")]
StopWhen = Annotated[
    str | None,
    typer.Option(
        "--stop-when",
        metavar="CONDITION",
        help='End with the first frame for which it holds: any(label == "person" and score > 0.5).',
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, max=1024, help="Chunks worked on at once. Default: the cores.")
]
Decode = Annotated[
    Literal["cpu", "nvdec", "auto"] | None,
    typer.Option(
        "--decode",
        help="What decodes videos: the CPU; nvdec, an NVIDIA card; auto, that where it works. Default: CVPIPE_DECODE, "
        "or cpu.",
    ),
]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on. Default: CVPIPE_HOST or 127.0.0.1.")]
Auth = Annotated[
    Literal["keys", "none"] | None,
    typer.Option(
        help="Whether requests must bring a key. Default: CVPIPE_AUTH; else unless only this machine can ask."
    ),
]
Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one. Default: 8000.")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Videos, results and the store. Default: CVPIPE_DATA_DIR.")
]

DEFAULT_URL = "http://127.0.0.1:8000"


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment, with the options that were given on the command line on top.

    Raises: InvalidRequest, naming the environment variable or option.
    """
    from pydantic import ValidationError

    from cvpipe.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        shown = f"--{name.replace('_', '-')}" if name in given else f"CVPIPE_{name.upper()}"
        raise InvalidRequest(explain(first), field=shown if name else None) from None
