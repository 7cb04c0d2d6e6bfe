"""Of every kind of video: the frames are those of the ffmpeg program, and the same wherever decoding begins."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cvpipe.video import VideoIndex
from cvpipe.video.scaling import SHRINKING
from tests.video.corpus import ALL, COUNTED, FRAMES, STREAM, make_video
from tests.video.rare import time_fields
from tests.video.reading import different, ranges, read, read_plainly

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="wants Debian's ffmpeg to make the videos")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus")


def by_ffmpeg(path: Path, index: VideoIndex, flags: str = "bicubic") -> tuple[np.ndarray, list[int | None]]:
    """All frames as the ffmpeg program makes them, BGR at the size of the first one, and their pts."""
    told = "-nostdin -threads 1 -copyts -i".split()
    made = f"-map 0:{index.facts.stream} -vf showinfo=checksum=0 -fps_mode passthrough -sws_flags {flags}"
    command = ["ffmpeg", *told, path, *made.split(), "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    shown = re.findall(r"\bn: *\d+ pts: *(-?\d+|NOPTS)", done.stderr.decode())
    pts = [None if value == "NOPTS" else int(value) for value in shown]
    size = index.facts.display_height, index.facts.display_width
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *size, 3), pts


@pytest.mark.parametrize("name", ALL)
def test_a_reading_equals_ffmpegs_and_does_not_depend_on_what_else_is_read(folder, decoders, name):
    path = make_video(folder, name)
    index = decoders.index(path, stream=STREAM.get(name))
    whole = read(decoders, path, index)
    frames, pts = by_ffmpeg(path, index)
    assert len(frames) == len(index) == FRAMES.get(name, 60)
    if name == "changing.ts":  # its last frames are resized
        frames = np.concatenate([frames[:60], by_ffmpeg(path, index, SHRINKING)[0][60:]])
    if name == "ragged.avi":  # FFmpeg 5.1 and 8 decode a few pixels of it one or two levels apart
        np.testing.assert_allclose(np.array(list(whole.values()), int), frames, atol=4)
        frames = read_plainly(path, (94, 62))
    assert different(whole, dict(enumerate(frames))) == []
    assert index.facts.timing == ("counted" if name in COUNTED else "file")
    if name not in COUNTED:
        assert index.pts.tolist() == pts
    for piece in ranges(len(index), [13]):
        assert different(read(decoders, path, index, piece), whole) == []
    random = np.random.default_rng(8)
    for number in random.permutation(len(index))[:2]:
        assert different(read(decoders, path, index, [int(number)]), whole) == []
    assert different(read(decoders, path, index, np.arange(0, len(index), 10)), whole) == []
    assert different(read(decoders, path, index, np.flatnonzero(index.keyframe)), whole) == []
    some = np.sort(random.choice(len(index), max(1, len(index) // 6), replace=False))
    assert different(read(decoders, path, index, some), whole) == []


@pytest.mark.parametrize(
    ("name", "first", "frames"),
    [
        ("missing.ts", 133200, 60),
        ("repeated.ts", 126000, 60),
        ("backward.ts", 133200, 120),
        ("changing.ts", 133200, 80),
    ],
)
def test_frames_without_good_times_are_a_step_apart(folder, decoders, name, first, frames):
    index = decoders.index(make_video(folder, name))
    assert index.pts.tolist() == [first + 3600 * n for n in range(frames)]


def test_the_rate_really_varies(folder, decoders):
    steps = np.diff(decoders.index(make_video(folder, "pausing.mkv")).pts)
    assert len(set(steps.tolist())) > 20
    assert (steps.min(), steps.max()) == (13, 3019)
    assert len(set(np.diff(decoders.index(make_video(folder, "uneven.mp4")).pts).tolist())) > 20


def test_the_clock_really_wraps_within_the_file(folder, decoders):
    path = make_video(folder, "wrapping.ts")
    data = path.read_bytes()
    told = []
    for at, _ in time_fields(data):
        a, b, c = (int.from_bytes(data[at + i : at + i + 2]) >> 1 for i in (8, 10, 12))
        told.append((a & 7) << 30 | b << 15 | c)
    assert min(told) < 200_000 < 2**33 - 200_000 < max(told)
    index = decoders.index(path)
    assert set(np.diff(index.pts)) == {3600}
    assert sorted(index.pts % 2**33) == sorted(told)


@pytest.mark.parametrize(
    ("name", "orders"),
    [
        ("interlaced.ts", {"1,0"}),
        ("mpeg2-interlaced.mpg", {"1,1"}),
        ("fields.mkv", {"1,1", "1,0"}),
        ("closed.mp4", {"0,0"}),
    ],
)
def test_interlaced_kinds_are(folder, name, orders):
    entries = "frame=interlaced_frame,top_field_first"
    command = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "csv=p=0", make_video(folder, name)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    assert {line[:3] for line in done.stdout.split()} == orders


@pytest.mark.parametrize("name", ["open.ts", "hevc-ten.mkv", "vp9.webm", "b-frames.avi"])
def test_chunks_of_one_frame_in_any_order_equal_the_whole(folder, decoders, name):
    path = make_video(folder, name)
    index = decoders.index(path)
    whole = read(decoders, path, index)
    for number in range(len(index) - 1, -1, -5):
        assert different(read(decoders, path, index, [number]), whole) == []
    for piece in reversed(ranges(len(index), [5])):
        assert different(read(decoders, path, index, piece), whole) == []


@pytest.mark.parametrize("name", STREAM)
def test_every_video_stream_can_be_read(folder, decoders, name):
    path = make_video(folder, name)
    first, second = decoders.index(path, stream=0), decoders.index(path, stream=2)
    assert (decoders.index(path).facts.stream, first.facts.stream, second.facts.stream) == (0, 0, 2)
    assert ((first.facts.width, first.facts.height), (second.facts.width, second.facts.height)) == ((96, 64), (64, 48))
    for index in (first, second):
        assert different(read(decoders, path, index, [40]), dict(enumerate(by_ffmpeg(path, index)[0]))) == []


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("turned.mov", (90, False, 64, 96)),
        ("upside-down.mp4", (180, False, 96, 64)),
        ("flipped.mp4", (0, True, 96, 64)),
        *((f"odd.{end}", (0, False, 95, 63)) for end in ("mkv", "webm", "mp4", "ts", "avi", "mov")),
        ("closed.mp4", (0, False, 96, 64)),
    ],
)
def test_the_index_tells_how_large_pictures_are_and_how_they_are_turned(folder, decoders, name, facts):
    index = decoders.index(make_video(folder, name))
    told = index.facts
    assert (told.rotation, told.mirrored, told.display_width, told.display_height) == facts
