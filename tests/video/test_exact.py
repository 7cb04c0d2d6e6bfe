"""Frames are the same wherever decoding begins."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from itertools import pairwise

import av
import numpy as np
import pytest

from cvpipe.frames import View
from cvpipe.video import Limits, VideoIndex
from cvpipe.video.decode import listen_for_errors
from cvpipe.video.exact import ExactFrames
from tests.video.clips import make_clip, x264
from tests.video.conftest import CLIPS
from tests.video.corpus import make_video
from tests.video.reading import different, ranges, read, read_plainly


@pytest.mark.parametrize("name", CLIPS)
def test_chunks_equal_a_sequential_reading_and_that_equals_plain_pyav(clips, decoders, name):
    path = clips(name)
    index = decoders.index(path)
    whole = read(decoders, path, index)
    plain = read_plainly(path, (96, 64))
    assert different(whole, dict(enumerate(plain))) == []
    for piece in ranges(60, [7, 12, 25]):
        assert different(read(decoders, path, index, piece), whole) == []


@pytest.mark.parametrize(
    "name", ["open.mp4", "open.ts", "one-key.mp4", "intra-refresh.mp4", "vp9.webm", "b-frames.avi"]
)
def test_any_selection_equals_a_sequential_reading(clips, decoders, name):
    path = clips(name)
    index = decoders.index(path)
    whole = read(decoders, path, index)
    random = np.random.default_rng(4)
    for _ in range(6):
        some = np.sort(random.choice(60, 5, replace=False))
        assert different(read(decoders, path, index, some), whole) == []


@pytest.fixture
def listening():
    """FFmpeg's complaints are heard in this process, as they are in a decoder."""
    listen_for_errors()
    yield
    av.logging.set_level(None)
    logging.getLogger("libav").handlers.clear()


def count_packets(path, index, numbers) -> int:
    """How many packets are read for some frames, which must all come."""
    keys = np.flatnonzero(index.keyframe)
    packets = 0

    def count() -> None:
        nonlocal packets
        packets += 1

    with path.open("rb") as file:
        frames = ExactFrames(
            file.fileno(),
            Limits(),
            stream=0,
            numbers=list(numbers),
            pts=index.pts[numbers].tolist(),
            key_numbers=keys.tolist(),
            key_pts=index.pts[keys].tolist(),
            counted=False,
            alive=count,
        )
        assert [at for at, frame, _ in frames if frame is not None] == list(range(len(numbers)))
    return packets


def test_far_frames_are_reached_by_seeking(tmp_path, decoders, listening):
    path = make_clip(tmp_path / "long.mp4", frames=300, options=x264("open-gop=1"))
    index = decoders.index(path)
    numbers = [3, 120, 121, 299]
    assert different(read(decoders, path, index, numbers), read(decoders, path, index)) == []
    assert count_packets(path, index, numbers) < 60


@pytest.mark.parametrize(
    ("name", "most"),
    [("closed.mp4", 30), ("open.mp4", 32), ("open.mkv", 32), ("mpeg2.mpg", 56), ("open.ts", 50), ("hevc-open.ts", 50)],
)
def test_a_chunk_reads_little_more_than_its_own_packets(clips, decoders, listening, name, most):
    index = decoders.index(clips(name))
    assert 24 <= count_packets(clips(name), index, range(24, 48)) <= most


@pytest.mark.parametrize("count", [1, 3, 10])
def test_real_videos_in_chunks(assets, decoders, count):
    path = assets / "videos" / "car-detection.mp4"
    index = decoders.index(path)
    view = View.of(768, 432).resized(160, 90)
    whole = read(decoders, path, index, view=view)
    assert len(whole) == 377
    chunks = index.chunks(0, len(index), index.facts.duration_seconds / count)
    assert len(chunks) <= count
    for first, stop in chunks:
        assert different(read(decoders, path, index, range(first, stop), view), whole) == []


