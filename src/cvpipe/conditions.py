"""Conditions: what an expression asks of an object, or of a frame, and the answer.

Of an object: its `label`, `score`, `class_id`, `track`, `text`, `stage`; `box` (x1, y1, x2, y2), `x` and `y` of its
middle, `width`, `height`, `area` in pixels of the displayed source frame; `frame` and `time`; `filled`, whether nobody
saw it there and it is where its track must have been. Of a frame: `labels` and `texts` of all that was found on it,
`objects` (how many), `any(...)` and `count(...)` of objects for which something holds, `frame`, `time`. Of both:
`STAGE.VALUE`, what a stage says of the object, or else of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.expressions import Expression, Kind, Path, parse_expression
from cvpipe.results import FrameRecord, Objects

OBJECT_FIELDS: Final[Mapping[str, Kind]] = {
    "label": "text", "score": "number", "class_id": "number", "track": "number", "text": "text", "stage": "text",
    "box": "list", "x": "number", "y": "number", "width": "number", "height": "number", "area": "number",
    "frame": "number", "time": "number", "filled": "truth",
}  # fmt: skip
FRAME_FIELDS: Final[Mapping[str, Kind]] = {
    "labels": "list", "texts": "list", "objects": "number", "frame": "number", "time": "number",
}  # fmt: skip

_CACHED: Final = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression, and whether it is asked of objects or of frames."""

    expression: Expression
    is_of_objects: bool

    def chosen(self, record: FrameRecord, stages: tuple[str, ...] = ()) -> npt.NDArray[np.bool_]:
        """For which objects of a frame it holds, (n,) bool; those of other stages than `stages`, if named, are in."""
        objects = record.objects
        chosen = np.ones(len(objects), np.bool_)
        for n in range(len(objects)):
            if not stages or objects.stage[n] in stages:
                chosen[n] = self.holds_for(record, n)
        return chosen

    def holds_for(self, record: FrameRecord, n: int) -> bool:
        """Whether it holds for object `n` of a frame."""
        return self.expression.holds(lambda path: object_value(record, n, path))

    def holds(self, record: FrameRecord) -> bool:
        """Whether it holds for a frame."""
        return self.expression.holds(lambda path: frame_value(record, path))


@lru_cache(maxsize=_CACHED)
def condition_on_objects(text: str) -> Condition:
    """The condition that a text is, on objects. Raises: InvalidExpression."""
    return Condition(parse_expression(text, OBJECT_FIELDS, elsewhere=of_frames("this stage looks at objects")), True)


@lru_cache(maxsize=_CACHED)
def condition_on_frames(text: str) -> Condition:
    """The condition that a text is, on whole frames. Raises: InvalidExpression."""
    elsewhere = of_objects("this stage looks at whole frames")
    return Condition(parse_expression(text, FRAME_FIELDS, elsewhere=elsewhere, of_objects=OBJECT_FIELDS), False)


def of_objects(but: str) -> dict[str, str]:
    """What to say of fields that only objects have. but: what is looked at instead, as a sentence."""
    there = ", ".join(sorted(FRAME_FIELDS))
    return {
        name: f"`{name}` is of objects, and {but}; write any({name} ...), or what is of frames: {there}"
        for name in OBJECT_FIELDS
        if name not in FRAME_FIELDS
    }


def of_frames(but: str) -> dict[str, str]:
    """What to say of fields that only frames have. but: what is looked at instead, as a sentence."""
    there = ", ".join(sorted(OBJECT_FIELDS))
    return {
        name: f"`{name}` is of frames, and {but}; there is: {there}"
        for name in FRAME_FIELDS
        if name not in OBJECT_FIELDS
    }


def object_value(record: FrameRecord, n: int, path: Path) -> Any:
    """A field of object `n`, or what a stage says of it or of its frame; None where there is none."""
    objects, name = record.objects, path[0]
    if len(path) > 1:
        said = _below(objects.values[n] or {}, path)
        return _below(record.values, path) if said is None else said
    if name in ("frame", "time"):
        return frame_value(record, path)
    if name in ("label", "text", "stage"):
        return getattr(objects, name)[n]
    if name == "score":
        return _plain(objects.score, n, 4)
    if name == "filled":
        return bool(objects.filled[n])
    if name in ("class_id", "track"):
        number = int(getattr(objects, name)[n])
        return number if number >= 0 else None
    return _of_box(objects, n, name)


def frame_value(record: FrameRecord, path: Path) -> Any:
    """A field of a frame, or what a stage says of it; None where there is none."""
    if len(path) > 1:
        return _below(record.values, path)
    match path[0]:
        case "@objects":
            return [partial(object_value, record, n) for n in range(len(record.objects))]
        case "frame":
            return record.frame
        case "time":
            return record.time
        case "objects":
            return len(record.objects)
        case "labels":
            return list(record.objects.label)
        case "texts":
            return [text for text in record.objects.text if text is not None]
    return None


def _of_box(objects: Objects, n: int, name: str) -> Any:
    x1, y1, x2, y2 = (round(value, 2) for value in objects.box[n].tolist())
    fields = {
        "box": [x1, y1, x2, y2],
        "x": (x1 + x2) / 2,
        "y": (y1 + y2) / 2,
        "width": x2 - x1,
        "height": y2 - y1,
        "area": (x2 - x1) * (y2 - y1),
    }
    return fields.get(name)


def _plain(column: npt.NDArray[np.float32], n: int, decimals: int) -> float:
    """A number as it is told: single precision has 0.8999999761581421 for a score of 0.9."""
    return round(float(column[n]), decimals)


def _below(values: Any, path: Path) -> Any:
    for part in path:
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list | tuple) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values
