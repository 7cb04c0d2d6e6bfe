"""A service in memory, with the faults of a network, behind httpx.MockTransport."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import httpx

from cvpipe.results import FrameRecord, Objects, stream_ms

JOB: Final = "job_1"
BASE: Final = "http://service.test"
NOW: Final = 1_767_225_600.0


def make_record(number: int) -> FrameRecord:
    """A record with one object, 0.1 s after the one before it."""
    objects = Objects.make(stage="people", box=[[number, 1, number + 10, 20]], score=[0.5], label=["Ünit\u2028 1"])
    return FrameRecord(frame=number * 2, pts=number * 512, time=number / 10, objects=objects)


def make_job(state: str = "running", **changes: Any) -> dict[str, Any]:
    return {
        "id": JOB,
        "state": state,
        "video": "0" * 64,
        "pipeline": {"name": "people", "stages": []},
        "priority": 4,
        "chunk_seconds": 10,
        "progress": {"frames_done": 3, "frames_total": 10, "fraction": 0.3},
        "created_at": NOW,
        **changes,
    }


def problem(status: int, code: str, **more: Any) -> httpx.Response:
    body = {"type": f"/problems/{code}", "title": code, "status": status, "detail": f"told: {code}", **more}
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json"})


def event(kind: str, data: Any, event_id: str) -> bytes:
    return f"event: {kind}\nid: {event_id}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response body in pieces, which may end in an error."""

    def __init__(self, pieces: Iterator[bytes], error: httpx.TransportError | None = None) -> None:
        self._pieces = pieces
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._error is not None:
            raise self._error


class FakeService:
    """One job that finds `pace` more records whenever somebody looks.

    faults: what the next requests meet, one each: `ok`; `refuse`, `reset` or `hang` (ConnectError, ReadError,
    ReadTimeout); a status (a problem document); `cut:N` or `end:N`, an event stream that breaks, or ends as if it were
    whole, after N bytes; `quiet`, one that only shows that it is there. streams: whether there are event streams.
    forgetful: they begin with the first record, whatever the client has.
    """

    def __init__(self, total: int = 20, *, pace: int = 3, faults: list[str] | None = None) -> None:
        self.records = [make_record(number) for number in range(total)]
        self.pace = pace
        self.known = 0
        self.faults = deque(faults or [])
        self.asked: list[httpx.Request] = []
        self.streams = True
        self.forgetful = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        fault = self.faults.popleft() if self.faults else "ok"
        if fault == "refuse":
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        if fault == "reset":
            raise httpx.ReadError("[Errno 104] Connection reset by peer", request=request)
        if fault == "hang":
            raise httpx.ReadTimeout("timed out", request=request)
        if fault.isdecimal():
            return problem(int(fault), "store_unavailable")
        match request.url.path.split("/")[3:]:
            case [_]:
                return httpx.Response(200, json=self.job())
            case [_, "frames"]:
                return self._page(request)
            case [_, "events"]:
                return self._stream(request, fault)
        return problem(404, "not_found")

    def job(self) -> dict[str, Any]:
        done = self.known == len(self.records)
        progress = {"frames_done": self.known, "frames_total": len(self.records)}
        return make_job("succeeded" if done else "running", progress=progress)

    def _advance(self) -> None:
        self.known = min(len(self.records), self.known + self.pace)

    def _behind(self, place: str | None) -> int:
        """Number of the first record behind a place in the stream, `<ms>-<frame number + 1>`."""
        ms, number = (int(part) for part in (place or "0-0").split("-"))
        return sum((stream_ms(record.time), record.frame + 1) <= (ms, number) for record in self.records)

    def _page(self, request: httpx.Request) -> httpx.Response:
        self._advance()
        params = request.url.params
        low, high = float(params.get("from", 0)), float(params.get("to", "inf"))
        first = self._behind(params.get("cursor"))
        known = [r for r in self.records[first : self.known] if low <= r.time < high]
        shown = known[: int(params["limit"])]
        over = self.known == len(self.records) or self.records[self.known].time >= high
        complete = over and len(shown) == len(known)
        following = None
        if not complete:
            following = shown[-1].stream_id if shown else params.get("cursor", f"{stream_ms(low)}-0")
        return httpx.Response(
            200, json={"frames": [r.to_dict() for r in shown], "next": following, "complete": complete}
        )

    def _stream(self, request: httpx.Request, fault: str) -> httpx.Response:
        if not self.streams:
            return problem(406, "not_acceptable")
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        if fault == "quiet":
            pieces = iter([b": ping\n\n"] * 3)
            return httpx.Response(200, headers=headers, stream=Body(pieces, httpx.ReadTimeout("timed out")))
        kind, _, size = fault.partition(":")
        pieces = self._events(request)
        error = None
        if kind in ("cut", "end"):
            pieces = _first_bytes(pieces, int(size))
            error = httpx.RemoteProtocolError("peer closed connection") if kind == "cut" else None
        return httpx.Response(200, headers=headers, stream=Body(_in_sevens(pieces), error))

    def _events(self, request: httpx.Request) -> Iterator[bytes]:
        place = "0-0" if self.forgetful else request.headers.get("last-event-id", "0-0_0-0").partition("_")[2]
        following = self._behind(place)
        with_frames = request.url.params["frames"] == "true"
        yield b"retry: 2000\n: hello\n\n"
        while True:
            self._advance()
            progress = {"state": "running", "progress": self.job()["progress"], "at": NOW}
            yield event("progress", progress, f"{self.known}-0_{place}")
            while with_frames and following < self.known:
                record = self.records[following]
                place = record.stream_id
                following += 1
                yield event("frame", record.to_dict(), f"{self.known}-0_{place}")
            if self.known == len(self.records):
                yield event("done", self.job(), f"99-0_{place}")
                return


def _first_bytes(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    for piece in pieces:
        if count <= len(piece):
            yield piece[:count]
            return
        count -= len(piece)
        yield piece


def _in_sevens(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, cut where no event, line or character ends."""
    for piece in pieces:
        for start in range(0, len(piece), 7):
            yield piece[start : start + 7]
