"""A decoder that its video has taken over may say what it likes: the parent gets an error with a code, or pictures."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import zlib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvpipe.errors import DecoderCrashed, DecodeTimeout, MediaUnreadable, VideoError
from cvpipe.frames import View
from cvpipe.video import Decoders, Limits, VideoIndex, spawning, untrusted, wire
from cvpipe.video.index import _HEAD, _MAGIC
from tests.video.reading import descriptors, eventually, is_alive

VIEW = View.of(96, 64)
LIMITS = Limits(timeout_seconds=0.2)


class Puppet:
    """A decoder's process that says what it was told to say beforehand, and then has ended (or is silent)."""

    pid = 0

    def __init__(self, said: list[bytes], *, ends: bool) -> None:
        self.socket, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs.setblocking(False)
        for message in said:
            self._theirs.send(message)
        if ends:
            self._theirs.close()

    def end(self) -> None:
        self.socket.close()
        self._theirs.close()


class Theatre:
    """Stands where the fork-server would."""

    def __init__(self, said: list[bytes], *, ends: bool) -> None:
        self._puppet = Puppet(said, ends=ends)

    def fork(self, video: int, memory: int) -> Puppet:
        return self._puppet


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
codes = st.sampled_from(["media_unreadable", "too_many_pixels", "decode_timeout", "internal", "", "__class__"])
errors = st.one_of(
    st.fixed_dictionaries({"code": codes, "message": json_values}), st.fixed_dictionaries({"code": json_values})
)
messages = st.one_of(
    st.binary(min_size=1, max_size=64),
    st.builds(lambda kind, rest: bytes((kind,)) + rest, st.sampled_from(b"FDPAEZSRXWU"), st.binary(max_size=40)),
    st.builds(lambda at, slot: wire.frame_message.pack(wire.FRAME, at, slot, 0), st.integers(0, 4), st.integers(0, 12)),
    st.builds(lambda at, said: wire.damaged_message.pack(wire.DAMAGED, at) + said, st.integers(0, 4), st.binary()),
    st.builds(lambda status: wire.exit_message.pack(wire.EXITED, status), st.integers(-(2**31), 2**31 - 1)),
    st.builds(lambda body: b"E" + json.dumps(body).encode(errors="surrogatepass"), errors),
    st.just(b"E" + b"[" * 3000),
    st.just(b'E{"code": "media_unreadable", "message": "\\ud800 a\\u0000b\\u001b[2J' + b"x" * 1500 + b'"}'),
)


@pytest.fixture(scope="module")
def clip(clips):
    return clips("closed.mp4")


@pytest.fixture(scope="module")
def index(decoders, clip):
    return decoders.index(clip)


def theatre(said: list[bytes], *, ends: bool = True) -> Decoders:
    decoders = object.__new__(Decoders)
    decoders.limits, decoders._server, decoders._card = LIMITS, Theatre(said, ends=ends), None
    decoders._counts, decoders._lock, decoders._mine = Counter(), threading.Lock(), threading.local()
    return decoders


relaxed = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def is_fit_to_show(text: str) -> bool:
    return len(text) <= 1000 and text.isprintable() and text.encode() is not None


@relaxed
@given(said=st.lists(messages, max_size=12))
def test_whatever_it_says_of_frames_the_parent_lives(clip, index, said):
    given_numbers = []
    try:
        with theatre(said).read(clip, index, [0, 3, 7, 9], [VIEW]) as frames:
            for frame in frames:
                given_numbers.append(frame.number)
                assert frame.images is None or frame.images[0].shape == (64, 96, 3)
                assert frame.images is not None or is_fit_to_show(frame.error)
                frame.release()
    except VideoError as error:
        assert is_fit_to_show(str(error))  # noqa: PT017 - an error is one of two right outcomes
    assert given_numbers == [0, 3, 7, 9][: len(given_numbers)]


@relaxed
@given(said=st.lists(messages, max_size=12))
def test_whatever_it_says_of_an_index_the_parent_lives(clip, said):
    with pytest.raises(VideoError) as caught:
        theatre(said).index(clip)
    assert is_fit_to_show(str(caught.value))


def packed(facts: dict[str, Any], index: VideoIndex) -> bytes:
    """An index that says `facts` instead of its own."""
    text = json.dumps(facts).encode()
    length = _HEAD.unpack_from(index.pack())[1]
    return _HEAD.pack(_MAGIC, len(text), len(index)) + text + index.pack()[_HEAD.size + length :]


def facts_of(index: VideoIndex) -> dict[str, Any]:
    return index.facts.to_dict()


