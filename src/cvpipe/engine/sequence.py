"""Run a sequence segment: stages that look at the records of a video, in order, and tell of events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from cvpipe.engine.veils import Veil
from cvpipe.events import Event
from cvpipe.pipeline import PipelineSpec, Segment, gates_of
from cvpipe.results import FrameRecord, Objects, stream_ms
from cvpipe.stages import SequenceStage, Tools, blaming

_LOG: Final = ""
"""Under this name, which no stage can have, lies the state of the log."""
_HELD: Final = "/"
"""And under this one what is held back, by stage."""


class SequenceRunner:
    """A sequence segment, its stages opened; its state can move between processes after any record."""

    def __init__(self, spec: PipelineSpec, segment: Segment, tools: Tools, *, size: tuple[int, int]) -> None:
        """size: width and height of the displayed source frame. Raises: NotFound, InvalidModel, StageFailed."""
        made = spec.make_stages()
        self._stages = [stage for n in segment.stages if isinstance(stage := made[n], SequenceStage)]
        self._log = _Log()
        self._held = {place: _Held() for place, stage in enumerate(self._stages) if stage.amends}
        for stage in self._stages:
            stage.gates = gates_of(made, stage)
            stage.size = size
            stage.meet({other.name: other for other in made[: made.index(stage)]})
            with blaming(stage):
                stage.open(tools)

    def run(self, records: Iterable[FrameRecord]) -> Iterator[FrameRecord]:
        """The records with the stages' results. Feed all records of the video, in order, over one or more calls.

        Those to which a stage may still add something come later: in another call, or at the end. Raises: StageFailed.
        """
        for record in records:
            yield from self._through(record, [], 0)

    def release(self) -> list[FrameRecord]:
        """The records that are held back, as they are. Raises: StageFailed."""
        return [
            done
            for place in sorted(self._held)
            for record, told in self._held[place].take_all()
            for done in self._through(record, told, place + 1)
        ]

    def finish(self) -> list[FrameRecord]:
        """All records of the video were fed: have the stages tell of what still goes on. Raises: StageFailed.

        Returns the records that were held back.
        """
        rest = self.release()
        told: list[Event] = []
        for stage in self._stages:
            with blaming(stage):
                if told:
                    stage.hear(told)
                stage.end()
                told += stage.take_told()
        self._log.add(told)
        return rest

    def run_whole(self, records: Iterable[FrameRecord]) -> Iterator[FrameRecord]:
        """All records of a video with the stages' results. Raises: StageFailed."""
        yield from self.run(records)
        yield from self.finish()

    def _through(self, record: FrameRecord, told: list[Event], first: int) -> Iterator[FrameRecord]:
        """Have a record pass the stages from number `first` on. told: by the stages before."""
        for place, stage in enumerate(self._stages[first:], first):
            with blaming(stage):
                veil = Veil.of(stage, record)
                if told:
                    stage.hear(told)
                found = stage.update(replace(record, objects=veil.seen))
                record = replace(found, objects=veil.back(found.objects))
                told = told + stage.take_told()
                if place in self._held:
                    held = self._held[place]
                    held.add(record, told)
                    held.amend(stage.take_added())
                    ready = held.take_before(stage.first_open(record.frame))
                    break
        else:
            self._log.move_to(record)
            self._log.add(told)
            yield record
            return
        for one, its in ready:
            yield from self._through(one, its, place + 1)

    def take_events(self) -> list[tuple[str, Event]]:
        """What was told since this was asked last, numbered, each with the id of its stream entry."""
        return self._log.take()

    def tell_behind(self, last: str) -> None:
        """Number what is told from now on behind the entry of the log with this id, of a run whose state is lost."""
        self._log.move_behind(last)

    def state(self) -> dict[str, Any]:
        """State of every stage by name, as MessagePack-able values."""
        held = {self._stages[place].name: held.state() for place, held in self._held.items()}
        return {
            _LOG: self._log.state(),
            **({_HELD: held} if held else {}),
            **{stage.name: stage.state() for stage in self._stages},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._log.restore(state[_LOG])
        for place, held in self._held.items():
            held.restore(state[_HELD][self._stages[place].name])
        for stage in self._stages:
            stage.restore(state[stage.name])

    @staticmethod
    def let_go(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[FrameRecord]]:
        """A state without the records that it holds back, and these; for where no stage can go on with them."""
        held = state.get(_HELD, {})
        records = [FrameRecord.unpack(raw) for rows in held.values() for raw, _ in rows]
        empty = {_HELD: dict.fromkeys(held, ())} if held else {}
        return {**state, **empty}, sorted(records, key=lambda record: record.frame)


class _Held:
    """Records that a stage may still add to, with what was told along with each. Memory: those."""

    def __init__(self) -> None:
        self._records: deque[tuple[FrameRecord, list[Event]]] = deque()

    def add(self, record: FrameRecord, told: list[Event]) -> None:
        self._records.append((record, told))

    def amend(self, added: Mapping[int, Objects]) -> None:
        """Add objects to the records of frames; those of frames that can't be looked at stay as they are."""
        if not added:
            return
        for place, (record, told) in enumerate(self._records):
            if record.status == "ok" and record.frame in added:
                objects = Objects.concat((record.objects, added[record.frame]))
                self._records[place] = (replace(record, objects=objects), told)

    def take_before(self, frame: int) -> list[tuple[FrameRecord, list[Event]]]:
        ready = []
        while self._records and self._records[0][0].frame < frame:
            ready.append(self._records.popleft())
        return ready

    def take_all(self) -> list[tuple[FrameRecord, list[Event]]]:
        ready = list(self._records)
        self._records.clear()
        return ready

    def state(self) -> list[Any]:
        return [[record.pack(), [event.pack() for event in told]] for record, told in self._records]

    def restore(self, state: Sequence[Any]) -> None:
        self._records = deque((FrameRecord.unpack(raw), [Event.unpack(event) for event in told]) for raw, told in state)


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
