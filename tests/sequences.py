"""Known tracks, drawn as records, and sequence stages run over them, whole and cut anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np

from cvpipe.engine import SequenceRunner
from cvpipe.events import Event
from cvpipe.pipeline import parse_pipeline, plan_segments
from cvpipe.results import FrameRecord, Objects

SIZE = (640, 360)
FPS = 10

Path = Callable[[float], tuple[float, float] | None]
"""Where the foot of a track stands at a time in seconds; None where it is not seen."""


def line(start: tuple[float, float], end: tuple[float, float], *, begin: float = 0, stop: float) -> Path:
    """From one point to another at an even pace, from `begin` to `stop` seconds; not seen before and after."""

    def at(time: float) -> tuple[float, float] | None:
        if not begin <= time <= stop:
            return None
        share = (time - begin) / (stop - begin)
        return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])

    return at


def stops(*legs: tuple[float, tuple[float, float]]) -> Path:
    """At each point from its time on, and gone at the last one's."""

    def at(time: float) -> tuple[float, float] | None:
        known = [point for begin, point in legs if begin <= time]
        return known[-1] if known and time < legs[-1][0] else None

    return at


def scene(
    paths: Mapping[int, Path],
    *,
    seconds: float,
    labels: Mapping[int, str] | None = None,
    width: float = 20,
    height: float = 40,
    fps: float = FPS,
    stage: str = "people",
    values: Callable[[int, float], Mapping[str, Any] | None] = lambda _track, _time: None,
) -> list[FrameRecord]:
    """Records of tracks that walk: a box stands on each foot. Objects of a negative number are not tracked."""
    records = []
    for frame in range(round(seconds * fps) + 1):
        time = round(frame / fps, 6)
        here = [(track, foot) for track, path in paths.items() if (foot := path(time)) is not None]
        objects = Objects.make(
            stage=stage,
            box=[[x - width / 2, y - height, x + width / 2, y] for _, (x, y) in here],
            score=[0.9] * len(here),
            label=[(labels or {}).get(track, "person") for track, _ in here],
            track=[max(track, -1) for track, _ in here],
            values=[values(track, time) for track, _ in here],
        )
        records.append(FrameRecord(frame, frame * 512, time, objects=objects))
    return records


class Run:
    """What stages make of records. records: with their results. events: all that were told, with their entries' ids."""

    def __init__(self, records: Sequence[FrameRecord], events: Sequence[tuple[str, Event]]) -> None:
        self.records = records
        self.ids = [entry_id for entry_id, _ in events]
        self.events = [event for _, event in events]

    def told(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of some kinds, as plain values."""
        return [event.to_dict() for event in self.events if event.kind in kinds or not kinds]

    def value(self, stage: str, frame: int = -1) -> Any:
        """What a stage says of a frame."""
        return self.records[frame].values[stage]

    def of_track(self, stage: str, track: int) -> list[Any]:
        """What a stage says of a track, frame by frame where it is seen."""
        return [
            (record.objects.values[place] or {}).get(stage)
            for record in self.records
            for place in np.flatnonzero(record.objects.track == track)
        ]


def run(records: Iterable[FrameRecord], *stages: dict[str, Any], tools: Any = None, cuts: Iterable[int] = ()) -> Run:
    """Run sequence stages over records that are tracked already; cut before these records, into chunks."""
    detect = {"type": "detect", "name": "people", "model": "m"}
    spec = parse_pipeline({"name": "p", "stages": [detect, {"type": "track", "of": "people"}, *stages]})
    segment = plan_segments(spec)[-1]
    own = replace(segment, stages=segment.stages[1:])  # the tracks are known

    def fresh() -> SequenceRunner:
        return SequenceRunner(spec, own, tools, size=SIZE)

    runner, done, events = fresh(), [], []
    records, cut = list(records), set(cuts)
    for number, record in enumerate(records):
        if number in cut:
            state = msgpack.unpackb(msgpack.packb(runner.state()))
            runner = fresh()
            runner.restore(state)
        done += runner.run([record])
        events += runner.take_events()
    runner.finish()
    events += runner.take_events()
    for record in done:  # what is stored is what is found
        assert FrameRecord.unpack(record.pack()).to_json() == record.to_json()
    for _, event in events:
        assert Event.unpack(event.pack()).to_json() == event.to_json()
        assert json.loads(event.to_json()) == event.to_dict()
    return Run(done, events)


def same_wherever_cut(records: Sequence[FrameRecord], *stages: dict[str, Any], tools: Any = None) -> Run:
    """The same, and again cut before every record, and into three: all must be equal."""
    whole = run(records, *stages, tools=tools)
    for cuts in (range(1, len(records)), (len(records) // 3, 2 * len(records) // 3)):
        other = run(records, *stages, tools=tools, cuts=cuts)
        assert [r.to_json() for r in other.records] == [r.to_json() for r in whole.records]
        assert (other.ids, other.told()) == (whole.ids, whole.told())
    return whole
