"""One stage, shown some pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.stages import discover, make

FPS = 25


def open_stage(kind: str, **options: Any) -> Any:
    """The stage, named after its type, opened and begun."""
    stage: Any = make(discover()[kind].Options.model_validate({"type": kind, "name": kind, **options}))
    stage.open(OnnxTools(Path("none"), device="cpu"))
    stage.begin()
    return stage


def show(stage: Any, pictures: Sequence[np.ndarray], *, view: View | None = None, first: int = 0) -> list[Found]:
    """What the stage finds on pictures, uint8 of the view that it asks for; default: the whole frame as it is."""
    results: list[Found] = []
    for number, picture in enumerate(pictures, first):
        upstream = view or View.of(picture.shape[1], picture.shape[0])
        frame = Frame(number, number, number / FPS, stage.view(upstream), picture)
        results += stage.process([frame], [Objects.none()])
    return results


def look_at(kind: str, picture: np.ndarray, *, view: View | None = None, **options: Any) -> FrameRecord:
    """The record of a frame that only this stage has looked at, as it is stored."""
    (found,) = show(open_stage(kind, **options), [picture], view=view)
    return FrameRecord.unpack(FrameRecord(0, 0, 0.0).with_found(found).pack())
