"""Tables of Ultralytics' exporter, told by their shapes and by what it writes into the file."""

from __future__ import annotations

from typing import Any, Final

from cvpipe.inference.labels import COCO_KEYPOINTS, COCO_SKELETON
from cvpipe.modelfiles.facts import UNIT, Facts, Proposal, usual_input

_ANCHORS: Final = 3
_MOST_CHOSEN: Final = 5000
_LARGEST_NUMBER: Final = 4


def ultralytics(facts: Facts) -> Proposal | None:
    """v8 and later (4 + classes, cells), v5 (cells, 5 + classes), or chosen (objects, 6): with what comes at the end.

    That is keypoints; or, where there are prototypes beside the table, weights of masks.
    """
    tables = [i for i, shape in enumerate(facts.shapes) if len(shape) == 2]
    grids = [i for i, shape in enumerate(facts.shapes) if len(shape) == 3]
    if not facts.rows or len(tables) != 1 or len(grids) > 1 or len(facts.shapes) != 1 + len(grids):
        return None
    table = facts.shapes[tables[0]]
    if not grids:
        return _pose(facts, table) or _objects(facts, table)
    weights, *sides = facts.shapes[grids[0]]
    if sides != [facts.height // 4, facts.width // 4]:
        return None
    found = _read(facts, table, weights)
    if found is None:
        return None
    start, classes, _ = found
    why = f"{start}, and output {grids[0]} holds {weights} mask prototypes: {_sum(classes)} + {weights}"
    return Proposal("ultralytics-seg", "instance-segmentation", why, 0.95, classes, input=_box(facts))


def keypoints(count: int) -> dict[str, Any]:
    """Names of so many keypoints, and which are joined: COCO's for 17."""
    if count == len(COCO_KEYPOINTS):
        return {"keypoints": COCO_KEYPOINTS, "skeleton": COCO_SKELETON}
    return {"keypoints": tuple(f"keypoint {i}" for i in range(count)), "skeleton": ()}


def _objects(facts: Facts, table: tuple[int, ...]) -> Proposal | None:
    found = _read(facts, table, 0)
    if found is None or facts.task == "pose":
        return None
    start, classes, sure = found
    return Proposal("ultralytics-yolo", "detection", f"{start}: {_sum(classes)}", sure, classes, input=_box(facts))


def _pose(facts: Facts, table: tuple[int, ...]) -> Proposal | None:
    """Said by the file or by the user; or as long as rows of people with COCO's keypoints are."""
    said = facts.exported_task == "pose" or facts.keypoints is not None or facts.task == "pose"
    if not said and (facts.exported_task is not None or facts.labels not in (None, 1)):
        return None
    count, values = _keypoint_shape(facts)
    found = _read(facts, table, values * count)
    if found is None:
        return None
    start, classes, _ = found
    classes = len(facts.names) or 1 if classes is None else classes
    if not said and classes != 1:
        return None
    why = f"{start}: {_sum(classes)} + {values} x {count} keypoints"
    return Proposal("ultralytics-pose", "pose", why, 0.95, classes, **keypoints(count), input=_box(facts))


def _read(facts: Facts, table: tuple[int, ...], more: int) -> tuple[str, int | None, float] | None:
    """What a table with `more` numbers after the classes is, how many classes it has, and how sure that is.

    None for classes: rows tell a class by its number.
    """
    rows, columns = table
    for strides, cells in facts.grids.items():
        names = ", ".join(map(str, strides[:-1])) + f" and {strides[-1]}"
        if columns == cells and rows - 4 - more >= 1 and rows < cells:
            return f"a table of {rows} rows by {columns} columns, the cells of strides {names}", rows - 4 - more, 0.9
        if rows == _ANCHORS * cells and columns - 5 - more >= 1:
            why = f"a table of {rows} rows, three anchors for each cell of strides {names}, by {columns} columns"
            return f"{why} with objectness", columns - 5 - more, 0.95
    if columns == 6 + more and rows <= _MOST_CHOSEN:
        return f"a table of {rows} objects: box, score and class, suppression is done", len(facts.names) or None, 0.7
    return None


def _box(facts: Facts) -> dict[str, Any]:
    """How a picture is made: as in training, where the graph doesn't scale it itself."""
    scaled = usual_input(facts, "detection") if facts.normalises else UNIT
    return {**scaled, "resize": "letterbox", "anchor": "centre", "pad": 114}


def _sum(classes: int | None) -> str:
    return "any number of classes" if classes is None else f"{classes} class{'es' if classes > 1 else ''}"


def _keypoint_shape(facts: Facts) -> tuple[int, int]:
    """How many keypoints, and numbers for each: of what the exporter writes into the file, `[17, 3]`."""
    parts = [part.strip() for part in facts.metadata.get("kpt_shape", "").strip("[]() ").split(",")]
    said = [int(part) for part in parts if part.isdecimal() and len(part) < _LARGEST_NUMBER]
    count, values = said if len(said) == 2 else (len(COCO_KEYPOINTS), 3)
    return facts.keypoints or count, values if values in (2, 3) else 3
