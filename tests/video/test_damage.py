"""A frame is whole, or it is told that it is not: also where only what it is predicted from was lost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvpipe.frames import View
from cvpipe.video import Decoders, VideoIndex
from tests.video.conftest import CLIPS
from tests.video.corpus import make_video
from tests.video.reading import different, read


def packets_of(path: Path) -> list[tuple[int, int, int]]:
    """Place, size and pts of each packet, in the file's order."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size and p.pos is not None]


def blank(path: Path, place: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * size)


def of_another(path: Path, index: VideoIndex) -> VideoIndex:
    """The index of the sound file, for a damaged one of the same size."""
    return dataclasses.replace(index, facts=dataclasses.replace(index.facts, file_bytes=path.stat().st_size))


@dataclass(frozen=True)
class Told:
    """Numbers of frames: damaged; degraded; neither, but not as in the sound file; not the same in parts."""

    damaged: list[int]
    degraded: list[int]
    wrong: list[int]
    apart: list[int]


def damage(decoders: Decoders, sound: Path, folder: Path, packet: int) -> Told:
    """Blank a packet, and read the file whole and in parts."""
    index = decoders.index(sound)
    path = folder / f"damaged{sound.suffix}"
    path.write_bytes(sound.read_bytes())
    blank(path, *packets_of(sound)[packet][:2])
    index = of_another(path, index)
    whole, good = read(decoders, path, index), read(decoders, sound, of_another(sound, index))
    damaged = [number for number, image in whole.items() if image is None]
    degraded = degraded_of(decoders, path, index)
    wrong = [n for n in different(whole, good) if n not in damaged and n not in degraded]
    apart: list[int] = []
    keys = [*np.flatnonzero(index.keyframe).tolist(), len(index)]
    for numbers in (*(range(first, stop) for first, stop in pairwise(keys)), range(2, len(index), 7)):
        apart += different(read(decoders, path, index, numbers), whole)
        apart += set(degraded_of(decoders, path, index, numbers)) ^ (set(degraded) & set(numbers))
    return Told(damaged, degraded, wrong, apart)


def degraded_of(decoders: Decoders, path: Path, index: VideoIndex, numbers: Any = None) -> list[int]:
    view = View.of(index.facts.display_width, index.facts.display_height)
    with decoders.read(path, index, np.arange(len(index)) if numbers is None else numbers, [view]) as frames:
        found = []
        for frame in frames:
            found += [frame.number] if frame.is_degraded else []
            frame.release()
        return found


@pytest.mark.parametrize(
    ("name", "packet", "damaged", "degraded"),
    [
        # Packet 13 is the first reference after the keyframe of frame 12, and frames 12 to 23 are a group.
        pytest.param("closed.mp4", 13, [16], list(range(13, 24)), id="h264"),
        pytest.param("mpeg4.mp4", 13, None, None, id="mpeg4"),
        pytest.param("hevc.mp4", 14, None, [], id="hevc"),
        pytest.param("vp9.webm", 14, None, [], id="vp9"),
        pytest.param("av1.mp4", 14, None, [], id="av1"),
    ],
)
def test_what_is_predicted_from_a_lost_frame_is_told_up_to_the_next_keyframe(
    tmp_path: Path,
    decoders: Decoders,
    name: str,
    packet: int,
    damaged: list[int] | None,
    degraded: list[int] | None,
) -> None:
    told = damage(decoders, make_video(tmp_path, name), tmp_path, packet)
    assert told.damaged
    assert damaged is None or told.damaged == damaged
    assert degraded is None or told.degraded == [n for n in degraded if n not in told.damaged]
    assert degraded == [] or told.degraded
    assert (told.wrong, told.apart) == ([], [])


def test_a_lost_frame_that_no_other_is_predicted_from_is_damaged_alone(tmp_path: Path, decoders: Decoders) -> None:
    sound = make_video(tmp_path, "closed.mp4")
    index = decoders.index(sound)
    number = int(np.flatnonzero(~index.reference)[4])
    packet = [pts for _, _, pts in packets_of(sound)].index(int(index.pts[number]))
    assert damage(decoders, sound, tmp_path, packet) == Told([number], [], [], [])


def test_packets_that_are_missing_from_a_file_harm_what_is_predicted_from_them(
    tmp_path: Path, decoders: Decoders
) -> None:
    # In Matroska a packet begins with its block's head: blanked, the reader goes on at the next cluster.
    told = damage(decoders, make_video(tmp_path, "open.mkv"), tmp_path, 13)
    assert told.damaged
    assert len(told.damaged + told.degraded) > 5
    assert (told.wrong, told.apart) == ([], [])


def test_a_keyframe_ends_the_damage_where_no_index_says_so(tmp_path: Path, decoders: Decoders) -> None:
    # The frames of this file have no times of their own, so that all of it is read from the start.
    sound = make_video(tmp_path, "b-frames.avi")
    path = tmp_path / "damaged.avi"
    path.write_bytes(sound.read_bytes())
    place, size, _ = packets_of(sound)[13]
    data = bytearray(path.read_bytes())
    data[place + size // 2 : place + size] = b"\0" * (size - size // 2)
    path.write_bytes(data)
    index = decoders.index(path)
    assert index.facts.timing == "counted"
    whole = read(decoders, path, index)
    told = [number for number, image in whole.items() if image is None]
    assert told
    assert set(told) <= set(range(12, 24))


def test_every_picture_of_a_sound_video_is_whole(clips, decoders):  # type: ignore[no-untyped-def]
    for name in CLIPS:
        index = decoders.index(clips(name))
        assert all(image is not None for image in read(decoders, clips(name), index).values()), name
