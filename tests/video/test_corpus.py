"""Of every kind of video: the frames are those of the ffmpeg program, and the same wherever decoding begins."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cvpipe.video import VideoIndex
from cvpipe.video.scaling import INTERPOLATION
from tests.video.corpus import ALL, COUNTED, FRAMES, STREAM, make_video
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
        frames = np.concatenate([frames[:60], by_ffmpeg(path, index, INTERPOLATION)[0][60:]])
    if name == "odd.avi":  # FFmpeg 5.1 decodes it a little differently
        np.testing.assert_allclose(np.array(list(whole.values()), int), frames, atol=4)
        frames = read_plainly(path, (95, 63))
    assert different(whole, dict(enumerate(frames))) == []
    assert index.facts.timing == ("counted" if name in COUNTED else "file")
    if name not in COUNTED:
        assert index.pts.tolist() == pts
    for piece in ranges(len(index), [7, 25]):
        assert different(read(decoders, path, index, piece), whole) == []
    random = np.random.default_rng(8)
    for number in random.permutation(len(index))[:3]:
        assert different(read(decoders, path, index, [int(number)]), whole) == []
    assert different(read(decoders, path, index, np.arange(0, len(index), 10)), whole) == []
    assert different(read(decoders, path, index, np.flatnonzero(index.keyframe)), whole) == []
    some = np.sort(random.choice(len(index), max(1, len(index) // 6), replace=False))
    assert different(read(decoders, path, index, some), whole) == []
