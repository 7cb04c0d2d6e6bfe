"""`summarise`: a long video in short: key frames, highlights, and a copy without the time in which nothing happens."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Image
from cvpipe.results import FrameRecord
from cvpipe.stages import Footage, JobStage, StageOptions

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same frames are the same file

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class SummariseOptions(StageOptions):
    """Options of `summarise`."""

    type: Literal["summarise"] = "summarise"
    of: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Names of the stages whose objects mean that something happens. Default: all.",
    )
    idle_seconds: float = Field(
        default=2.0, ge=0, le=86400, description="Time without objects that is longer than this is left out."
    )
    pad_seconds: float = Field(
        default=0.5, ge=0, le=3600, description="So much is kept before and after the time in which something happens."
    )
    keyframes: int = Field(default=8, ge=1, le=1000, description="So many key frames, at most.")
    highlights: int = Field(default=3, ge=1, le=100, description="So many highlights, at most.")
    highlight_seconds: float = Field(default=4.0, gt=0, le=3600, description="How long a highlight is, at most.")


class Summarise(JobStage[SummariseOptions]):
    """Make a summary: a copy without idle time with a map of times, highlights, and key frames.

    How much happens on a frame is the sum of the scores of its objects. Key frames are those with most, each from
    another part of the time that is kept; highlights the spans of `highlight_seconds` with most, which do not overlap.
    """

    Options = SummariseOptions
    example = """
    - {type: decimate, fps: 5}
    - {type: detect, model: yolox-nano, classes: [person]}
    - {type: summarise, idle_seconds: 5}
    """

    def references(self) -> tuple[str, ...]:
        """The stages whose objects mean that something happens."""
        return tuple(self.options.of or ())

    def files(self) -> tuple[str, ...]:
        """The copy and its map, the highlights and theirs, the key frames, and what all are about."""
        name = "" if self.name in ("", self.options.type) else f"-{self.name}"
        return (
            f"condensed{name}.mp4", f"condensed{name}.map.ndjson", f"highlights{name}.mp4",
            f"highlights{name}.map.ndjson", f"keyframes{name}.zip", f"summary{name}.json",
        )  # fmt: skip

    def make(self, footage: Footage, folder: Path) -> None:
        """Write the files."""
        condensed, condensed_map, highlights, highlights_map, keyframes, summary = (
            folder / name for name in self.files()
        )
        activity = _Activity.of(footage.records(), self.options.of)
        times = footage.times
        ends = float(times[footage.part[-1]]) + 1 / footage.fps
        spans = self._spans(activity, float(times[footage.part[0]]), ends)
        best = self._highlights(activity, spans)
        chosen = self._keyframes(activity, spans)
        for video, mapping, kept in ((condensed, condensed_map, spans), (highlights, highlights_map, best)):
            numbers = _inside(footage, kept)
            shown = _joined(times[numbers], numbers, footage.fps)
            footage.write_painted(video, numbers, shown, _as_it_is)
            _write_map(mapping, numbers, shown, times)
        pictures = folder / f"{keyframes.name}.pictures"
        footage.write_pictures(pictures, chosen)
        _write_zip(keyframes, pictures)
        shutil.rmtree(pictures)
        _write_json(
            summary,
            {
                "seconds": round(ends - float(times[footage.part[0]]), 6),
                "kept_seconds": round(sum(stop - start for start, stop in spans), 6),
                "spans": [{"from": start, "to": stop} for start, stop in spans],
                "highlights": [
                    {"from": start, "to": stop, "activity": activity.between(start, stop)} for start, stop in best
                ],
                "keyframes": [
                    {"frame": n, "time": float(times[n]), "file": f"{n:06d}.jpg", "activity": activity.at(n)}
                    for n in chosen.tolist()
                ],
            },
        )

    def _spans(self, activity: _Activity, first: float, ends: float) -> list[tuple[float, float]]:
        """The time that is kept, seconds: around the frames on which something happens, without idle time between."""
        busy = activity.times[activity.amounts > 0]
        spans: list[tuple[float, float]] = []
        pad = self.options.pad_seconds
        for time in busy.tolist():
            if spans and time - spans[-1][1] <= self.options.idle_seconds:
                spans[-1] = (spans[-1][0], time)
            else:
                spans.append((time, time))
        padded: list[tuple[float, float]] = []
        for start, stop in spans:
            start, stop = max(first, start - pad), min(ends, stop + max(pad, activity.step))
            if padded and start <= padded[-1][1]:
                padded[-1] = (padded[-1][0], stop)
            else:
                padded.append((start, stop))
        return [(round(start, 6), round(stop, 6)) for start, stop in padded]

    def _highlights(self, activity: _Activity, spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """The busiest pieces of what is kept, that do not overlap, in order of time."""
        length = self.options.highlight_seconds
        candidates = []
        for start, stop in spans:
            begins = activity.times[(activity.times >= start) & (activity.times < stop)].tolist() or [start]
            for begin in begins:
                begin = max(start, min(begin, stop - length))
                candidates.append((begin, min(stop, begin + length)))
        candidates.sort(key=lambda piece: (-activity.between(*piece), piece[0]))
        chosen: list[tuple[float, float]] = []
        for start, stop in candidates:
            if all(stop <= a or start >= b for a, b in chosen):
                chosen.append((round(start, 6), round(stop, 6)))
            if len(chosen) == self.options.highlights:
                break
        return sorted(chosen)

    def _keyframes(self, activity: _Activity, spans: Sequence[tuple[float, float]]) -> Ints:
        """The busiest frame of each of as many equal parts of what is kept."""
        inside = [(activity.times >= start) & (activity.times < stop) for start, stop in spans]
        places = np.flatnonzero(np.any(inside, axis=0)) if inside else np.arange(min(1, len(activity.numbers)))
        parts = np.array_split(places, min(self.options.keyframes, len(places)) or 1)
        best = [part[int(np.argmax(activity.amounts[part]))] for part in parts if len(part)]
        return activity.numbers[np.array(best, np.int64)]


@dataclass(frozen=True, slots=True, eq=False)
class _Activity:
    """How much happens on each frame that was looked at: arrays of length n. step: seconds between two, the median."""

    numbers: Ints
    times: Floats
    amounts: Floats
    step: float

    @classmethod
    def of(cls, records: Any, stages: Sequence[str] | None) -> _Activity:
        rows = [(r.frame, r.time, _amount(r, stages)) for r in records if r.status == "ok"]
        table = np.array(rows, np.float64).reshape(-1, 3)
        step = float(np.median(np.diff(table[:, 1]))) if len(table) > 1 else 0.0
        return cls(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], step)

    def between(self, start: float, stop: float) -> float:
        """The sum over the frames of some time."""
        first, last = np.searchsorted(self.times, (start, stop))
        return round(float(self.amounts[first:last].sum()), 4)

    def at(self, number: int) -> float:
        """On one frame."""
        return round(float(self.amounts[int(np.searchsorted(self.numbers, number))]), 4)


def _amount(record: FrameRecord, stages: Sequence[str] | None) -> float:
    objects = record.objects
    inside = np.array([stages is None or stage in stages for stage in objects.stage], bool)
    return float(objects.score[inside].sum())


def _inside(footage: Footage, spans: Sequence[tuple[float, float]]) -> Ints:
    """Numbers of the frames of some time; the first one of all where there is none: a video has a frame."""
    numbers = np.array(footage.part, np.int64)
    times = footage.times[numbers]
    inside = np.zeros(len(numbers), bool)
    for start, stop in spans:
        inside |= (times >= start) & (times < stop)
    return numbers[inside] if inside.any() else numbers[:1]


def _joined(times: Floats, numbers: Ints, fps: float) -> Floats:
    """When frames are shown in a copy in which what lies between them is left out."""
    follows = np.diff(numbers) == 1
    return np.concatenate(([0.0], np.cumsum(np.where(follows, np.diff(times), 1 / fps)))).round(6)


def _as_it_is(image: Image, number: int) -> None:
    """Nothing is painted."""


def _write_map(path: Path, numbers: Ints, shown: Floats, times: Floats) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        for place, (number, time) in enumerate(zip(numbers.tolist(), shown.tolist(), strict=True)):
            row = {"frame": place, "time": time, "source": number, "source_time": float(times[number])}
            file.write(json.dumps(row) + "\n")
    part.replace(path)


def _write_zip(path: Path, pictures: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:
        for picture in sorted(pictures.glob("*.jpg")):
            file.writestr(zipfile.ZipInfo(picture.name, _LONG_AGO), picture.read_bytes())
    part.replace(path)


def _write_json(path: Path, value: Any) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
