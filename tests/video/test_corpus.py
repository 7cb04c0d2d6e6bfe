"""Of every kind of video: the frames are FFmpeg's, and the same wherever decoding begins."""

from __future__ import annotations

import shutil

import av
import numpy as np
import pytest

from tests.video.corpus import KINDS, make_video
from tests.video.reading import different, ranges, read, read_plainly

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="wants Debian's ffmpeg to make the videos")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus")


@pytest.mark.parametrize("name", KINDS)
def test_a_reading_equals_plain_decoding_and_does_not_depend_on_what_else_is_read(folder, decoders, name):
    path = make_video(folder, name)
    index = decoders.index(path)
    whole = read(decoders, path, index)
    with av.open(str(path)) as container:
        size = container.streams.video[0].width, container.streams.video[0].height
    plain = read_plainly(path, size)
    assert len(plain) == (1 if name == "one-frame.mp4" else 60)
    assert different(whole, dict(enumerate(plain))) == []
    for piece in ranges(len(index), [7, 12, 25]):
        assert different(read(decoders, path, index, piece), whole) == []
    random = np.random.default_rng(8)
    for number in random.permutation(len(index))[:6]:
        assert different(read(decoders, path, index, [int(number)]), whole) == []
    for step in (3, 10):
        assert different(read(decoders, path, index, np.arange(0, len(index), step)), whole) == []
    assert different(read(decoders, path, index, np.flatnonzero(index.keyframe)), whole) == []
    some = np.sort(random.choice(len(index), max(1, len(index) // 6), replace=False))
    assert different(read(decoders, path, index, some), whole) == []
