"""What is known of a network that nobody knows yet, and what may be proposed for it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cvpipe.inference.cards import Task
from cvpipe.inference.labels import COCO, COCO91, VOC

Shape = tuple[int, ...]

IMAGENET: Final[Mapping[str, Any]] = {
    "color": "rgb",
    "mean": (123.675, 116.28, 103.53),
    "scale": (58.395, 57.12, 57.375),
}
UNIT: Final[Mapping[str, Any]] = {"color": "rgb", "scale": (255.0, 255.0, 255.0)}
SIGNED: Final[Mapping[str, Any]] = {"color": "rgb", "mean": (127.5,) * 3, "scale": (127.5,) * 3}
SSD: Final[Mapping[str, Any]] = {"color": "rgb", "mean": (127.0,) * 3, "scale": (128.0,) * 3}
CAFFE: Final[Mapping[str, Any]] = {"color": "bgr", "mean": (102.9801, 115.9465, 122.7717)}
WHOLE: Final = ("uint8", "int32")
"""Types of inputs that take pixels as they are, and no fractions."""
BYTES: Final[Mapping[str, Any]] = {"color": "rgb"}

_MAX_NAMES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a network. shapes: of the outputs for one picture, without the batch dimension; the first
    number is -1 where outputs have none. low, high: smallest and largest value of each output for a made-up picture.

    labels, keypoints: how many the user names; None: not said. normalises, reverses: whether the graph scales its
    input, and turns its channels round, before anything else. last: operators that make the outputs. integers: whether
    each output holds whole numbers by its type.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    width: int
    height: int
    layout: str
    dtype: str = "float"
    rows: bool = True
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    normalises: bool = False
    reverses: bool = False
    last: tuple[str, ...] = ()
    integers: tuple[bool, ...] = ()
    labels: int | None = None
    keypoints: int | None = None
    task: Task | None = None

    @property
    def cells(self) -> int:
        """Grid cells of the strides 8, 16 and 32."""
        return sum((self.width // s) * (self.height // s) for s in (8, 16, 32))

    @property
    def grids(self) -> dict[tuple[int, ...], int]:
        """Grid cells of the strides that detectors have: three, or one more above or below."""
        return {
            strides: sum((self.width // s) * (self.height // s) for s in strides)
            for strides in ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
        }

    @property
    def exported_task(self) -> str | None:
        """What Ultralytics' exporter says that the network is for, in its words; None where it wrote nothing."""
        return self.metadata.get("task") if "names" in self.metadata else None

    @property
    def has_boxes(self) -> bool:
        """Whether one of several outputs is a list of boxes: then none is about the picture as a whole."""
        return len(self.shapes) > 1 and any(len(shape) == 2 and shape[1] == 4 for shape in self.shapes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes that Ultralytics' exporter writes into the file; empty where there are none."""
        text = self.metadata.get("names", "")
        try:
            found = ast.literal_eval(text) if len(text) < _MAX_NAMES else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ()
        if isinstance(found, dict) and set(found) == set(range(len(found))):
            found = [found[i] for i in range(len(found))]
        return tuple(str(name)[:100] for name in found) if isinstance(found, list | tuple) else ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A family and what its card would say. sure: 0 to 1. classes: how many labels it needs; None: any number."""

    family: str
    task: Task
    why: str
    sure: float
    classes: int | None = None
    labels: tuple[str, ...] = ()
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    score_threshold: float | None = None


def usual_input(facts: Facts, task: Task | None) -> Mapping[str, Any]:
    """What networks for `task` usually take, where no family says more."""
    if facts.dtype in WHOLE or facts.normalises:
        return {"color": "bgr" if facts.reverses else "rgb"}  # the graph does it itself
    if facts.exported_task == "classify":
        return UNIT
    if facts.layout == "nhwc":
        return SIGNED if task in ("semantic-segmentation", "human-parsing", "classification") else BYTES
    return UNIT if task in ("detection", "instance-segmentation") else IMAGENET


def class_names(count: int, facts: Facts, task: Task) -> tuple[tuple[str, ...], str]:
    """Names for `count` classes that the user did not name, and where they are from."""
    names = facts.names
    if len(names) == count:
        return names, "named in the file"
    if task in ("detection", "instance-segmentation") and count == len(COCO):
        return COCO, "COCO's, for there are 80"
    if task in ("detection", "instance-segmentation") and count == len(COCO91):
        return COCO91, "COCO's at the numbers of its annotations, for there are 91"
    if task == "semantic-segmentation" and count == len(VOC):
        return VOC, "Pascal VOC's, for there are 21"
    if task in ("pose", "faces") and count == 1:
        return ("face",) if task == "faces" else ("person",), "the usual one"
    return tuple(f"class {i}" for i in range(count)), "made up; name them with labels"
