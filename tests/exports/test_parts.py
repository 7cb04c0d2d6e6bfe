"""Videos made in parts: what is on disk at each moment, and that nobody can tell afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvpipe.errors import Conflict
from cvpipe.exports.parts import Parts, last_picture, open_sink
from cvpipe.frames import View
from cvpipe.video import Decoders, Limits, Writer
from cvpipe.video.join import join
from tests.video.clips import make_clip, picture
from tests.video.reading import read

TIMES = [n / 25 + (n * n * 7 % 31) / 2000 for n in range(50)]
SETTINGS: dict[str, Any] = {"width": 96, "height": 64, "fps": 25, "format": "rgb24", "quality": 14}


class Stop(Exception):
    """Work ends here for now."""


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(limits=Limits(timeout_seconds=20)) as decoders:
        yield decoders


def stop() -> None:
    raise Stop


def make(path: Path, parts: Parts | None, *, until: int = len(TIMES)) -> int:
    """Write pictures up to one (and stop there), from where the sink is; returns how many were written."""
    with open_sink(path, total=len(TIMES), parts=parts, **SETTINGS) as sink:
        first = sink.frames
        for n in range(first, until):
            sink.write(picture(n), TIMES[n])
        if until < len(TIMES):
            raise Stop
    return len(TIMES) - first


def packets(path: Path) -> list[tuple[int | None, int | None, bool, bytes]]:
    with av.open(str(path)) as container:
        return [(p.pts, p.dts, p.is_keyframe, bytes(p)) for p in container.demux(video=0) if p.size]


def found(decoders: Decoders, path: Path) -> tuple[list[float], list[np.ndarray]]:
    index = decoders.index(path)
    assert not index.facts.warnings
    return index.times.tolist(), [image for image in read(decoders, path, index).values() if image is not None]


@pytest.mark.parametrize("frames", [pytest.param(n, id=f"{n} a part") for n in (7, 25, 49, 600)])
def test_parts_hold_the_pictures_of_one_go_at_the_same_times(decoders: Decoders, tmp_path: Path, frames: int) -> None:
    make(tmp_path / "whole.mp4", None)
    assert make(tmp_path / "joined.mp4", Parts(tmp_path / "parts", frames)) == 50
    (times, images), (joined_times, joined) = (
        found(decoders, tmp_path / f"{name}.mp4") for name in ("whole", "joined")
    )
    assert joined_times == times
    assert len(joined) == len(images) == 50
    for n, image in enumerate(joined):  # a keyframe more or less changes what is lost in encoding, not what is seen
        assert np.abs(image.astype(int) - images[n]).mean() < 6
        assert np.abs(image[:, :, ::-1].astype(int) - picture(n)).mean() < 12
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["joined.mp4", "whole.mp4"]


def test_packets_are_to_be_decoded_in_order_and_in_time(tmp_path: Path) -> None:
    make(tmp_path / "joined.mp4", Parts(tmp_path / "parts", 7))
    read_back = packets(tmp_path / "joined.mp4")
    dts = [dts for _, dts, _, _ in read_back]
    assert dts == sorted(set(dts))
    assert all(pts is not None and dts is not None and dts <= pts for pts, dts, _, _ in read_back)
    assert [is_key for _, _, is_key, _ in read_back].count(True) == 8
    data = (tmp_path / "joined.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize("stops", [[3], [20], [21], [20, 20, 41], [49]], ids=str)
def test_what_was_stopped_goes_on_behind_the_last_whole_part(tmp_path: Path, stops: list[int]) -> None:
    make(tmp_path / "expected.mp4", Parts(tmp_path / "other", 10))
    parts = Parts(tmp_path / "parts", 10)
    for until in stops:
        with pytest.raises(Stop):
            make(tmp_path / "made.mp4", parts, until=until)
        assert not (tmp_path / "made.mp4").exists()
        assert len(list((tmp_path / "parts").glob("part-*.mp4"))) == until // 10
        assert list((tmp_path / "parts").glob(".*")) == []
    assert make(tmp_path / "made.mp4", parts) == 50 - stops[-1] // 10 * 10
    assert packets(tmp_path / "made.mp4") == packets(tmp_path / "expected.mp4")
    assert not (tmp_path / "parts").exists()


def test_what_a_crash_has_left_of_a_part_does_not_count(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts", 10)
    with pytest.raises(Stop):
        make(tmp_path / "made.mp4", parts, until=35)
    (tmp_path / "parts" / ".part-000003-108000.mp4.0a0a0a0a.part").write_bytes(b"half")
    next((tmp_path / "parts").glob("part-000001-*")).unlink()  # what follows a hole does not count either
    assert make(tmp_path / "made.mp4", parts) == 40
    assert len(packets(tmp_path / "made.mp4")) == 50
    assert not (tmp_path / "parts").exists()


def test_all_parts_are_there_and_only_joining_is_left(tmp_path: Path) -> None:
    calls = []

    def alive() -> None:
        calls.append(1)
        if len(calls) == 60:  # in the middle of joining: 50 pictures were written
            raise Stop

    with pytest.raises(Stop):
        make(tmp_path / "made.mp4", Parts(tmp_path / "parts", 10, alive=alive))
    assert [entry.name for entry in tmp_path.iterdir()] == ["parts"]
    assert make(tmp_path / "made.mp4", Parts(tmp_path / "parts", 10)) == 0
    assert len(packets(tmp_path / "made.mp4")) == 50


def test_work_may_end_after_each_part_but_not_after_the_last(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts", 20, on_part=stop)
    for whole in (1, 2):
        with pytest.raises(Stop):
            make(tmp_path / "made.mp4", parts)
        assert len(list((tmp_path / "parts").iterdir())) == whole
    assert make(tmp_path / "made.mp4", parts) == 10


def test_parts_of_other_settings_are_not_joined(tmp_path: Path) -> None:
    for name, width in (("a.mp4", 96), ("b.mp4", 80)):
        with Writer(tmp_path / name, width=width, height=64) as writer:
            writer.write(picture(0, width), 0)
    with pytest.raises(Conflict, match=r"b\.mp4 was made with other settings"):
        join(tmp_path / "joined.mp4", [(tmp_path / "a.mp4", 0), (tmp_path / "b.mp4", 3600)])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_the_shape_of_pixels_is_kept(decoders: Decoders, tmp_path: Path) -> None:
    with open_sink(
        tmp_path / "made.mp4", total=2, parts=Parts(tmp_path / "parts", 1), **SETTINGS, pixel_aspect=Fraction(4, 3)
    ) as sink:
        for n in range(2):
            sink.write(picture(n), n / 25)
    assert decoders.index(tmp_path / "made.mp4").facts.sample_aspect_ratio == "4/3"


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        pytest.param([], 69, id="the last"),
        pytest.param(range(67, 70), 66, id="some before"),
        pytest.param(range(4, 70), 3, id="many before"),
        pytest.param(range(70), None, id="none"),
    ],
)
def test_the_last_picture_that_can_be_decoded(
    decoders: Decoders, tmp_path: Path, bad: range, expected: int | None
) -> None:
    path = make_clip(tmp_path / "damaged.avi", codec="mjpeg", pixel_format="yuvj420p", frames=70)
    index = decoders.index(path)
    view = View.of(96, 64)
    whole = read(decoders, path, index, view=view)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        for number in bad:
            file.seek(places[number][0])
            file.write(b"\0" * places[number][1])
    image = last_picture(decoders, path, index, view, np.arange(70))
    assert (image is None) == (expected is None)
    assert expected is None or np.array_equal(image, whole[expected])