def spoil(data: bytes, seed: int, changes: int) -> bytes:
    """`data` with some bytes of its middle changed."""
    random = np.random.default_rng(seed)
    out = bytearray(data)
    for at in random.integers(len(data) // 5, len(data) * 4 // 5, changes):
        out[at] = random.integers(256)
    return bytes(out)


@pytest.mark.parametrize(
    ("name", "seed", "changes"),
    [
        *((name, seed, 12) for seed in range(3) for name in ("closed.mp4", "hevc-open.ts", "mpeg4.avi", "mpeg2.mpg")),
        ("open.ts", 1, 12),
        ("open.ts", 6, 3),  # slices are lost that FFmpeg complains of in no other way than by concealing them
    ],
)
def test_damage_does_not_make_chunks_differ(tmp_path, clips, decoders, name, seed, changes):
    # MP4's tables are at the end of these files, beyond what is spoilt.
    path = tmp_path / name
    path.write_bytes(spoil(clips(name).read_bytes(), seed, changes))
    index = decoders.index(path)
    whole = read(decoders, path, index)
    assert list(whole) == list(range(len(index)))  # every frame comes, whole or not
    if name == "closed.mp4":
        assert different(whole, read(decoders, clips(name), index)) != []  # it is damaged
    keys = [*np.flatnonzero(index.keyframe).tolist(), len(index)]
    for first, stop in pairwise(keys):
        assert different(read(decoders, path, index, range(first, stop)), whole) == []
    assert different(read(decoders, path, index, [len(index) // 2]), whole) == []


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="wants Debian's ffmpeg to make the video")
def test_hevc_pictures_with_holes_and_those_predicted_from_them_are_damaged(tmp_path, decoders):
    # FFmpeg leaves a slice out with no more than a warning, and shows what memory held before in its place.
    sound = make_video(tmp_path, "hevc-ten.mkv")
    data = bytearray(sound.read_bytes())
    random = np.random.default_rng(3)
    for at in random.integers(len(data) // 6, len(data) * 4 // 5, 3):
        data[at] ^= 1 << int(random.integers(8))
    path = tmp_path / "holed.mkv"
    path.write_bytes(data)
    index = decoders.index(path)
    whole = read(decoders, path, index)
    damaged = [number for number, image in whole.items() if image is None]
    assert damaged == list(range(13, 24))  # packet 16, the first after keyframe 12, has lost its slice
    for piece in ranges(60, [7, 12, 25]):
        assert different(read(decoders, path, index, piece), whole) == []
    for step in (3, 10):
        assert different(read(decoders, path, index, np.arange(0, 60, step)), whole) == []


def test_frames_that_are_missing_come_as_damaged_and_in_order(tmp_path, clips, decoders):
    path = clips("closed.mp4")
    index = decoders.index(path)
    holed = tmp_path / "holed.mp4"
    with av.open(str(path)) as source:
        sizes = [(packet.pos, packet.size) for packet in source.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in sizes[24:36]:  # a whole group of pictures
        data[position : position + size] = bytes(size)
    holed.write_bytes(data)
    seen = []
    with decoders.read(holed, index, np.arange(60), [View.of(96, 64)]) as frames:
        for frame in frames:
            seen.append((frame.number, frame.images is None))
            if frame.images is None:
                assert frame.error
            frame.release()
    assert [number for number, _ in seen] == list(range(60))
    damaged = [number for number, is_damaged in seen if is_damaged]
    assert damaged == list(range(24, 36))


def of_any_size(index: VideoIndex) -> VideoIndex:
    """The index without the size of its file, by which a reading knows at once that the file is another."""
    return dataclasses.replace(index, facts=dataclasses.replace(index.facts, file_bytes=0))


def test_the_rest_of_a_file_that_ends_early_is_damaged(tmp_path, decoders):
    whole = make_clip(tmp_path / "whole.mp4", options=x264(), container_options={"movflags": "+faststart"})
    index = of_any_size(decoders.index(whole))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    found = read(decoders, cut, index)
    assert len(found) == 60
    assert found[0] is not None
    assert found[59] is None
    assert different(read(decoders, cut, index, range(24, 60)), found) == []


def test_the_index_of_another_video_gives_damaged_frames_not_wrong_ones(clips, decoders):
    index = of_any_size(decoders.index(clips("uneven.mp4")))
    found = read(decoders, clips("mpeg4.avi"), index, range(1, 6))
    assert list(found) == [1, 2, 3, 4, 5]
    assert found[2] is None  # its pts, 128, is not one of the other's, which end at 59
