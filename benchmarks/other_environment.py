"""An environment for the readers that cvpipe never uses itself, decord and torchcodec, in `.bench/readers`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.clips import FOLDER

_PACKAGES = {"decord": ("numpy", "decord"), "torchcodec": ("numpy", "torch", "torchcodec")}
_IMPORTS = {"decord": "import decord", "torchcodec": "import torch; from torchcodec.decoders import VideoDecoder"}
_SECONDS = 400


def python_for(reader: str) -> tuple[Path | None, str]:
    """A Python that has the reader, or None and why there is none. Installs it from PyPI the first time.

    torchcodec needs torch (5 GB on disk) and FFmpeg's shared libraries from the system.
    """
    python = FOLDER / "readers" / "bin" / "python"
    try:
        if not python.exists():
            _run(sys.executable, "-m", "venv", str(FOLDER / "readers"))
        if not _imports(python, reader):
            print(f"installing {', '.join(_PACKAGES[reader])} into {FOLDER.name}/readers, once", flush=True)
            _run(*installer(python), *_PACKAGES[reader])
            _run(str(python), "-c", _IMPORTS[reader])
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return None, said[-1][:60] if said else "it failed"
    return python, ""


def installer(python: Path) -> list[str]:
    """The command that installs packages there: uv, where it is at hand."""
    uv = shutil.which("uv", path=str(FOLDER.parent / ".uv" / "bin")) or shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "--quiet"]


def _imports(python: Path, reader: str) -> bool:
    return (
        subprocess.run([str(python), "-c", _IMPORTS[reader]], check=False, capture_output=True, timeout=60).returncode
        == 0
    )


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
