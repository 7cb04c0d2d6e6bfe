"""Families of networks: the code that reads the outputs of one kind of network.

To add a family, write `cvpipe/models/NAME.py` with a subclass of `ObjectFamily`, `PoseFamily`, `MapFamily` or
`VectorFamily`; the file's name, with dashes for underscores, is what a model card calls `family`.

A family gets the outputs for some pictures at once, each a tuple without the batch dimension, and reads them together
(`stacked`). What it says is in pixels of the canvas that the network saw; stages take it back to the source frame.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from cvpipe.errors import InvalidModel
from cvpipe.frames import View
from cvpipe.inference.cards import ModelCard, Task, nearest, read_options
from cvpipe.models.suppression import TOGETHER, Places, kept_boxes

Floats = npt.NDArray[np.float32]
Outputs = tuple[npt.NDArray[Any], ...]
Ints = npt.NDArray[np.int64]


class FamilyOptions(BaseModel):
    """What a card may say to its family under `options`; subclasses add their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """Which objects stay.

    score: those below it are dropped. iou: of two boxes of one class that overlap more, the one with the lower score is
    dropped; families whose networks find each thing once take no notice of it. objects: at most this many on a picture,
    the best ones. classes: places in the card's labels; objects of others are dropped; None: none are.
    masks: whether masks are wanted.
    """

    score: float
    iou: float
    objects: int = 300
    classes: frozenset[int] | None = None
    masks: bool = True


@dataclass(frozen=True, slots=True)
class Patch:
    """How likely it is that pixels belong to an object: a small map of a part of the canvas.

    box: (4,) x1, y1, x2, y2 of that part, in pixels of the canvas. value: (h, w) float32, chances or logits, as the
    network's own code looks between the middles of cells. level: what is above it is inside.
    """

    box: Floats
    value: Floats
    level: float = 0.5


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes on a network's canvas, best score first.

    box: (n, 4) float32, x1, y1, x2, y2 in pixels of the canvas. score: (n,) float32. class_id: (n,) int64.
    keypoints: (n, k, 3) float32, x and y in pixels of the canvas, and score, all NaN for an object that has none; or
    None. mask: n patches, or None.
    """

    box: Floats
    score: Floats
    class_id: Ints
    keypoints: Floats | None = None
    mask: tuple[Patch, ...] | None = None

    def __len__(self) -> int:
        return len(self.box)

    @classmethod
    def none(cls) -> Boxes:
        """No boxes."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def take(self, places: Places) -> Boxes:
        """The boxes at these places, in their order."""
        return Boxes(
            self.box[places],
            self.score[places],
            self.class_id[places],
            None if self.keypoints is None else self.keypoints[places],
            None if self.mask is None else tuple(self.mask[i] for i in places.tolist()),
        )


@dataclass(frozen=True, slots=True)
class Winners:
    """Of one output only the place of the highest value along an axis is read, the first of equals.

    output: its number. axis: of one picture's output. options: of the card, once the network tells the places itself,
    as its only output.
    """

    output: int
    axis: int
    options: Mapping[str, Any]


