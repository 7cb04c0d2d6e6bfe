"""The good files that mutants are made of: small clips of every container and codec that the tests know."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.mutants import Corpus
from tests.video.clips import make_clip
from tests.video.conftest import CLIPS
from tests.video.corpus import KINDS, make_video

_FRAMES = 40


def corpus(folder: Path, *, whole: bool) -> Corpus:
    """The corpus, made in `folder` where it is not there yet; the same bytes each time.

    whole: also what ffmpeg makes; without it, PyAV's clips alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_clip(folder, name) for name in CLIPS]
    if whole:
        made = folder / "ffmpeg"
        made.mkdir(exist_ok=True)
        paths += [make_video(made, name) for name in KINDS]
    return Corpus({str(path.relative_to(folder)): path.read_bytes() for path in paths})


def _clip(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        how = CLIPS[name]
        pts = {"pts": how["pts"][:_FRAMES]} if "pts" in how else {}
        options = {"fflags": "+bitexact", **how.get("container_options", {})}
        make_clip(path, **{**how, **pts, "frames": _FRAMES, "container_options": options})
    return path
