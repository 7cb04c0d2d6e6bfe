"""What the choice of swscale's interpolation does to a real network's detections, and what it costs."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np

from benchmarks.clips import enlarged, textured
from benchmarks.setup import MODEL, models_folder, print_table, spread
from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.results import Objects
from cvpipe.stages.detect import Detect, DetectOptions
from cvpipe.video import scaling
from cvpipe.video.paint import Painter

_CHOICES = ("fast_bilinear", "bilinear", "bilinear+accurate_rnd", "area", "area+accurate_rnd", "bicubic")
_VIDEOS = {"one-by-one-person-detection.mp4": 14, "car-detection.mp4": 6}
"""One in so many frames is looked at: about a hundred of each."""


def measure(assets: Path, rounds: int) -> None:
    """Print the table."""
    kept = scaling.SHRINKING
    try:
        costs = _costs(rounds)
        with tempfile.TemporaryDirectory() as folder:
            stage = Detect(DetectOptions(model=MODEL))
            stage.open(cast("Any", OnnxTools(models_folder(Path(folder), assets), device="cpu")))
            groups = []
            for is_large in (False, True):
                tallies = {choice: _Tally() for choice in _CHOICES}
                for name, every in _VIDEOS.items():
                    video = assets / "videos" / name
                    print(f"detections on {name}{', enlarged to 1080p' if is_large else ''}", flush=True)
                    path = enlarged(video, every=every) if is_large else video
                    _compare(path, 1 if is_large else every, stage, tallies)
                groups.append(tallies)
    finally:
        _choose(kept)
    rows = [
        (choice, *(text for tallies in groups for text in tallies[choice].texts()), spread(costs[choice], "{:.2f}"))
        for choice in _CHOICES
    ]
    each = ("F1", "IoU", "score ±")
    columns = ("interpolation", *each, *(f"{name}, 1080p" for name in each), "ms")
    title = (
        f"{MODEL} against RGB-first area averaging, {groups[0][kept].wanted} and {groups[1][kept].wanted} objects; "
        f"ms: 1080p to 640x360, one core, {rounds} rounds"
    )
    print_table(title, columns, rows)


@dataclass
class _Tally:
    """Objects found with one choice, matched to those of the reference: same label, IoU of at least 0.5."""

    wanted: int = 0
    given: int = 0
    matched: int = 0
    overlap: float = 0
    score: float = 0

    def add(self, given: Objects, wanted: Objects) -> None:
        """Match the objects of one frame, best score first."""
        self.wanted += len(wanted)
        self.given += len(given)
        free = set(range(len(wanted)))
        for i in np.argsort(-given.score, kind="stable"):
            overlaps = [(_iou(given.box[i], wanted.box[k]), k) for k in free if given.label[i] == wanted.label[k]]
            best, k = max(overlaps, default=(0.0, -1))
            if best >= 0.5:
                free.remove(k)
                self.matched += 1
                self.overlap += best
                self.score += abs(float(given.score[i] - wanted.score[k]))

    def texts(self) -> tuple[str, str, str]:
        """F1; mean IoU and mean difference of score of those matched."""
        matched = max(1, self.matched)
        f1 = 2 * self.matched / max(1, self.wanted + self.given)
        return f"{f1:.3f}", f"{self.overlap / matched:.3f}", f"{self.score / matched:.4f}"


def _compare(path: Path, every: int, stage: Detect, tallies: dict[str, _Tally]) -> None:
    view: View | None = None
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every:
                continue
            if view is None:
                view = stage.view(View.of(frame.width, frame.height))
                whole = Painter(View.of(frame.width, frame.height, format=view.format), rotation=0, mirrored=False)
            picture = np.zeros((frame.height, frame.width, 3), np.uint8)
            whole.paint(frame, picture)
            x, y, width, height = view.content
            canvas = np.full(view.shape, view.pad, np.uint8)
            canvas[y : y + height, x : x + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            wanted = _detect(stage, view, canvas)
            for choice, tally in tallies.items():
                _choose(choice)
                painter = Painter(view, rotation=0, mirrored=False)
                painter.prepare([canvas])
                painter.paint(frame, canvas)
                tally.add(_detect(stage, view, canvas), wanted)


def _detect(stage: Detect, view: View, canvas: np.ndarray) -> Objects:
    return cast("Objects", stage.process([Frame(0, 0, 0.0, view, canvas)], [])[0].added)


def _costs(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of processor time for each choice and round."""
    print("cost of each interpolation", flush=True)
    frames = []
    with av.open(str(textured(60, 24))) as container:
        for frame in container.decode(video=0):
            frames.append(frame)
            if len(frames) == 40:
                break
    costs: dict[str, list[float]] = {choice: [] for choice in _CHOICES}
    for _ in range(rounds):
        for choice in _CHOICES:
            _choose(choice)
            scaler = scaling.Scaler((0, 0, 1920, 1080), (1920, 1080), 640, 360, "rgb24")
            scaler.picture(frames[0])
            started = time.process_time()
            for frame in frames:
                scaler.picture(frame)
            costs[choice].append((time.process_time() - started) / len(frames) * 1e3)
    return costs


def _choose(flags: str) -> None:
    cast("Any", scaling).SHRINKING = flags


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, float(width)) * max(0.0, float(height))
    areas = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]))
    return both / (areas - both) if areas > both else 0.0
