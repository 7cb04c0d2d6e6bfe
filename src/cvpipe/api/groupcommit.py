"""Group commit: jobs that are submitted at about the same time go to the store together.

Each waits until it is on disk, and all of a group wait for one round trip and one sync. Nothing is held back to make a
group larger: what comes in while one is on its way is the next.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cvpipe.job import Job, JobRequest
from cvpipe.keys import Identity
from cvpipe.lifecycle import Lifecycle
from cvpipe.store import Submission

_GROUP: Final = 64
"""A group of so many jobs takes no more in."""
_THREADS: Final = 2
"""While one group is on its way, another is checked."""

Answer = tuple[Job, bool]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request, and who waits for its answer."""

    request: JobRequest
    by: Identity
    idempotency_key: str | None
    answer: asyncio.Future[Answer]


class GroupCommit:
    """Takes requests from the event loop, and commits them from threads of its own.

    Memory: what is asked for and not answered; a connection has one such request at a time.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._gathered: list[_Waiting] = []
        self._handed_over: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"commit-{number}", daemon=True) for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    async def submit(self, request: JobRequest, *, by: Identity, idempotency_key: str | None = None) -> Answer:
        """See `Lifecycle.submit`."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, by, idempotency_key, loop.create_future())
        if not self._gathered:
            loop.call_soon(self._hand_over)  # behind all that this turn of the loop brings
        self._gathered.append(waiting)
        return await waiting.answer

    def close(self, timeout_seconds: float = 5) -> None:
        """Commit what was handed over, then stop."""
        for _ in self._threads:
            self._handed_over.put(None)
        for thread in self._threads:
            thread.join(timeout_seconds)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        for start in range(0, len(gathered), _GROUP):
            self._handed_over.put(gathered[start : start + _GROUP])

    def _work(self) -> None:
        while (group := self._handed_over.get()) is not None:
            is_last = False
            with suppress(queue.Empty):
                while len(group) < _GROUP:
                    following = self._handed_over.get_nowait()
                    if following is None:
                        is_last = True
                        break
                    group += following
            answers = self._committed(group)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                group[0].answer.get_loop().call_soon_threadsafe(_tell, group, answers)
            if is_last:
                return

    def _committed(self, group: Sequence[_Waiting]) -> list[Answer | Exception]:
        answers: dict[int, Answer | Exception] = {}
        ready: dict[int, Submission] = {}
        for number, waiting in enumerate(group):
            try:
                ready[number] = self._lifecycle.prepare(
                    waiting.request, by=waiting.by, idempotency_key=waiting.idempotency_key
                )
            except Exception as error:  # noqa: BLE001 - whoever asked is told, and the others go on
                answers[number] = error
        if ready:
            try:
                done = self._lifecycle.commit(list(ready.values()))
            except Exception as error:  # noqa: BLE001 - as above
                done = [error] * len(ready)
            answers |= zip(ready, done, strict=True)
        return [answers[number] for number in range(len(group))]


def _tell(group: Sequence[_Waiting], answers: Sequence[Answer | Exception]) -> None:
    for waiting, answer in zip(group, answers, strict=True):
        if waiting.answer.done():  # canceled: nobody waits for it
            continue
        if isinstance(answer, Exception):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
