"""The good files that mutants are made of: small clips of every container and codec that the tests know."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.mutants import Corpus
from tests.video.clips import make_clip
from tests.video.conftest import CLIPS

_FRAMES = 40


def corpus(folder: Path) -> Corpus:
    """The corpus, made in `folder` where it is not there yet; the same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, how in CLIPS.items():
        path = folder / name
        if not path.exists():
            pts = how.get("pts")
            more = {} if pts is None else {"pts": pts[:_FRAMES]}
            make_clip(path, **{**how, "frames": _FRAMES, **more})
    return Corpus({path.name: path.read_bytes() for path in folder.iterdir()})
