"""One network's queue: pictures of all frames, crops, chunks and jobs go to the device in batches.

There is no thread for it: whoever asks runs the next batch if the device has a place free, be it with pictures of
others, and waits otherwise. So on a CPU, where a call takes one picture, asking costs two turns of a lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final, Generic, TypeVar

from cvpipe.errors import GpuOutOfMemory
from cvpipe.inference.meters import Use
from cvpipe.inference.shares import Share, current

R = TypeVar("R")
Image = Any  # an array, or what else a network is asked about one, with a `shape` that those of one call have in common

GPU_CALLS: Final = 2
"""Calls at once on a GPU: one is made ready while the other computes."""
CPU_CALLS: Final = 1024
"""Calls at once on a CPU: as many as ask, for workers have as many threads as there are cores."""

_ACTIVE_SECONDS: Final = 0.5
_LOOK_UP_SECONDS: Final = 0.5


class _Item(Generic[R]):
    """A picture that waits. turn: among those of all jobs. order: of arrival."""

    __slots__ = ("arrived", "asker", "error", "image", "is_done", "order", "result", "share", "turn")

    result: R

    def __init__(self, image: Image, share: Share, asker: int, *, turn: int, order: int, arrived: float) -> None:
        self.image, self.share, self.asker, self.arrived = image, share, asker, arrived
        self.turn, self.order = turn, order
        self.error: Exception | None = None
        self.is_done = False


class Batcher(Generic[R]):
    """Fills batches of pictures of one shape: by priority, then by turns between jobs, then by arrival."""

    def __init__(
        self,
        run: Callable[[Sequence[Image]], list[R]],
        *,
        batch: int,
        calls: int,
        is_padded: bool = False,
        wait_seconds: float = 0.005,
        on_use: Callable[[str, Use], None] | None = None,
    ) -> None:
        """run: the device's results for 1 to `batch` pictures of one shape. calls: how many run at once.

        is_padded: calls take as long for one picture as for a batch. wait_seconds: how long a picture waits for others
        at most while the device is free. on_use: told of each job's share of each call.
        """
        self._run = run
        self._most, self._calls, self._free = batch, calls, calls
        self._is_padded, self._wait_seconds, self._on_use = is_padded, wait_seconds, on_use
        self._changed = threading.Condition()
        self._queue: list[_Item[R]] = []
        self._turns: dict[str, int] = {}
        self._now: dict[int, int] = {}
        self._seen: dict[int, float] = {}
        self._numbers = count()

    @property
    def batch(self) -> int:
        """Most pictures in one call; halved where the device ran out of memory."""
        return self._most

    def allow(self, calls: int) -> None:
        """Let so many calls run at once from now on."""
        with self._changed:
            self._free += calls - self._calls
            self._calls = calls
            self._changed.notify_all()

    def ask(self, images: Sequence[Image]) -> list[R]:
        """The results for pictures (height, width, 3), in order; for the job that this thread works for.

        Raises: GpuOutOfMemory, and what `run` raises, for a call that one of these pictures was in.
        """
        share = current()
        if self._most > 1:
            return self._together(images, share)
        use = Use()
        try:
            return [self._alone(image, share, use) for image in images]
        finally:
            if self._on_use is not None and use.pictures:
                self._on_use(share.job, use)

    def _alone(self, image: Image, share: Share, use: Use) -> R:
        """A picture in a call of its own, added to `use`; at once where the device has a place free and nobody waits.

        Where it has to wait, it counts with the others that do.
        """
        with self._changed:
            is_free = self._free > 0 and not self._queue
            if is_free:
                self._free -= 1
        if not is_free:
            return self._together([image], share)[0]
        started = time.perf_counter()
        try:
            return self._run([image])[0]
        finally:
            with self._changed:
                self._free += 1
                if self._queue:
                    self._changed.notify_all()
            use.pictures += 1
            use.calls += 1
            use.places += 1
            use.device_seconds += time.perf_counter() - started

    def _together(self, images: Sequence[Image], share: Share) -> list[R]:
        asker, now = threading.get_ident(), time.perf_counter()
        with self._changed:
            mine: list[_Item[R]] = [
                _Item(image, share, asker, turn=self._turn(share), order=next(self._numbers), arrived=now)
                for image in images
            ]
            self._queue += mine
            self._seen[asker] = now
            self._changed.notify_all()
            try:
                while not all(item.is_done for item in mine):
                    chosen, wait = self._next_batch() if self._free > 0 else ([], _LOOK_UP_SECONDS)
                    if chosen:
                        self._serve(chosen)
                    else:
                        self._changed.wait(wait)
                        share.look_up()
            finally:
                self._queue = [item for item in self._queue if item.asker != asker]
                self._seen[asker] = time.perf_counter()
        for item in mine:
            if item.error is not None:
                raise item.error
        return [item.result for item in mine]

    def _next_batch(self) -> tuple[list[_Item[R]], float]:
        """The pictures of the next call, taken from the queue; or none, and how long to wait for more, in seconds."""
        if not self._queue:
            return [], _LOOK_UP_SECONDS
        now = time.perf_counter()
        queue, wait = self._in_order(), _LOOK_UP_SECONDS
        shapes = dict.fromkeys(item.image.shape for item in queue)
        for shape in shapes:
            chosen = [item for item in queue if item.image.shape == shape][: self._most]
            left = min(item.arrived for item in chosen) + self._wait_seconds - now
            if len(chosen) == self._most or left <= 0 or self._everybody_waits(now):
                taken = set(map(id, chosen))
                self._queue = [item for item in self._queue if id(item) not in taken]
                for item in chosen:
                    urgency = item.share.priority
                    self._now[urgency] = max(self._now.get(urgency, 0), item.turn)
                if not self._queue:
                    self._turns.clear()
                    self._now.clear()
                return chosen, 0.0
            wait = min(wait, left)
        return [], wait

    def _turn(self, share: Share) -> int:
        """The turn of a job's next picture: after its last one, and not before what is served now.

        So jobs take turns by the picture, and who comes, or comes back, has no claim to what others had without it.
        """
        turn = self._turns[share.job] = max(self._turns.get(share.job, 0), self._now.get(share.priority, 0)) + 1
        return turn

    def _in_order(self) -> list[_Item[R]]:
        """Higher priority first; among equals by turns between jobs; then by arrival."""
        return sorted(self._queue, key=lambda item: (-item.share.priority, item.turn, item.order))

    def _everybody_waits(self, now: float) -> bool:
        """Whether all who have lately asked have pictures in the queue: nobody is left to wait for."""
        self._seen = {asker: at for asker, at in self._seen.items() if now - at < _ACTIVE_SECONDS}
        return self._seen.keys() <= {item.asker for item in self._queue}

    def _serve(self, chosen: list[_Item[R]]) -> None:
        """Run a batch. The lock is held on entry and on return, and not meanwhile."""
        self._free -= 1
        size = self._most
        self._changed.release()
        error: Exception | None = None
        is_over = False
        started = time.perf_counter()
        try:
            for item, result in zip(chosen, self._run([item.image for item in chosen]), strict=True):
                item.result = result
            is_over = True
        except Exception as raised:  # noqa: BLE001 - raised where the pictures were asked about
            error, is_over = raised, True
        finally:
            ended = time.perf_counter()
            self._changed.acquire()
            self._free += 1
            self._changed.notify_all()
            if not is_over:  # this thread is told to end: others ask again for theirs
                self._queue += chosen
        if isinstance(error, GpuOutOfMemory) and size > 1:
            self._most = max(1, min(self._most, size // 2))
            self._queue += chosen
            return
        for item in chosen:
            item.error, item.is_done = error, True
        self._count(chosen, size, started, ended)

    def _count(self, chosen: list[_Item[R]], size: int, started: float, ended: float) -> None:
        if self._on_use is None:
            return
        for job in dict.fromkeys(item.share.job for item in chosen):
            inside = [item for item in chosen if item.share.job == job]
            part = len(inside) / len(chosen)
            self._on_use(
                job,
                Use(
                    pictures=len(inside),
                    calls=part,
                    places=size * part,
                    blank=(size - len(chosen)) * part if self._is_padded else 0,
                    wait_seconds=sum(started - item.arrived for item in inside),
                    device_seconds=(ended - started) * part,
                ),
            )
