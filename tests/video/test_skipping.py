"""What is never decoded: counted at the decoder, and the frames wanted are the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import av
import numpy as np
import pytest

from cvpipe.video import Limits, VideoIndex
from cvpipe.video import exact as exact_module
from cvpipe.video.decode import listen_for_errors
from cvpipe.video.exact import ExactFrames
from cvpipe.video.reel import Reel
from tests.video.clips import make_clip, x264


@pytest.fixture
def listening():
    """FFmpeg's complaints are heard in this process, as they are in a decoder."""
    listen_for_errors()
    yield
    av.logging.set_level(None)
    logging.getLogger("libav").handlers.clear()


@pytest.fixture
def sent(monkeypatch, listening):
    """`sent.packets` and `sent.pictures` count what went into decoders and came out."""

    class Counting(Reel):
        packets = pictures = 0

        def decode(self, packet):
            frames, trouble = super().decode(packet)
            Counting.packets += packet is not None
            Counting.pictures += len(frames)
            return frames, trouble

    monkeypatch.setattr(exact_module, "Reel", Counting)
    return Counting


def decode(path, index: VideoIndex, numbers: Sequence[int], around: np.ndarray | None) -> dict[int, bytes | None]:
    """The pictures of frames by number, None for a damaged one."""
    numbers = np.asarray(numbers)
    keys = np.flatnonzero(index.keyframe)
    with path.open("rb") as file:
        frames = ExactFrames(
            file.fileno(),
            Limits(),
            stream=0,
            numbers=numbers.tolist(),
            pts=index.pts[numbers].tolist(),
            key_numbers=keys.tolist(),
            key_pts=index.pts[keys].tolist(),
            around=[] if around is None else around.tolist(),
            counted=False,
            alive=lambda: None,
        )
        return {int(numbers[at]): frame and frame.to_ndarray().tobytes() for at, frame, _ in frames}


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """`long(group)`: 300 frames, three B-frames between others, a keyframe every `group` frames."""
    folder = tmp_path_factory.mktemp("long")

    def make(group: int):
        path = folder / f"{group}.mp4"
        return path if path.exists() else make_clip(path, frames=300, options=x264(g=str(group), keyint_min=str(group)))

    return make


def whole(path, index: VideoIndex, numbers: Sequence[int]) -> dict[int, bytes | None]:
    """The frames wanted out of a reading in which everything is decoded."""
    return {n: p for n, p in decode(path, index, range(len(index)), None).items() if n in set(map(int, numbers))}


@pytest.mark.parametrize(
    ("group", "numbers", "packets", "pictures"),
    [
        pytest.param(250, [0, 250], 2, 2, id="keyframes-of-groups-of-250"),
        pytest.param(10, range(0, 300, 10), 30, 30, id="keyframes-of-groups-of-10"),
        pytest.param(10, range(0, 300, 30), 10, 10, id="1-of-30-in-groups-of-10"),
    ],
)
def test_what_is_not_needed_is_not_decoded(long, decoders, sent, group, numbers, packets, pictures):
    path = long(group)
    index = decoders.index(path)
    expected = whole(path, index, numbers)
    assert None not in expected.values()
    sent.packets = sent.pictures = 0
    assert decode(path, index, numbers, index.pts) == expected
    assert (sent.packets, sent.pictures) == (packets, pictures)


def referenced(path) -> dict[int, bool]:
    """By pts, in the order of decoding: is the picture of an MP4's packet one that others may be predicted from?"""
    found = {}
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            data, at, found_here = bytes(packet), 0, False
            while at + 4 < len(data):
                found_here |= data[at + 4] & 31 in (1, 5) and data[at + 4] & 0x60 > 0  # nal_unit_type, nal_ref_idc
                at += 4 + int.from_bytes(data[at : at + 4], "big")
            if packet.pts is not None:
                found[packet.pts] = found_here
    return found


def test_at_1_of_30_frames_only_references_and_the_frames_wanted_are_decoded(long, decoders, sent):
    path = long(250)
    index = decoders.index(path)
    numbers = range(0, 300, 30)
    expected = whole(path, index, numbers)
    sent.packets = sent.pictures = 0
    assert decode(path, index, numbers, index.pts) == expected
    references = referenced(path)
    wanted = set(index.pts[list(numbers)].tolist())
    order = list(references)
    stops = [max(order.index(t) for t in wanted if t < index.pts[250]), max(order.index(t) for t in wanted)]
    kept = [*order[: stops[0] + 1], *order[250 : stops[1] + 1]]  # up to the last wanted of each group of pictures
    assert sent.packets == len(kept) < 270
    assert sent.pictures == sum(references[t] or t in wanted for t in kept) < 170


def test_where_packets_are_not_frames_everything_is_decoded(long, decoders, sent):
    # A field may have a packet of its own. To the reader that is one whose pts is of no frame in the index.
    path = long(250)
    index = decoders.index(path)
    numbers = range(0, 240, 30)
    expected = whole(path, index, numbers)
    sent.packets = sent.pictures = 0
    assert decode(path, index, numbers, np.delete(index.pts, np.arange(5, 240, 7))) == expected
    assert sent.pictures >= 211


def test_vp9_is_decoded_whole_up_to_the_last_frame_wanted(clips, decoders, sent):
    path = clips("vp9.webm")
    index = decoders.index(path)
    numbers = [3, 8, 20]
    expected = whole(path, index, numbers)
    sent.packets = sent.pictures = 0
    assert decode(path, index, numbers, index.pts) == expected
    assert 9 + 9 <= sent.pictures <= sent.packets <= 24
