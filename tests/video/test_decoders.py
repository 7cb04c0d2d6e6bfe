"""The life of decoder processes: what they hand over, how they end, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cvpipe.errors import DecoderCrashed, DecoderUnavailable, DecodeTimeout, ExtraMissing
from cvpipe.frames import View
from cvpipe.video import Decoders, Limits, spawning
from cvpipe.video.child import Pulse
from tests.video.clips import make_clip, x264
from tests.video.reading import children, descriptors, different, eventually, is_alive, read

VIEW = View.of(96, 64)


@pytest.fixture(scope="module")
def clip(clips):
    return clips("closed.mp4")


@pytest.fixture(scope="module")
def index(decoders, clip):
    return decoders.index(clip)


@pytest.fixture
def long_clip(tmp_path):
    return make_clip(tmp_path / "long.mp4", options=x264(), frames=400)


def test_frames_come_in_order_and_can_not_be_written_to(decoders, clip, index):
    with decoders.read(clip, index, [0, 5, 59], [VIEW]) as frames:
        first = next(frames)
        assert (first.number, first.error, first.images[0].shape) == (0, None, (64, 96, 3))
        with pytest.raises(ValueError, match="read-only"):
            first.images[0][0, 0] = 0
        first.release()
        rest = []
        for frame in frames:
            rest.append(frame.number)
            frame.release()
    assert rest == [5, 59]


def test_each_view_gets_its_picture_and_equal_views_share_one(decoders, clip, index):
    views = [VIEW, VIEW.resized(48, 32), View.of(96, 64, format="gray"), View.of(96, 64)]
    with decoders.read(clip, index, [7], views) as frames:
        frame = next(frames)
        assert [image.shape for image in frame.images] == [(64, 96, 3), (32, 48, 3), (64, 96), (64, 96, 3)]
        assert np.shares_memory(frame.images[0], frame.images[3])
        assert not np.shares_memory(frame.images[0], frame.images[1])


def test_pictures_stay_while_they_are_held(decoders, clip, index):
    whole = read(decoders, clip, index)
    held = []
    with decoders.read(clip, index, np.arange(60), [VIEW], hold=5) as frames:
        for frame in frames:
            held.append(frame)
            if len(held) == 5:
                for old in held:
                    assert np.array_equal(old.images[0], whole[old.number])
                held.pop(2).release()
    assert np.array_equal(held[-1].images[0], whole[59])  # and after the decoder's end, for who kept them


def test_holding_too_many_frames_is_an_error_and_not_a_deadlock(decoders, clip, index):
    with decoders.read(clip, index, np.arange(60), [VIEW], hold=2) as frames:
        kept = [next(frames), next(frames)]
        with pytest.raises(RuntimeError, match="2 frames are unreleased"):
            next(frames)
        kept[0].release()
        kept[0].release()
        assert next(frames).number == 2


def test_no_frames_wanted_starts_nothing(decoders, clip, index):
    with decoders.read(clip, index, [], [VIEW]) as frames:
        assert frames.pid is None
        assert list(frames) == []


@pytest.mark.parametrize(
    ("numbers", "views", "hold", "message"),
    [
        pytest.param([1, 1], [VIEW], 2, "ascend", id="twice the same frame"),
        pytest.param([3, 1], [VIEW], 2, "ascend", id="descending"),
        pytest.param([60], [VIEW], 2, "from 0 to 59", id="behind the end"),
        pytest.param([-1, 2], [VIEW], 2, "from 0 to 59", id="before the start"),
        pytest.param([1], [], 2, "at least one view", id="no view"),
        pytest.param([1], [View.of(64, 96)], 2, "shown as 96x64", id="view of another size"),
        pytest.param([1], [VIEW], 0, "hold", id="hold nothing"),
    ],
)
def test_senseless_requests_are_refused(decoders, clip, index, numbers, views, hold, message):
    with pytest.raises(ValueError, match=message):
        decoders.read(clip, index, numbers, views, hold=hold)


def test_a_reading_is_only_read_inside_its_context(decoders, clip, index):
    with pytest.raises(RuntimeError, match="with"):
        next(decoders.read(clip, index, [1], [VIEW]))


def test_a_killed_decoder_is_an_error_of_its_reading_alone(decoders, clip, index):
    with decoders.read(clip, index, np.arange(60), [VIEW]) as frames:
        next(frames).release()
        os.kill(frames.pid, signal.SIGKILL)
        with pytest.raises(DecoderCrashed, match="SIGKILL"):
            for frame in frames:
                frame.release()
    assert len(read(decoders, clip, index)) == 60


@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_is_named(decoders, clip, index, sent):
    with decoders.read(clip, index, np.arange(60), [VIEW]) as frames:
        next(frames)
        os.kill(frames.pid, sent)
        assert eventually(lambda: not is_alive(frames.pid))
        with pytest.raises(DecoderCrashed, match=sent.name):
            for frame in frames:
                frame.release()


def test_a_decoder_that_hangs_is_ended_and_others_read_on(clip, index, long_clip):
    with Decoders(limits=Limits(timeout_seconds=5)) as decoders:
        long_index = decoders.index(long_clip)
        with decoders.read(long_clip, long_index, np.arange(400), [VIEW]) as frames:
            next(frames)
            pid = frames.pid
            os.kill(pid, signal.SIGSTOP)
            assert len(read(decoders, clip, index)) == 60
            with pytest.raises(DecodeTimeout, match="said nothing for 5 s"):
                for frame in frames:
                    frame.release()
        assert not is_alive(pid)


def test_work_that_takes_long_is_no_silence(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        pulse = Pulse(theirs, Limits(timeout_seconds=8))
        heard = 0
        for _ in range(1000):
            now += 0.01
            pulse()
            with contextlib.suppress(BlockingIOError):
                heard += ours.recv(10) == b"A"
    assert 8 <= heard <= 20


def test_silence_while_nobody_waits_is_no_hang(long_clip):
    with Decoders(limits=Limits(timeout_seconds=3)) as decoders:
        index = decoders.index(long_clip)
        with decoders.read(long_clip, index, np.arange(len(index)), [VIEW]) as frames:
            next(frames).release()
            time.sleep(3.5)  # a slow consumer: the ring is full, the decoder waits
            assert sum(frame.release() is None for frame in frames) == len(index) - 1


def test_leaving_early_ends_the_decoder_at_once(decoders, long_clip):
    index = decoders.index(long_clip)
    with decoders.read(long_clip, index, np.arange(len(index)), [VIEW]) as frames:
        pid = frames.pid
        next(frames)
        assert is_alive(pid)
    assert not is_alive(pid)


def test_an_error_in_the_loop_ends_the_decoder(decoders, long_clip):
    index = decoders.index(long_clip)
    with (
        pytest.raises(ZeroDivisionError),
        decoders.read(long_clip, index, np.arange(len(index)), [VIEW]) as frames,
    ):
        pid = frames.pid
        raise ZeroDivisionError
    assert not is_alive(pid)


def test_ended_decoders_are_reaped_and_leave_no_descriptor(clip, index):
    with Decoders() as decoders:
        read(decoders, clip, index)
        (server,) = [pid for pid in children(os.getpid()) if pid == decoders.server_pid]
        before = descriptors()
        for _ in range(5):
            read(decoders, clip, index, [3])
            with decoders.read(clip, index, np.arange(60), [VIEW]) as frames:
                next(frames)
        assert eventually(lambda: children(server) == [])
        assert not descriptors() - before
    assert not is_alive(server)


def test_another_fork_server_replaces_one_that_died(clip, index, caplog):
    with Decoders() as decoders:
        read(decoders, clip, index, [1])
        with decoders.read(clip, index, np.arange(60), [VIEW]) as frames:
            next(frames)
            killed, orphan = decoders.server_pid, frames.pid
            os.kill(killed, signal.SIGKILL)
            assert eventually(lambda: not is_alive(orphan))  # decoders end with it
            with pytest.raises(DecoderCrashed):
                for frame in frames:
                    frame.release()
        assert len(read(decoders, clip, index)) == 60
        assert decoders.server_pid != killed
    assert "starting another" in caplog.text


def test_closed_decoders_say_so(clip, index):
    decoders = Decoders()
    decoders.close()
    decoders.close()
    with pytest.raises(RuntimeError, match="closed"):
        read(decoders, clip, index)


def test_all_end_with_their_parent(clip, long_clip):
    code = f"""
