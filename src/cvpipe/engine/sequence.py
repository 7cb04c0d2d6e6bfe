"""Run a sequence segment: stages that look at the records of a video, in order, and tell of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cvpipe.engine.veils import Veil
from cvpipe.events import Event
from cvpipe.pipeline import PipelineSpec, Segment, gates_of
from cvpipe.results import FrameRecord, stream_ms
from cvpipe.stages import SequenceStage, Tools, blaming

_LOG: Final = ""
"""Under this name, which no stage can have, lies the state of the log."""


class SequenceRunner:
    """A sequence segment, its stages opened; its state can move between processes after any record."""

    def __init__(self, spec: PipelineSpec, segment: Segment, tools: Tools, *, size: tuple[int, int]) -> None:
        """size: width and height of the displayed source frame. Raises: NotFound, InvalidModel, StageFailed."""
        made = spec.make_stages()
        self._stages = [stage for n in segment.stages if isinstance(stage := made[n], SequenceStage)]
        self._log = _Log()
        for stage in self._stages:
            stage.gates = gates_of(made, stage)
            stage.size = size
            stage.meet({other.name: other for other in made[: made.index(stage)]})
            with blaming(stage):
                stage.open(tools)

    def run(self, records: Iterable[FrameRecord]) -> Iterator[FrameRecord]:
        """The records with the stages' results. Feed all records of the video, in order, over one or more calls.

        Raises: StageFailed.
        """
        for record in records:
            self._log.move_to(record)
            updated = record
            told: list[Event] = []
            for stage in self._stages:
                with blaming(stage):
                    veil = Veil.of(stage, updated)
                    if told:
                        stage.hear(told)
                    found = stage.update(replace(updated, objects=veil.seen))
                    updated = replace(found, objects=veil.back(found.objects))
                    told += stage.take_told()
            self._log.add(told)
            yield updated

    def finish(self) -> None:
        """All records of the video were fed: have the stages tell of what still goes on. Raises: StageFailed."""
        told: list[Event] = []
        for stage in self._stages:
            with blaming(stage):
                if told:
                    stage.hear(told)
                stage.end()
                told += stage.take_told()
        self._log.add(told)

    def take_events(self) -> list[tuple[str, Event]]:
        """What was told since this was asked last, numbered, each with the id of its stream entry."""
        return self._log.take()

    def tell_behind(self, last: str) -> None:
        """Number what is told from now on behind the entry of the log with this id, of a run whose state is lost."""
        self._log.move_behind(last)

    def state(self) -> dict[str, Any]:
        """State of every stage by name, as MessagePack-able values."""
        return {_LOG: self._log.state(), **{stage.name: stage.state() for stage in self._stages}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._log.restore(state[_LOG])
        for stage in self._stages:
            stage.restore(state[stage.name])


class _Log:
    """Numbers events in the order in which they are told, the same whatever the chunks.

    The id of an event's stream entry is `<ms of the record with which it was told>-<number>`: Redis refuses an id that
    is not above the last, so that work done twice writes nothing twice.
    """

    def __init__(self) -> None:
        self._count = 0
        self._ms = 0
        self._epoch: float | None = None
        self._pending: list[tuple[str, Event]] = []

    def move_to(self, record: FrameRecord) -> None:
        """What is told from now on is told with this record."""
        self._ms = max(self._ms, stream_ms(record.time))
        if record.wall_time is not None:
            self._epoch = record.wall_time - record.time

    def move_behind(self, last: str) -> None:
        """What is told from now on comes after the entry of this id."""
        ms, _, count = last.partition("-")
        self._ms, self._count = max(self._ms, int(ms)), max(self._count, int(count))

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            self._count += 1
            wall = None if self._epoch is None else round(self._epoch + event.start.time, 3)
            self._pending.append((f"{self._ms}-{self._count}", replace(event, number=self._count, wall_time=wall)))

    def take(self) -> list[tuple[str, Event]]:
        pending, self._pending = self._pending, []
        return pending

    def state(self) -> dict[str, Any]:
        return {"count": self._count, "ms": self._ms, "epoch": self._epoch}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._count, self._ms, self._epoch = state["count"], state["ms"], state["epoch"]
