"""How well numbers follow targets: HOTA, IDF1 and MOTA, by the package `trackers`, whose code for them is TrackEval's.

Sources: Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking, 2020; Ristani et al.,
Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, 2016; Bernardin and Stiefelhagen,
Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics, 2008.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from cvpipe.tracking.overlap import from_corners, iou
from tests.tracking.scenes import Look


@dataclass(frozen=True, slots=True)
class Measures:
    """hota, idf1, mota: 1 is perfect. switches: how often a target's number changed."""

    hota: float
    idf1: float
    mota: float
    switches: int


def measure(scenes: Sequence[Sequence[Look]], ids: Sequence[Sequence[npt.NDArray[np.int32]]]) -> Measures:
    """Over some scenes; ids: for each look (n,), -1 for boxes without a number, which count as not found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its imports warn of is not ours
        judge = pytest.importorskip("trackers.eval")
    targets: list[npt.NDArray[np.int64]] = []
    numbers: list[npt.NDArray[np.int64]] = []
    overlaps: list[npt.NDArray[np.float64]] = []
    for place, (scene, found) in enumerate(zip(scenes, ids, strict=True)):
        for look, given in zip(scene, found, strict=True):
            has_number = given > 0
            targets.append(look.ids + 1_000 * place)
            numbers.append(given[has_number].astype(np.int64) + 100_000 * place)
            overlaps.append(iou(from_corners(look.true_box), from_corners(look.box[has_number])))
    targets, numbers = _counted(targets), _counted(numbers)
    hota = judge.compute_hota_metrics(targets, numbers, overlaps)
    identity = judge.compute_identity_metrics(targets, numbers, overlaps)
    clear = judge.compute_clear_metrics(targets, numbers, overlaps)
    return Measures(float(hota["HOTA"]), float(identity["IDF1"]), float(clear["MOTA"]), int(clear["IDSW"]))


def _counted(ids: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    """The same ids, numbered from 0."""
    known = np.unique(np.concatenate(ids)) if ids else np.zeros(0, np.int64)
    return [np.searchsorted(known, some) for some in ids]