@relaxed
@given(data=st.data())
def test_facts_of_other_types_or_beyond_their_range_make_no_index(index, data):
    facts = facts_of(index)
    name = data.draw(st.sampled_from(sorted(facts)))
    facts[name] = data.draw(json_values)
    try:
        made = untrusted.index(packed(facts, index), LIMITS)
    except VideoError as error:
        assert is_fit_to_show(str(error))  # noqa: PT017 - an error is one of two right outcomes
    else:
        View.of(made.facts.display_width, made.facts.display_height)
        assert len(made.times) == 60
        json.dumps(made.facts.to_dict(), allow_nan=False).encode()
        assert len(made.chunks(0, len(made), 1.0)) >= 1


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"width": "96"}, id="a word for a number"),
        pytest.param({"width": 0}, id="no width"),
        pytest.param(
            {"width": 60000, "display_width": 60000, "height": 60000, "display_height": 60000}, id="too large"
        ),
        pytest.param({"display_width": 95}, id="shown in another size"),
        pytest.param({"rotation": 45}, id="half turned"),
        pytest.param({"frames": 61}, id="more frames than it lists"),
        pytest.param({"duration_seconds": float("nan")}, id="no duration"),
        pytest.param({"fps": float("inf")}, id="endless fps"),
        pytest.param({"time_base": "1/0"}, id="time base over zero"),
        pytest.param({"time_base": "1/-25"}, id="time runs back"),
        pytest.param({"stream": -1}, id="no stream"),
        pytest.param({"codec": "x" * 2000}, id="a long name"),
        pytest.param({"streams": [[[[[[[1]]]]]]]}, id="nested deep"),
        pytest.param({"header": {"frames": 2**70}}, id="a claim beyond all counting"),
        pytest.param({"secret": 1}, id="a fact nobody knows"),
    ],
)
def test_an_index_with_impossible_facts_is_refused(index, changed):
    assert len(untrusted.index(packed(facts_of(index), index), LIMITS)) == 60
    with pytest.raises(DecoderCrashed, match="gave no index"):
        untrusted.index(packed({**facts_of(index), **changed}, index), LIMITS)


def test_times_that_can_not_be_counted_are_the_fault_of_the_file(index):
    wild = replace(index, pts=np.concatenate([[-(2**62) - 1], np.arange(59)]).astype(np.int64))
    with pytest.raises(MediaUnreadable, match="times of its frames make no sense"):
        untrusted.index(wild.pack(), LIMITS)


def test_an_index_that_unfolds_without_end_is_refused(index):
    bomb = _HEAD.pack(_MAGIC, 2, 10) + b"{}" + zlib.compress(bytes(2**24))
    with pytest.raises(DecoderCrashed):
        untrusted.index(bomb, LIMITS)


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        pytest.param([b"A"] * 100, DecodeTimeout, id="signs of life and then silence"),
        pytest.param([b"P"], DecoderCrashed, id="empty parts without end"),
        pytest.param([b"P" + b"x" * 1000] * 20, DecodeTimeout, id="parts that never end"),
    ],
)
def test_who_says_nothing_is_not_waited_for(clip, said, raised):
    with pytest.raises(raised):
        theatre(said, ends=False).index(clip)


def test_signs_of_life_do_not_buy_time_without_end(clip, monkeypatch):
    hours = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: 3600.0 * next(hours))
    with pytest.raises(DecodeTimeout, match="28800 s"):
        theatre([b"A"] * 50, ends=False).index(clip)


def test_a_decoder_that_does_not_listen_holds_nobody_up(clip, index):
    said = [wire.frame_message.pack(wire.FRAME, at, 0, 0) for at in range(60)]
    with theatre(said * 4, ends=False).read(clip, index, np.arange(60), [VIEW], hold=1) as frames:
        talk = frames._talk
        for _ in range(2000):  # far more than the socket holds
            talk.give_back([0] * 8)
        assert sum(frame.release() is None for frame in frames) == 60


TAKEN_OVER = """
def babble(end, video, memory, *, filtered):
    import random
    with_seed = random.Random(video * 1000 + os.getpid())
    while True:
        length = with_seed.choice((0, 6, 7, 300, 60000))
        end.send(bytes((with_seed.choice(b"FDPAEZSRX"),)) + with_seed.randbytes(length))
import os
from cvpipe.video import child
child.run = babble
"""


def test_real_processes_that_babble_are_ended_and_leave_nothing(clip, index, monkeypatch):
    monkeypatch.setattr(spawning, "_BOOT", spawning._BOOT.replace("; from", "; exec(sys.argv[4]); from", 1))
    launch = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda argv, **more: launch([*argv, TAKEN_OVER], **more))
    with Decoders(limits=Limits(timeout_seconds=5)) as decoders:
        _ = decoders.protection
        before = descriptors()
        pids = []
        for _ in range(40):
            with pytest.raises(VideoError):
                decoders.index(clip)
            with (
                pytest.raises(VideoError),
                decoders.read(clip, index, np.arange(60), [VIEW]) as frames,
            ):
                pids.append(frames.pid)
                for frame in frames:
                    frame.release()
        assert eventually(lambda: not any(is_alive(pid) for pid in pids))
        assert not descriptors() - before
        assert is_alive(decoders.server_pid)
    assert os.getpid() not in pids
