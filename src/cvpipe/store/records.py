"""Records and events of a job, read in order, while it runs too."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cvpipe.errors import NotFound
from cvpipe.events import Event
from cvpipe.job import JobState
from cvpipe.results import FrameRecord, stream_ms
from cvpipe.store.connection import Connection, chunk_key, frames_key, guarded, job_key, log_key, old_key
from cvpipe.tenants import id_of

_PAGE = 1000


class Records(Connection):
    """What a job has found, and what has happened to it."""

    @guarded
    def frames(
        self,
        job_id: str,
        *,
        start: float | None = None,
        stop: float | None = None,
        after: str | None = None,
        limit: int = 500,
    ) -> tuple[list[tuple[str, FrameRecord]], bool]:
        """Records in order, with their stream ids; and whether these are the last there will ever be.

        start, stop: seconds since the first frame, start <= time < stop. after: a stream id; records behind it.
        Raises: NotFound.
        """
        # What is finished is read before the records: the other way round, a record could slip in between.
        pipe = self._redis.pipeline(transaction=False)
        pipe.hmget(job_key(job_id), "state", "plan", "chunks")
        pipe.hkeys(job_key(job_id) + ":done")
        (state, plan, chunks), done_raw = pipe.execute()
        if state is None:
            raise NotFound(f"there is no job {id_of(job_id)!r}")
        over = JobState(state.decode()).is_final
        if plan is None:
            return [], over
        segments = json.loads(plan)
        kinds = [segment["kind"] for segment in segments]
        if "sequence" in kinds:
            streams = [(frames_key(job_id), False)]
        else:
            chunks_read, done = json.loads(chunks), {key.decode() for key in done_raw}
            last = max(n for n, kind in enumerate(kinds) if kind == "frames")
            whole = {n for n in range(len(chunks_read)) if f"{last}:{n}" in done}
            may_hold = _chunks_between(chunks_read, start=start, stop=stop, after=after)
            streams = [(chunk_key(job_id, last, n), n in whole) for n in may_hold]
        found: list[tuple[str, FrameRecord]] = []
        for key, complete in streams:
            for entry_id, record in self._between(key, start=start, stop=stop, after=after, page=limit + 1):
                if len(found) == limit:
                    return found, False
                found.append((entry_id, record))
            if not complete:
                return found, over  # of a job that ended early nothing follows; without holes
        return found, True

    def _between(
        self, key: str, *, start: float | None = None, stop: float | None = None, after: str | None = None, page: int
    ) -> Iterator[tuple[str, FrameRecord]]:
        """Records of one stream. Ids are whole milliseconds, times are not: the ends of the range are looked at."""
        low = f"({after}" if after is not None else "-" if start is None else f"{stream_ms(start)}-0"
        high = "+" if stop is None else f"({stream_ms(stop) + 1}-0"
        while True:
            entries = self._redis.xrange(key, low, high, count=page)
            for entry_id, fields in entries:
                record = FrameRecord.unpack(fields[b"record"])
                if (start is None or record.time >= start) and (stop is None or record.time < stop):
                    yield entry_id.decode(), record
            if len(entries) < page:
                return
            low = f"({entries[-1][0].decode()}"

    @guarded
    def event_log(
        self,
        job_id: str,
        *,
        start: float | None = None,
        stop: float | None = None,
        kinds: Collection[str] = (),
        after: str | None = None,
        limit: int = 500,
    ) -> tuple[list[tuple[str, Event]], bool]:
        """What stages say has happened, in the order told, with ids; and whether these are the last there will be.

        start, stop: seconds since the first frame; events that touch start <= time < stop. kinds: none for all. after:
        an id; events behind it. Raises: NotFound.
        """
        state = self._redis.hget(job_key(job_id), "state")
        if state is None:
            raise NotFound(f"there is no job {id_of(job_id)!r}")
        over = JobState(state.decode()).is_final
        # An event is told when it is over, so that what ended before `start` was told before.
        low = f"({after}" if after is not None else "-" if start is None else f"{stream_ms(start)}-0"
        found: list[tuple[str, Event]] = []
        while True:
            entries = self._redis.xrange(log_key(job_id), low, "+", count=_PAGE)
            for entry_id, fields in entries:
                event = Event.unpack(fields[b"record"])
                if _touches(event, start, stop) and (not kinds or event.kind in kinds):
                    if len(found) == limit:
                        return found, False
                    found.append((entry_id.decode(), event))
            if len(entries) < _PAGE:
                return found, over
            low = f"({entries[-1][0].decode()}"

    @guarded
    def chunk_records(self, job_id: str, segment: int, chunk: int) -> list[FrameRecord]:
        """All records of a chunk that a segment has written so far."""
        return [record for _, record in self._between(chunk_key(job_id, segment, chunk), page=_PAGE)]

    @guarded
    def old_records(self, job_id: str, segment: int, chunk: int) -> list[FrameRecord]:
        """The records of a chunk that is being repaired, as they were before; none where it is not."""
        return [record for _, record in self._between(old_key(chunk_key(job_id, segment, chunk)), page=_PAGE)]

    @guarded
    def events(self, job_id: str, *, after: str = "0", limit: int = 200) -> list[tuple[str, dict[str, Any]]]:
        """State changes and progress of a job behind the event id `after`: (id, {"type", "at", ...}), at in seconds."""
        entries = self._redis.xrange(
            job_key(job_id) + ":events", f"({after}" if after != "0" else "-", "+", count=limit
        )
        out = []
        for entry_id, fields in entries:
            event: dict[str, Any] = {"type": fields[b"type"].decode(), "at": int(fields[b"at"]) / 1000}
            if b"frames_done" in fields:
                event["frames_done"] = int(fields[b"frames_done"])
            out.append((entry_id.decode(), event))
        return out


def _touches(event: Event, start: float | None, stop: float | None) -> bool:
    return (start is None or event.end.time >= start) and (stop is None or event.start.time < stop)


def _chunks_between(
    chunks: Sequence[Sequence[int]], *, start: float | None, stop: float | None, after: str | None
) -> list[int]:
    """Numbers of the chunks that can hold what is asked for; chunks: (first frame, stop frame, ms of the first)."""
    next_frame = int(after.split("-")[1]) if after is not None else 0
    found = []
    for number, (_, stop_frame, first_ms) in enumerate(chunks):
        if stop is not None and first_ms > stream_ms(stop):
            break
        last = number + 1 == len(chunks)
        too_early = start is not None and not last and chunks[number + 1][2] < stream_ms(start)
        if stop_frame > next_frame and not too_early:
            found.append(number)
    return found
