"""Following a job to its end: its progress, and its records while it runs; without input and output (see `steps`).

The service's answers are the truth, its event stream only says sooner what they would say: whenever the stream breaks,
the job or its next page of records is asked for, and then the stream is opened again behind what is known. Where there
is no stream (something between here and the service holds it back), asking again and again is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import httpx
from pydantic_core import from_json

from cvpipe.client.answers import check, document, listed, malformed, read_as, read_records
from cvpipe.client.calls import Calls, JobLike, id_of, job_path
from cvpipe.client.sse import Event, EventParser
from cvpipe.client.steps import FOLLOW_WAITS, Ask, Call, HangUp, Hear, Listen, Opened, Sleep, take
from cvpipe.errors import WaitTimeout
from cvpipe.job import Job, Progress
from cvpipe.results import FrameRecord

OnProgress: TypeAlias = Callable[[Progress], None]

PAGE_RECORDS: Final = 500

SILENCE_SECONDS: Final = 45.0
"""A stream that says nothing for so long is dead: the service sends a comment every 15 s."""

_LOOK_SECONDS: Final = (0.05, 0.1, 0.2, 0.5)
"""Waits between looks where there is no stream; the last one repeats."""

_FRUITLESS_SECONDS: Final = (0.0, 0.2, 0.5, 1.0)
"""Waits before a stream is opened again, by how many before it brought nothing; after them, there is none."""


class Line:
    """The event stream of a job, opened again as often as it breaks. Close `opened` when done."""

    def __init__(self, calls: Calls, job: JobLike, *, frames: bool) -> None:
        self.opened: Opened | None = None
        self.usable = True
        self._base_url = calls.base_url
        self._path = job_path(job, "events")
        self._params = {"frames": "true" if frames else "false"}
        self._parser = EventParser()
        self._fruitless = 0

    def open(self, *, after: str | None, silence_seconds: float = SILENCE_SECONDS) -> Call[None]:
        """Open the stream behind the event id `after`; `opened` or `usable` tells what came of it.

        Raises: ApiError (`not_found`, or a service that stays broken), Unavailable.
        """
        if self._fruitless >= len(_FRUITLESS_SECONDS):
            self.usable = False
            return
        yield Sleep(_FRUITLESS_SECONDS[self._fruitless])
        listen = Listen(self._path, self._params, after, silence_seconds)
        answer = yield from take(listen, base_url=self._base_url, waits=FOLLOW_WAITS)
        self._fruitless += 1
        if isinstance(answer, Opened):
            self.opened = answer
            self._parser = EventParser()
        elif answer.status_code == httpx.codes.NOT_FOUND or answer.is_server_error:
            check(answer)
        elif answer.status_code != httpx.codes.NO_CONTENT:  # which says that nothing follows
            self.usable = False

    def hear(self) -> Call[list[Event]]:
        """The next events; none where the service only showed that it is there, or where the stream broke."""
        assert self.opened is not None
        try:
            chunk: bytes = yield Hear(self.opened)
            events = self._parser.feed(chunk)
        except (httpx.RequestError, ValueError):
            chunk, events = b"", []
        if not chunk:
            yield from self.close()
        if events:
            self._fruitless = 0
        return events

    def close(self) -> Call[None]:
        """Hang up."""
        if self.opened is not None:
            opened, self.opened = self.opened, None
            yield HangUp(opened)


class Waiting:
    """Waits for a job to end."""

    def __init__(
        self, calls: Calls, job: JobLike, *, timeout_seconds: float | None, on_progress: OnProgress | None
    ) -> None:
        self.line = Line(calls, job, frames=False)
        self._calls = calls
        self._job = job
        self._timeout_seconds = timeout_seconds
        self._deadline = float("inf") if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._report = on_progress or (lambda _: None)
        self._last_event_id: str | None = None

    def end(self) -> Call[Job]:
        """The job, once it has ended. Raises: WaitTimeout."""
        looks = 0
        while True:
            job: Job = yield from self._calls.job(self._job, waits=FOLLOW_WAITS)
            self._report(job.progress)
            if job.state.is_final:
                return job
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"job {id_of(self._job)} is still {job.state} after {self._timeout_seconds:g} s")
            # While the stream is silent nobody looks at the clock, so the last stretch is done by looking.
            if self.line.usable and left > SILENCE_SECONDS:
                yield from self.line.open(after=self._last_event_id)
            if self.line.opened is None:
                yield Sleep(min(left, _LOOK_SECONDS[min(looks, len(_LOOK_SECONDS) - 1)]))
                looks += 1
            elif (ended := (yield from self._listen())) is not None:
                return ended

    def _listen(self) -> Call[Job | None]:
        """The job where the stream tells of its end; None where it breaks off or time is short."""
        while (opened := self.line.opened) is not None:
            for event in (yield from self.line.hear()):
                self._last_event_id = event.id
                if event.kind == "progress":
                    told = _parsed(event, opened)
                    self._report(read_as(Progress, told.get("progress", told), response=opened.response))
                elif event.kind == "done":
                    yield from self.line.close()
                    job = read_as(Job, _parsed(event, opened), response=opened.response)
                    self._report(job.progress)
                    return job
            if self._deadline - time.monotonic() <= SILENCE_SECONDS:
                yield from self.line.close()
        return None


class Records:
    """The records of a job, in batches, each record once and in order, until there will be no more."""

    def __init__(self, calls: Calls, job: JobLike, *, start: float | None, stop: float | None) -> None:
        self.line = Line(calls, job, frames=True)
        self._calls = calls
        self._path = job_path(job, "frames")
        self._span = {name: value for name, value in {"from": start, "to": stop}.items() if value is not None}
        self._start = 0.0 if start is None else start
        self._stop = float("inf") if stop is None else stop
        self._cursor: str | None = None
        self._last_frame = -1
        self._complete = False
        self._caught_up = False
        self._looks = 0

    def more(self) -> Call[list[FrameRecord] | None]:
        """The next records, waiting for them if need be; None once all have been given."""
        while not self._complete:
            if self.line.opened is None and self._caught_up:
                yield from self._wait()
            if self.line.opened is None:
                records = yield from self._page()
            else:
                records = yield from self._hear()
            if records:
                self._looks = 0
                return records
        yield from self.line.close()
        return None

    def _page(self) -> Call[list[FrameRecord]]:
        """The next page: fastest for what is there already, and the one that knows when it is complete."""
        params: dict[str, str | int | float] = {**self._span, "limit": PAGE_RECORDS}
        if self._cursor is not None:
            params["cursor"] = self._cursor
        response = yield from self._calls.take(Ask("GET", self._path, params), waits=FOLLOW_WAITS)
        body = document(response)
        records = read_records(listed(body, "frames", response=response), response=response)
        following, complete = body.get("next"), body.get("complete")
        if not isinstance(complete, bool) or not (following is None or isinstance(following, str)):
            raise malformed(response, "a page with `next` and `complete`")
        self._cursor = following or self._cursor
        self._complete = complete
        self._caught_up = len(records) < PAGE_RECORDS
        return self._fresh(records)

    def _wait(self) -> Call[None]:
        """Open the stream behind the last record, or let some time pass."""
        if self.line.usable and self._cursor is not None:
            # An event's id is `<place in the job's events>_<place in its records>`, and the latter is a page's cursor.
            yield from self.line.open(after=f"0-0_{self._cursor}")
        if self.line.opened is None:
            yield Sleep(_LOOK_SECONDS[min(self._looks, len(_LOOK_SECONDS) - 1)])
            self._looks += 1

    def _hear(self) -> Call[list[FrameRecord]]:
        opened = self.line.opened
        assert opened is not None
        rows = []
        for event in (yield from self.line.hear()):
            if event.kind == "frame":
                rows.append(_parsed(event, opened))
                self._cursor = event.id.rpartition("_")[2] or self._cursor
            elif event.kind == "done":
                yield from self.line.close()
                self._caught_up = False  # the next page confirms that nothing is missing
        records = read_records(rows, response=opened.response)
        self._complete = any(record.time >= self._stop for record in records)
        return self._fresh(records)

    def _fresh(self, records: list[FrameRecord]) -> list[FrameRecord]:
        """Those in the range and not given before, should page and stream overlap."""
        fresh = [r for r in records if r.frame > self._last_frame and self._start <= r.time < self._stop]
        if fresh:
            self._last_frame = fresh[-1].frame
        return fresh


def _parsed(event: Event, opened: Opened) -> dict[str, Any]:
    try:
        value = from_json(event.data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise malformed(opened.response, f"a JSON object in its event `{event.kind}`")
    return value
