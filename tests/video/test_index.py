"""The index as data: no PyAV, no file."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from cvpipe.errors import InvalidRequest
from cvpipe.video import VideoFacts, VideoIndex


def make_index(pts: list[int], keys: list[int], *, time_base: str = "1/10", duration: float = 0) -> VideoIndex:
    step = pts[1] - pts[0] if len(pts) > 1 else 1
    num, den = map(int, time_base.split("/"))
    facts = VideoFacts(
        container="mp4", codec="h264", pixel_format="yuv420p", width=64, height=48, display_width=48, display_height=64,
        rotation=90, frames=len(pts), duration_seconds=duration or (pts[-1] - pts[0] + step) * num / den, fps=10,
        time_base=time_base, stream=0, mirrored=True, header={"frames": 3, "fps": None},
    )  # fmt: skip
    keyframe = np.zeros(len(pts), bool)
    keyframe[keys] = True
    return VideoIndex(
        facts=facts,
        pts=np.array(pts, np.int64),
        keyframe=keyframe,
        reference=np.arange(len(pts)) % 3 > 0,
        size=np.arange(len(pts), dtype=np.int64) * 2**37,
    )


def test_times_count_from_the_first_frame_and_are_rounded_to_microseconds():
    index = make_index([-3, 0, 7], [0], time_base="1/3")
    assert index.times.tolist() == [0.0, 1.0, 3.333333]


@pytest.mark.parametrize(
    ("keys", "first", "stop", "seconds", "expected"),
    [
        pytest.param([0, 10, 20, 30], 0, 40, 1, [(0, 10), (10, 20), (20, 30), (30, 40)], id="a keyframe a second"),
        pytest.param([0, 10, 20, 30], 0, 40, 1.5, [(0, 20), (20, 40)], id="at least so long"),
        pytest.param([0, 10, 20, 30], 5, 33, 1, [(5, 20), (20, 33)], id="part of the video"),
        pytest.param([0, 10, 20, 30], 0, 34, 1, [(0, 10), (10, 20), (20, 34)], id="a short rest is no chunk"),
        pytest.param([0, 10, 20, 30], 0, 35, 1, [(0, 10), (10, 20), (20, 30), (30, 35)], id="half is a chunk"),
        pytest.param([0], 0, 40, 1, [(0, 40)], id="one keyframe"),
        pytest.param([], 0, 40, 1, [(0, 40)], id="no keyframe"),
        pytest.param([0, 10], 7, 8, 1, [(7, 8)], id="one frame"),
        pytest.param([0, 10], 7, 7, 1, [], id="no frame"),
        pytest.param([0, 10, 20, 30], 0, 40, 1000, [(0, 40)], id="longer than the video"),
    ],
)
def test_chunks_begin_at_keyframes(keys, first, stop, seconds, expected):
    index = make_index(list(range(40)), keys)
    assert index.chunks(first, stop, seconds) == expected


@pytest.mark.parametrize("bad", [(-1, 3), (3, 2), (0, 41)])
def test_chunks_of_frames_that_are_not_there_are_refused(bad):
    with pytest.raises(ValueError, match="first"):
        make_index(list(range(40)), [0]).chunks(*bad, 1)


def test_an_index_survives_packing():
    index = make_index([5, 45, 86, 125, 2**40], [0, 3], time_base="1/1000")
    back = VideoIndex.unpack(index.pack())
    assert back.facts == index.facts
    assert back.pts.tolist() == index.pts.tolist()
    assert back.keyframe.tolist() == index.keyframe.tolist()
    assert back.reference.tolist() == index.reference.tolist()
    assert back.size.tolist() == index.size.tolist()
    assert VideoFacts.from_dict(index.facts.to_dict()) == index.facts


def test_an_hour_of_frames_packs_into_four_bytes_a_frame():
    index = make_index(list(range(0, 90_000 * 512, 512)), list(range(0, 90_000, 50)), time_base="1/12800")
    sizes = np.random.default_rng(1).lognormal(9, 1, 90_000).astype(np.int64)
    packed = dataclasses.replace(index, size=sizes).pack()
    assert len(packed) < 4 * 90_000
    assert VideoIndex.unpack(packed).size.tolist() == sizes.tolist()


def test_an_hour_of_frames_of_one_size_packs_into_few_bytes():
    index = make_index(list(range(0, 90_000 * 512, 512)), list(range(0, 90_000, 50)), time_base="1/12800")
    assert len(dataclasses.replace(index, size=np.full(90_000, 4000)).pack()) < 6_000


@pytest.mark.parametrize(
    "spoil",
    [lambda b: b"", lambda b: b"x" + b[1:], lambda b: b[:-9], lambda b: b[:30], lambda b: b[:8] + b"\x29" + b[9:]],
    ids=["nothing", "other magic", "end missing", "only the head", "one frame more"],
)
def test_other_bytes_are_not_an_index(spoil):
    with pytest.raises(InvalidRequest, match="not a packed video index"):
        VideoIndex.unpack(spoil(make_index(list(range(40)), [0]).pack()))


def test_pts_must_ascend():
    with pytest.raises(ValueError, match="ascend"):
        make_index([0, 2, 2], [0])


def test_an_index_can_not_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        make_index([0, 1], [0]).pts[0] = 7


def test_reading_an_index_needs_no_pyav():
    code = "import sys; from cvpipe.video import Decoders, VideoIndex, Writer; print('av' in sys.modules)"
    path = [entry for entry in sys.path if entry]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