import os, sys, time; sys.path[:] = {[entry for entry in sys.path if entry]!r}
from pathlib import Path
import numpy as np
from cvpipe.frames import View
from cvpipe.video import Decoders
decoders = Decoders()
copy = os.fork()  # it keeps the parent's sockets open
if copy == 0:
    time.sleep(60)
    os._exit(0)
path = Path({str(long_clip)!r})
index = decoders.index(path)
with decoders.read(path, index, np.arange(len(index)), [View.of(96, 64)]) as frames:
    next(frames)
    print(decoders.server_pid, frames.pid, copy, flush=True)
    sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        server, decoder, copy = map(int, parent.stdout.readline().split())
        assert is_alive(server)
        assert is_alive(decoder)
        os.kill(decoder, signal.SIGSTOP)  # even one that can do nothing any more
        parent.kill()
        try:
            assert eventually(lambda: not is_alive(server) and not is_alive(decoder))
        finally:
            os.kill(copy, signal.SIGKILL)


def test_threads_read_at_once(decoders, clip, index):
    whole = read(decoders, clip, index)
    wrong: list[object] = []

    def work(first: int) -> None:
        try:
            for _ in range(3):
                wrong.extend(different(read(decoders, clip, index, range(first, 60)), whole))
        except BaseException as error:  # noqa: BLE001 - the test is about any
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 12, 30, 59)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_decoders_outlive_the_thread_that_made_them(clip, index):
    made: list[Decoders] = []
    thread = threading.Thread(target=lambda: made.append(Decoders()))
    thread.start()
    thread.join()
    with made[0] as decoders:
        read(decoders, clip, index, [1])
        server = decoders.server_pid
        time.sleep(0.1)
        read(decoders, clip, index, [2])
        assert decoders.server_pid == server


def test_more_processor_time_than_allowed_is_refused(long_clip):
    view = View.of(96, 64).resized(3840, 2560)
    with Decoders(limits=Limits(cpu_seconds=1)) as decoders:
        index = decoders.index(long_clip)
        with (
            pytest.raises(DecodeTimeout, match="1 s of processor time"),
            decoders.read(long_clip, index, np.arange(len(index)), [view]) as frames,
        ):
            for frame in frames:
                frame.release()


def test_without_pyav_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"cvpipe\[cpu\]"):
        Decoders()


def test_the_first_frame_comes_quickly(decoders, clip, index):
    def first() -> float:
        start = time.perf_counter()
        with decoders.read(clip, index, np.arange(60), [VIEW]) as frames:
            next(frames)
            return time.perf_counter() - start

    def anew() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import av"], check=True)
        return time.perf_counter() - start

    # 10 to 20 ms on an idle machine; starting Python and importing PyAV for each reading would take 200.
    assert min(first() for _ in range(20)) < min(anew() for _ in range(3)) / 2


def test_where_no_decoder_process_starts_it_is_told(clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawning, "_BOOT", "raise SystemExit(1)")
    with Decoders() as decoders, pytest.raises(DecoderUnavailable, match="does not start"):
        decoders.index(clip)
