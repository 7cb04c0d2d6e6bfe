"""Frames of the shared video of people in a room; the shared models, added or with their example cards."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.modelfiles import Limits, Wish, add_model
from cvpipe.results import Objects
from cvpipe.stages import discover
from examples.handmade import write_models
from tests.modelcards import CARDS, write_yolox_card

SOURCE = View.of(768, 432)
FILES = {
    "deeplab-voc": "deeplab_v3_voc.onnx",
    "skin-clothes-hair": "pan_skin_clothes_hair.onnx",
    "person-reid": "person_reid_0288.onnx",
    "yunet": "yunet_n_dynamic.onnx",
}
ADDED: dict[str, tuple[str, dict[str, Any]]] = {
    "yolox-nano": ("yolox_nano.onnx", {"labels": "coco"}),
    "fastestdet": ("fastestdet.onnx", {"labels": "coco"}),
    "yunet": ("yunet_n_dynamic.onnx", {}),
    "deeplab-voc": ("deeplab_v3_voc.onnx", {"labels": "voc"}),
    "skin-clothes-hair": ("pan_skin_clothes_hair.onnx", {"labels": "skin,clothes,hair"}),
    "person-reid": ("person_reid_0288.onnx", {}),
}
"""All that has to be said of a shared model when it is added."""


def add_shared(models: Path, assets: Path, name: str, **more: Any) -> None:
    """Add one of the shared models to a folder of models, as `cvpipe models add` does."""
    file, said = ADDED[name]
    limits = Limits(memory_bytes=3 * 2**30, seconds=60)
    add_model(assets / "models" / file, Wish(name=name, **said, **more), models, limits)


def write_cards(models: Path, assets: Path) -> Path:
    """Put the example cards and their networks, and those made by hand, into a folder of models."""
    write_models(models)
    write_yolox_card(models, assets)
    for name, file in FILES.items():
        (models / name).mkdir(exist_ok=True)
        (models / name / file).symlink_to((assets / "models" / file).resolve())
        shutil.copy(CARDS / name / "model.yaml", models / name)
    return models


@cache
def _keyframes(assets: Path) -> list[av.VideoFrame]:
    with av.open(str(assets / "videos" / "one-by-one-person-detection.mp4")) as container:
        container.streams.video[0].codec_context.skip_frame = "NONKEY"
        return [frame for _, frame in zip(range(101), container.decode(video=0), strict=False)]


class Room:
    """The room, seen by stages with models that were added; each tenth frame is there. Stages are opened once."""

    def __init__(self, assets: Path, models: Path) -> None:
        self._assets, self._models = assets, models
        self._tools = OnnxTools(models, device="cpu")
        self._opened: dict[str, Any] = {}

    def open(self, kind: str, **options: Any) -> Any:
        """A stage, its name being its type."""
        key = f"{kind} {sorted(options.items())}"
        if key not in self._opened:
            add_shared(self._models, self._assets, options["model"])
            cls = discover()[kind]
            stage = cls(cls.Options.model_validate({"type": kind, "name": kind} | options))
            stage.open(self._tools)
            self._opened[key] = stage
        return self._opened[key]

    def frame(self, stage: Any, number: int) -> Frame:
        """A frame as the stage sees it."""
        picture = _keyframes(self._assets)[number // 10]
        view = stage.view(SOURCE)
        x, y, width, height = view.content
        image = np.full(view.shape, view.pad, np.uint8)
        image[y : y + height, x : x + width] = picture.reformat(width, height, view.format).to_ndarray()
        return Frame(number, number, number / 10, view, image)

    def people(self, number: int) -> Objects:
        """What YOLOX finds on a frame, under the stage's name `detect`."""
        stage = self.open("detect", model="yolox-nano", classes=["person"])
        (found,) = stage.process([self.frame(stage, number)], [Objects.none()])
        assert found.added is not None
        return found.added

    def look(self, stage: Any, numbers: list[int], found: list[Objects] | None = None) -> list[dict[str, Any]]:
        """The records of frames after the stage, in JSON."""
        from tests.picturenetworks import records

        found = found or [Objects.none() for _ in numbers]
        return records(stage.process([self.frame(stage, number) for number in numbers], found), found)