class Family(ABC):
    """Reads the outputs of one kind of network. Has no state."""

    kind: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]]
    """What its networks are for; the first is what `cvpipe models add` proposes."""
    Options: ClassVar[type[FamilyOptions]] = FamilyOptions

    @abstractmethod
    def check(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> None:
        """Raises: InvalidModel where outputs of these shapes (one picture of the card's size) aren't this family's."""


class ObjectFamily(Family):
    """Reads boxes, maybe with keypoints and masks."""

    @abstractmethod
    def decode(self, outputs: Sequence[Outputs], views: Sequence[View], card: ModelCard, limits: Limits) -> list[Boxes]:
        """The boxes on each picture. views: the canvas of each, all of one shape."""


class PoseFamily(Family):
    """Reads the keypoints of the one person or thing that fills a picture (a crop)."""

    @abstractmethod
    def decode(self, outputs: Sequence[Outputs], size: tuple[int, int], card: ModelCard) -> Floats:
        """(n, k, 3) float32: x and y in pixels of the canvas, whose size is (width, height), and score."""


class MapFamily(Family):
    """Reads something for each cell of a grid over the picture: classes, parts, depth."""

    def winners(self, shapes: Sequence[tuple[int, ...]], card: ModelCard) -> Winners | None:  # noqa: ARG002 - of some
        """What the network could tell by itself, with much less to copy; None where more is read of it."""
        return None

    @abstractmethod
    def decode(self, outputs: Sequence[Outputs], size: tuple[int, int], card: ModelCard) -> npt.NDArray[Any]:
        """For n pictures of a canvas of `size` (width, height), on a grid (h, w) that covers all of it.

        One label for each cell: (n, h, w) integers, places in the card's labels. Several labels at once: (n, labels, h,
        w) float32, 0 to 1. A quantity: (n, h, w) float32.
        """


class VectorFamily(Family):
    """Reads one vector for each picture: scores of classes, or an embedding."""

    @abstractmethod
    def decode(self, outputs: Sequence[Outputs], card: ModelCard) -> Floats:
        """(n, d) float32. Scores are 0 to 1; embeddings have length 1."""


def stacked(outputs: Sequence[Outputs], which: int) -> npt.NDArray[Any]:
    """Output number `which` for all pictures, (n, ...); no copy where they lie behind one another in one array."""
    rows = [output[which] for output in outputs]
    first = rows[0]
    if len(rows) == 1:
        return first[None]
    base = first.base
    if isinstance(base, np.ndarray) and base.shape[1:] == first.shape and base.strides[1:] == first.strides:
        start, step = base.ctypes.data, base.strides[0]
        at = [(row.ctypes.data - start) // step if step else 0 for row in rows]
        if all(row.base is base for row in rows) and at == list(range(at[0], at[0] + len(at))):
            return base[at[0] : at[0] + len(rows)]
    return np.stack(rows)


def options_of(family: Family, card: ModelCard) -> Any:
    """The card's `options`, read by its family. Raises: InvalidModel."""
    try:
        return read_options(card, family.Options)
    except InvalidModel as error:
        known = ", ".join(family.Options.model_fields) or "none"
        raise InvalidModel(
            f"model {card.ref}: {error.message}; options of {family.kind}: {known}", field=error.field
        ) from error


def label_names(card: ModelCard) -> tuple[str, ...]:
    """The labels of the objects that a network finds; a card for poses need not name its one class: `person`."""
    return card.labels or (("person",) if card.task == "pose" else ("object",))


@cache
def discover() -> dict[str, Family]:
    """Every family by its kind. An ImportError or a family in a file of another name stops the process."""
    found: dict[str, Family] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for value in vars(module).values():
            if not (isinstance(value, type) and issubclass(value, Family) and value.__module__ == module.__name__):
                continue
            if value.kind != module_info.name.replace("_", "-"):
                raise RuntimeError(f"{value.__module__} must be named after its family {value.kind!r}")
            if value.kind in found:
                raise RuntimeError(f"two families are called {value.kind!r}")
            found[value.kind] = value()
    return found


def family(card: ModelCard) -> Family:
    """The family that reads the outputs of the card's network.

    Raises: InvalidModel, with the nearest name where there is none of its name.
    """
    families = discover()
    if card.family not in families:
        hint = nearest(card.family, sorted(families))
        raise InvalidModel(f"model {card.ref}: there is no family {card.family!r}{hint}", field="family")
    found = families[card.family]
    if card.task not in found.tasks:
        tasks = " or ".join(found.tasks)
        raise InvalidModel(f"model {card.ref}: {card.family} is for {tasks}, not for {card.task}", field="task")
    options_of(found, card)
    return found


def best_boxes(boxes: Boxes, *, iou_threshold: float) -> Boxes:
    """Greedy non-maximum suppression within each class; the order is by falling score, then by position.

    Boxes without area are dropped.
    """
    return boxes.take(kept_boxes(boxes.box, boxes.score, boxes.class_id, iou_threshold=iou_threshold))


def best_of_each(
    boxes: Boxes, picture: Ints, views: Sequence[View], limits: Limits, *, labels: int, suppress: bool = True
) -> list[Places]:
    """Which of all pictures' boxes stay on each one, best first: their places.

    boxes: those whose score is good enough. picture: (n,) place in `views` of the picture that each is on, rising.
    labels: how many classes there are; boxes of others are dropped, and those that lie in the padding, have no area or
    are no numbers. suppress: whether the better one of two that overlap stays alone.
    """
    good = np.isfinite(boxes.box).all(axis=1) & (boxes.class_id >= 0) & (boxes.class_id < labels)
    if limits.classes is not None:
        good &= np.isin(boxes.class_id, list(limits.classes))
    places = np.flatnonzero(good)
    if len(views) == 1:
        kept = _best(boxes, places, limits, suppress=suppress, classes=boxes.class_id[places])
    elif len(places) <= TOGETHER:  # boxes of two pictures are of two classes: one suppression does for all
        classes = boxes.class_id[places] + labels * picture[places]
        kept = _best(boxes, places, limits, suppress=suppress, classes=classes)
    else:
        parts = np.split(places, np.searchsorted(picture[places], np.arange(1, len(views))))
        best = (_best(boxes, at, limits, suppress=suppress, classes=boxes.class_id[at]) for at in parts)
        kept = np.concatenate(list(best))
    on = picture[kept]
    content = np.array([view.content for view in views], np.float64)[on]
    first = np.maximum(boxes.box[kept, :2], content[:, :2])
    last = np.minimum(boxes.box[kept, 2:], content[:, :2] + content[:, 2:])
    is_seen = (last > first).all(axis=1)
    kept, on = kept[is_seen], on[is_seen]
    return [kept[on == number][: limits.objects] for number in range(len(views))]


def _best(boxes: Boxes, places: Places, limits: Limits, *, suppress: bool, classes: Ints) -> Places:
    """Those of some boxes that stay, best first. classes: of these boxes."""
    score = boxes.score[places]
    if not suppress:
        return places[np.argsort(-score, kind="stable")]
    return places[kept_boxes(boxes.box[places], score, classes, iou_threshold=limits.iou)]


def whole_numbers(values: npt.NDArray[Any]) -> Ints:
    """Class numbers that a network gives as floats or integers, as int64; -1 for what is none."""
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.int64)
    numbers = np.nan_to_num(values, nan=-1, posinf=-1, neginf=-1)
    return np.clip(numbers, -1, 2**30).round().astype(np.int64)
