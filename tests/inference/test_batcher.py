"""The queue of one network: whose pictures go first, and in which company."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from cvpipe.errors import GpuOutOfMemory
from cvpipe.inference.batcher import Batcher
from cvpipe.inference.meters import Use
from cvpipe.inference.shares import Share, working_for


def picture(value: int, width: int = 4) -> np.ndarray:
    return np.full((2, width, 3), value, np.uint8)


class Device:
    """A device that can be held: notes which pictures came together, by their first byte."""

    def __init__(self, *, fits: int = 1000) -> None:
        self.calls: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.busy = threading.Event()
        self.fits = fits

    def __call__(self, images: Sequence[np.ndarray]) -> list[int]:
        self.calls.append([int(image.flat[0]) for image in images])
        assert len({image.shape for image in images}) == 1
        self.busy.set()
        assert self.open.wait(60)
        if len(images) > self.fits:
            raise GpuOutOfMemory("full")
        return [int(image.flat[0]) * 10 for image in images]


@contextmanager
def asking(queue: Batcher[int] | None, *asks: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    """Threads that ask, ended when the block ends. queue: each begins when the one before it waits there."""
    threads = [threading.Thread(target=ask, daemon=True) for ask in asks]
    for thread in threads:
        before = len(queue._queue) if queue else 0
        thread.start()
        until = time.monotonic() + 60
        while queue and len(queue._queue) == before and time.monotonic() < until:
            time.sleep(0.001)
    yield threads
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def asker(batcher: Batcher[int], values: Sequence[int], job: str = "", priority: int = 4) -> Callable[[], None]:
    """Asks for pictures of these values and checks that each gets its own answer."""

    def ask() -> None:
        with working_for(Share(job, priority)):
            assert batcher.ask([picture(value) for value in values]) == [value * 10 for value in values]

    return ask


def held(device: Device, batcher: Batcher[int]) -> threading.Thread:
    """The device is busy with picture 0 until it is opened."""
    device.open.clear()
    thread = threading.Thread(target=lambda: batcher.ask([picture(0)]), daemon=True)
    thread.start()
    assert device.busy.wait(60)
    return thread


def test_pictures_of_several_threads_share_full_batches() -> None:
    device = Device()
    batcher = Batcher(device, batch=4, calls=1)
    first = held(device, batcher)
    with asking(batcher, asker(batcher, [1, 2, 3]), asker(batcher, [4]), asker(batcher, [5, 6, 7, 8])):
        device.open.set()
    first.join()
    assert device.calls == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]


def test_the_more_urgent_job_goes_first_and_equals_take_turns() -> None:
    device = Device()
    batcher = Batcher(device, batch=2, calls=1)
    first = held(device, batcher)
    with asking(
        batcher,
        asker(batcher, [1, 2, 3, 4], "long"),
        asker(batcher, [11, 12], "short"),
        asker(batcher, [21], "urgent", 9),
    ):
        device.open.set()
    first.join()
    assert device.calls == [[0], [21, 1], [11, 2], [12, 3], [4]]


def test_pictures_of_different_shapes_go_apart() -> None:
    device = Device()
    batcher = Batcher(device, batch=4, calls=1, wait_seconds=0)
    assert batcher.ask([picture(1), picture(2, 8), picture(3), picture(4, 8)]) == [10, 20, 30, 40]
    assert device.calls == [[1, 3], [2, 4]]


def test_a_picture_waits_for_company_no_longer_than_it_was_told() -> None:
    device = Device()
    batcher = Batcher(device, batch=2, calls=1, wait_seconds=0.3)
    batcher._seen[1] = time.perf_counter() + 600  # somebody who has asked, and may again
    started = time.monotonic()
    assert batcher.ask([picture(1)]) == [10]
    assert 0.3 <= time.monotonic() - started < 30


def test_nobody_waits_for_company_that_can_not_come() -> None:
    batcher = Batcher(Device(), batch=2, calls=1, wait_seconds=100)
    started = time.monotonic()
    assert batcher.ask([picture(1)]) == [10]
    assert time.monotonic() - started < 50


def test_a_device_out_of_memory_gets_half_as_much() -> None:
    device = Device(fits=2)
    batcher = Batcher(device, batch=8, calls=1)
    assert batcher.ask([picture(value) for value in range(1, 9)]) == [value * 10 for value in range(1, 9)]
    assert [len(call) for call in device.calls] == [8, 4, 2, 2, 2, 2]
    assert batcher.batch == 2


def test_out_of_memory_with_one_picture_is_an_error_and_others_go_on() -> None:
    device = Device(fits=0)
    batcher = Batcher(device, batch=2, calls=1)
    with pytest.raises(GpuOutOfMemory):
        batcher.ask([picture(1), picture(2)])
    device.fits = 1
    assert batcher.ask([picture(3)]) == [30]


def test_on_a_cpu_no_more_calls_run_at_once_than_told() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def run(images: Sequence[np.ndarray]) -> list[int]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return [int(images[0].flat[0]) * 10]

    batcher = Batcher(run, batch=1, calls=2)
    with asking(None, *[asker(batcher, range(n, n + 4)) for n in range(0, 40, 8)]):
        pass
    assert most == 2


def test_who_gives_up_waiting_leaves_the_queue() -> None:
    device = Device()
    batcher = Batcher(device, batch=1, calls=1)
    first = held(device, batcher)

    def stop() -> None:
        raise InterruptedError

    with working_for(Share(check=stop)), pytest.raises(InterruptedError):
        batcher.ask([picture(1)])
    device.open.set()
    first.join()
    assert batcher.ask([picture(2)]) == [20]
    assert device.calls == [[0], [2]]


def test_each_job_is_told_its_share_of_a_call() -> None:
    device, told = Device(), []
    batcher = Batcher(device, batch=4, calls=1, is_padded=True, on_use=lambda job, use: told.append((job, use)))
    first = held(device, batcher)
    with asking(batcher, asker(batcher, [1, 2], "a"), asker(batcher, [3], "b")):
        time.sleep(0.05)
        device.open.set()
    first.join()
    uses: dict[str, Use] = {}
    for job, use in told[1:]:
        uses.setdefault(job, Use()).add(use)
    a, b = uses["a"], uses["b"]
    assert (a.pictures, b.pictures) == (2, 1)
    assert a.calls + b.calls == pytest.approx(1)
    assert a.places + b.places == pytest.approx(4)
    assert a.blank + b.blank == pytest.approx(1)
    assert a.fill == b.fill == pytest.approx(0.75)
    assert a.waste == pytest.approx(0.25)
    assert a.wait_seconds > 0.03


def test_who_comes_late_has_no_claim_to_what_others_had_without_it() -> None:
    device = Device()
    late: list[threading.Thread] = []

    def run(images: Sequence[np.ndarray]) -> list[int]:
        if int(images[0].flat[0]) == 19:
            late.append(threading.Thread(target=asker(batcher, [101, 102, 103, 104], "late"), daemon=True))
            late[0].start()
            until = time.monotonic() + 60
            while not any(item.share.job == "late" for item in batcher._queue) and time.monotonic() < until:
                time.sleep(0.001)
        return device(images)

    batcher = Batcher(run, batch=2, calls=1)
    with asking(None, asker(batcher, range(1, 27), "early")):
        pass
    late[0].join(60)
    assert device.calls[9:] == [[19, 20], [21, 101], [22, 102], [23, 103], [24, 104], [25, 26]]


def test_a_thread_that_is_ended_in_the_middle_of_a_call_takes_nobody_along() -> None:
    device = Device()
    gone: list[int] = []

    def run(images: Sequence[np.ndarray]) -> list[int]:
        values = device(images)
        if 10 in values and not gone:
            gone.append(threading.get_ident())
            raise SystemExit
        return values

    batcher = Batcher(run, batch=4, calls=1)
    first = held(device, batcher)
    answers: list[list[int]] = []

    def ask() -> None:
        with suppress(SystemExit):
            answers.append(batcher.ask([picture(1), picture(2)]))

    with asking(batcher, ask, ask):
        device.open.set()
    first.join()
    assert (len(gone), answers) == (1, [[10, 20]])
    assert batcher.ask([picture(3)]) == [30]
