"""Families of networks: the code that reads the outputs of one kind of network.

To add a family, write `cvpipe/models/NAME.py` with a subclass of `DetectionFamily`; the file's name, with dashes for
underscores, is what a model card calls `family`.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard, nearest

Floats = npt.NDArray[np.float32]

_MAX_CANDIDATES = 4096


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes on a network's canvas, best score first.

    box: (n, 4) float32, x1, y1, x2, y2 in pixels of the canvas. score: (n,) float32. class_id: (n,) int64.
    """

    box: Floats
    score: Floats
    class_id: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.box)

    @classmethod
    def none(cls) -> Boxes:
        """No boxes."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


class DetectionFamily(ABC):
    """Reads the outputs of one kind of detector. Has no state."""

    kind: ClassVar[str]

    @abstractmethod
    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel where outputs of these shapes (one picture of the card's size) aren't this family's."""

    @abstractmethod
    def decode(self, outputs: Sequence[Floats], view: View, *, score_threshold: float, iou_threshold: float) -> Boxes:
        """The boxes in the outputs for one picture on the canvas of `view`.

        score_threshold: boxes below it are dropped. iou_threshold: of two boxes of one class that overlap more, the one
        with the lower score is dropped.
        """


@cache
def discover() -> dict[str, DetectionFamily]:
    """Every family by its kind. An ImportError or a family in a file of another name stops the process."""
    found: dict[str, DetectionFamily] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for value in vars(module).values():
            if not (
                isinstance(value, type) and issubclass(value, DetectionFamily) and value.__module__ == module.__name__
            ):
                continue
            if value.kind != module_info.name.replace("_", "-"):
                raise RuntimeError(f"{value.__module__} must be named after its family {value.kind!r}")
            if value.kind in found:
                raise RuntimeError(f"two families are called {value.kind!r}")
            found[value.kind] = value()
    return found


def family(card: ModelCard) -> DetectionFamily:
    """The family that reads the outputs of the card's network. Raises: InvalidModel with the nearest name."""
    families = discover()
    if card.family not in families:
        hint = nearest(card.family, sorted(families))
        raise InvalidModel(f"model {card.ref}: there is no family {card.family!r}{hint}", field="family")
    return families[card.family]


def best_boxes(box: Floats, score: Floats, class_id: npt.NDArray[np.int64], *, iou_threshold: float) -> Boxes:
    """Greedy non-maximum suppression within each class; the order is by falling score, then by position.

    box: (n, 4) x1, y1, x2, y2. score, class_id: (n,). Boxes without area are dropped.
    """
    solid = np.flatnonzero((box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]))
    order = solid[np.argsort(-score[solid], kind="stable")][:_MAX_CANDIDATES]
    box, score, class_id = box[order], score[order], class_id[order]
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    alive = np.ones(len(box), bool)
    for i in range(len(box)):
        if not alive[i]:
            continue
        rest = np.flatnonzero(alive[i + 1 :] & (class_id[i + 1 :] == class_id[i])) + i + 1
        if not len(rest):
            continue
        overlap = np.minimum(box[i, 2:], box[rest, 2:]) - np.maximum(box[i, :2], box[rest, :2])
        shared = overlap.clip(0).prod(axis=1)
        alive[rest[shared > iou_threshold * (area[i] + area[rest] - shared)]] = False
    return Boxes(box=box[alive], score=score[alive], class_id=class_id[alive])
