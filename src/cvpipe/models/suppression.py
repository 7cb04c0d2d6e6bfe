"""Non-maximum suppression: of boxes that overlap, the best stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

_MAX_CANDIDATES = 10_000
_BLOCK = 128
TOGETHER = 1000
"""Up to so many boxes, classes are compared pair by pair; above, one class is looked at after the other (measured)."""


_LATER = np.triu(np.ones((_BLOCK, _BLOCK), bool), 1)


def kept_boxes(box: Floats, score: Floats, class_id: npt.NDArray[np.int64], *, iou_threshold: float) -> Places:
    """Which boxes greedy non-maximum suppression keeps within each class: (m,) places, by falling score, then place.

    box: (n, 4) x1, y1, x2, y2; those without area are dropped. score, class_id: (n,). Of two boxes of one class whose
    intersection over union is above the threshold, the better one stays. Looks at the best 10,000 boxes.

    Boxes are compared in blocks of 128 with all that are left, so that memory is 128 times n numbers.
    """
    solid = np.flatnonzero((box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]))
    order = solid[np.argsort(-score[solid], kind="stable")][:_MAX_CANDIDATES]
    if len(order) < 2:
        return order
    classes = class_id[order]
    alive = np.ones(len(order), bool)
    if len(order) <= TOGETHER:
        _suppress(_edges(box[order]), classes, alive, iou_threshold)
        return order[alive]
    by_class = np.argsort(classes, kind="stable")
    for part in np.split(by_class, np.flatnonzero(np.diff(classes[by_class])) + 1):
        if len(part) > 1:
            stays = np.ones(len(part), bool)
            _suppress(_edges(box[order[part]]), None, stays, iou_threshold)
            alive[part] = stays
    return order[alive]


def _edges(box: Floats) -> Floats:
    """(5, n): x1, y1, x2, y2 and area."""
    edges = np.empty((5, len(box)), np.float32)
    edges[:4] = box.T
    edges[4] = (edges[2] - edges[0]) * (edges[3] - edges[1])
    return edges


def _suppress(edges: Floats, classes: Places | None, alive: npt.NDArray[np.bool_], iou_threshold: float) -> None:
    """Mark in `alive` which boxes, best first, stay. classes: None where all are of one."""
    left = np.arange(len(alive))
    while len(left):
        head, left = left[:_BLOCK], left[_BLOCK:]
        pairs = _overlap(edges, classes, head, head, iou_threshold)
        pairs &= _LATER[: len(head), : len(head)]
        stays = np.ones(len(head), bool)
        for i in np.flatnonzero(pairs.any(axis=1)).tolist():
            if stays[i]:
                stays[pairs[i]] = False
        alive[head[~stays]] = False
        if len(left):
            gone = _overlap(edges, classes, head[stays], left, iou_threshold).any(axis=0)
            alive[left[gone]] = False
            left = left[~gone]


def _overlap(
    edges: Floats, classes: Places | None, some: Places, others: Places, iou_threshold: float
) -> npt.NDArray[np.bool_]:
    """(some, others): whether two boxes are of one class and overlap too much."""
    p, q = edges[:, some, None], edges[:, None, others]
    shared = np.minimum(p[2], q[2])
    shared -= np.maximum(p[0], q[0])
    np.maximum(shared, 0, out=shared)
    height = np.minimum(p[3], q[3])
    height -= np.maximum(p[1], q[1])
    np.maximum(height, 0, out=height)
    shared *= height
    union = np.add(p[4], q[4], out=height)
    union -= shared
    union *= np.float32(iou_threshold)
    above = shared > union
    if classes is not None:
        above &= classes[some][:, None] == classes[others]
    return above
