"""The copy at a constant rate: which frame it shows when, in which size, and the map that says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvpipe.engine import run_local
from cvpipe.errors import InvalidRequest
from cvpipe.exports.normalised import write_normalised
from cvpipe.exports.parts import Parts
from cvpipe.frames import View
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings
from cvpipe.video import Decoders, Limits
from tests.video.clips import make_clip, x264
from tests.video.reading import read

MJPEG: dict[str, Any] = {"codec": "mjpeg", "pixel_format": "yuvj420p"}


class Stop(Exception):
    """Work ends here for now."""


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(limits=Limits(timeout_seconds=20)) as decoders:
        yield decoders


@pytest.fixture(scope="module")
def constant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames at 25 a second."""
    return make_clip(tmp_path_factory.mktemp("constant") / "constant.mp4", options=x264())


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames at 0, 100, 110, 120, 400 and 500 ms."""
    pts = [0, 100, 110, 120, 400, 500]
    path = tmp_path_factory.mktemp("uneven") / "uneven.mkv"
    return make_clip(path, options=x264(), frames=6, pts=pts, time_base=Fraction(1, 1000))


def normalise(decoders: Decoders, video: Path, out: Path, **how: Any) -> tuple[dict[str, int], list[int], list[float]]:
    """What it returns, the source of each frame of the copy as the map says, and the times of the copy's frames."""
    index = decoders.index(video)
    told = write_normalised(out, decoders, video, index, **how)
    mapped = [json.loads(line) for line in out.with_suffix(".map.ndjson").read_text().splitlines()]
    assert [line["frame"] for line in mapped] == list(range(len(mapped)))
    assert [line["time"] for line in mapped] == [round(n / how["fps"], 6) for n in range(len(mapped))]
    assert [line["source_time"] for line in mapped] == [index.times[line["source"]] for line in mapped]
    made = decoders.index(out)
    assert (made.facts.codec, made.facts.pixel_format, len(made)) == ("h264", "yuv420p", len(mapped))
    return told, [line["source"] for line in mapped], made.times.tolist()


def shows(decoders: Decoders, out: Path, video: Path, sources: list[int | None]) -> bool:
    """Does each frame of the copy look like the source frame said (None: black), and like no other?"""
    whole = {n: image for n, image in read(decoders, video, decoders.index(video)).items() if image is not None}
    whole[-1] = np.zeros_like(next(iter(whole.values())))
    nearest = []
    for image in read(decoders, out, decoders.index(out)).values():
        assert image is not None
        far = {n: np.abs(image.astype(int) - other).mean() for n, other in whole.items()}
        nearest.append(min(far, key=lambda n: far[n]))
    return nearest == [-1 if n is None else n for n in sources]


@pytest.mark.parametrize(
    ("fps", "expected", "told"),
    [
        pytest.param(25, list(range(60)), (60, 0, 0), id="its own"),
        pytest.param(50, [n // 2 for n in range(120)], (120, 60, 0), id="twice its own"),
        pytest.param(10, [n * 5 // 2 for n in range(24)], (24, 0, 36), id="less"),
        pytest.param(0.5, [0, 50], (2, 0, 58), id="a frame every other second"),
    ],
)
def test_a_constant_rate(
    decoders: Decoders, constant: Path, tmp_path: Path, fps: float, expected: list[int], told: tuple[int, ...]
) -> None:
    out = tmp_path / "normalised.mp4"
    said, sources, times = normalise(decoders, constant, out, fps=fps)
    assert sources == expected
    assert (said["frames"], said["repeated"], said["dropped"]) == told
    assert times == [pytest.approx(n / fps, abs=2e-5) for n in range(len(expected))]
    assert shows(decoders, out, constant, list(expected))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["normalised.map.ndjson", "normalised.mp4"]


def test_a_variable_rate_becomes_constant(decoders: Decoders, uneven: Path, tmp_path: Path) -> None:
    out = tmp_path / "normalised.mp4"
    _, sources, times = normalise(decoders, uneven, out, fps=20)
    assert sources[:11] == [0, 0, 1, 3, 3, 3, 3, 3, 4, 4, 5]
    assert set(sources[11:]) <= {5}
    assert times == [pytest.approx(n / 20, abs=2e-5) for n in range(len(sources))]
    assert shows(decoders, out, uneven, list(sources))


def test_a_part_of_a_video_begins_at_zero(decoders: Decoders, constant: Path, tmp_path: Path) -> None:
    out = tmp_path / "normalised.mp4"
    _, sources, times = normalise(decoders, constant, out, fps=25, numbers=range(30, 40))
    assert sources == list(range(30, 40))
    assert times == [pytest.approx(n / 25, abs=2e-5) for n in range(10)]
    assert shows(decoders, out, constant, list(sources))


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        pytest.param([4, 5], [0, 1, 2, 3, 3, 3, 6, 7], id="in the middle: the one before stays"),
        pytest.param([0, 1], [2, 2, 2, 3, 4, 5, 6, 7], id="at the start: the first whole one"),
    ],
)
@pytest.mark.parametrize("part", [None, 1, 5])
def test_frames_that_can_not_be_decoded(
    decoders: Decoders, tmp_path: Path, bad: list[int], expected: list[int | None], part: int | None
) -> None:
    path, out = make_clip(tmp_path / "damaged.avi", **MJPEG, frames=8), tmp_path / "normalised.mp4"
    sound = make_clip(tmp_path / "sound.avi", **MJPEG, frames=8)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        for number in bad:
            file.seek(places[number][0])
            file.write(b"\0" * places[number][1])

    def stop() -> None:
        raise Stop

    parts = None if part is None else Parts(tmp_path / "parts", part, on_part=stop)
    told: list[int] = []
    for _ in range(20):  # each part by a worker that knows nothing of those before
        try:
            said, sources, _ = normalise(decoders, path, out, fps=25, parts=parts, on_damaged=told.append)
            break
        except Stop:
            continue
    assert sources == list(range(8))
    assert shows(decoders, out, sound, expected)
    mapped = [json.loads(line) for line in out.with_suffix(".map.ndjson").read_text().splitlines()]
    assert [line["source"] for line in mapped if line.get("damaged")] == bad == told
    assert said["damaged"] == len(bad)
    assert not (tmp_path / "parts.damaged").exists()


def test_a_part_of_damaged_frames_alone_is_black(decoders: Decoders, tmp_path: Path) -> None:
    path, out = make_clip(tmp_path / "damaged.avi", **MJPEG, frames=8), tmp_path / "normalised.mp4"
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        for place, size in places[2:4]:
            file.seek(place)
            file.write(b"\0" * size)
    told: list[int] = []
    normalise(decoders, path, out, fps=25, numbers=range(2, 4), on_damaged=told.append)
    assert told == [2, 3]
    assert shows(decoders, out, path, [None, None])


@pytest.mark.parametrize(
    ("between", "fps", "expected", "dropped"),
    [
        # Frames begin at 0, 100, 110, 120, 400 and 500 ms.
        pytest.param((0.05, None), 10, [0, 3, 3, 3, 4], 3, id="the frame shown then began before"),
        pytest.param((0.105, 0.41), 10, [1, 3, 3, 4], 1, id="up to a time"),
        pytest.param((0.4, 0.5), 20, [4, 4], 0, id="where a frame begins"),
        pytest.param((0.13, 0.2), 20, [3, 3], 0, id="no frame begins in it"),
    ],
)
def test_the_clock_of_a_part_begins_at_the_time_asked_for(
    decoders: Decoders, uneven: Path, tmp_path: Path, between: tuple[float, float | None], fps: float,
    expected: list[int], dropped: int,
) -> None:  # fmt: skip
    said, sources, times = normalise(decoders, uneven, tmp_path / "normalised.mp4", fps=fps, between=between)
    assert sources[: len(expected)] == expected
    assert set(sources[len(expected) :]) <= {5}
    assert times == [pytest.approx(n / fps, abs=2e-5) for n in range(len(sources))]
    assert said["dropped"] == dropped or between[1] is None


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        pytest.param((96, 64), 48, (48, 32), id="smaller"),
        pytest.param((96, 64), 4000, (96, 64), id="never larger"),
        pytest.param((64, 96), 48, (32, 48), id="the longest side"),
        pytest.param((96, 64), 33, (32, 22), id="an odd one: one pixel less"),
    ],
)
def test_the_longest_side(
    decoders: Decoders, tmp_path: Path, size: tuple[int, int], max_side: int, expected: tuple[int, int]
) -> None:
    path, out = make_clip(tmp_path / "video.avi", **MJPEG, size=size, frames=3), tmp_path / "normalised.mp4"
    normalise(decoders, path, out, fps=25, max_side=max_side)
    facts = decoders.index(out).facts
    assert (facts.width, facts.height) == expected


def test_an_odd_size_gains_a_pixel(decoders: Decoders, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "odd.mkv", options=x264(), pixel_format="yuv444p", size=(95, 63), frames=3)
    normalise(decoders, path, tmp_path / "normalised.mp4", fps=25)
    facts = decoders.index(tmp_path / "normalised.mp4").facts
    assert (facts.width, facts.height) == (96, 64)


def test_what_steps_before_make_of_the_picture_is_shown(decoders: Decoders, constant: Path, tmp_path: Path) -> None:
    view = View.of(96, 64, format="rgb24").cropped(0, 0, 48, 32)
    normalise(decoders, constant, tmp_path / "normalised.mp4", fps=25, view=view, numbers=range(2))
    index = decoders.index(tmp_path / "normalised.mp4")
    made = read(decoders, tmp_path / "normalised.mp4", index)[0]
    source = read(decoders, constant, decoders.index(constant), [0])[0]
    assert made is not None
    assert source is not None
    assert made.shape == (32, 48, 3)
    assert np.abs(made.astype(int) - source[:32, :48]).mean() < 8


def test_parts_are_those_of_work_that_nothing_stopped(decoders: Decoders, constant: Path, tmp_path: Path) -> None:
    index = decoders.index(constant)
    done: list[tuple[int, int]] = []

    def stop() -> None:
        raise Stop

    write_normalised(
        tmp_path / "once.mp4", decoders, constant, index, fps=50, parts=Parts(tmp_path / "a", 33),
        on_progress=lambda *at: done.append(at),
    )  # fmt: skip
    assert done == [(n, 120) for n in range(1, 121)]
    stops = 0
    while True:
        try:
            write_normalised(
                tmp_path / "often.mp4", decoders, constant, index, fps=50, parts=Parts(tmp_path / "b", 33, on_part=stop)
            )
            break
        except Stop:
            stops += 1
    assert stops == 3
    assert (tmp_path / "often.mp4").read_bytes() == (tmp_path / "once.mp4").read_bytes()
    assert (tmp_path / "often.map.ndjson").read_bytes() == (tmp_path / "once.map.ndjson").read_bytes()


@pytest.mark.parametrize("fps", [0, -1, 241, float("nan")])
def test_rates_that_can_not_be_are_refused(decoders: Decoders, constant: Path, tmp_path: Path, fps: float) -> None:
    with pytest.raises(InvalidRequest, match="must be above 0 and at most 240"):
        write_normalised(tmp_path / "normalised.mp4", decoders, constant, decoders.index(constant), fps=fps)
    assert list(tmp_path.iterdir()) == []


def test_one_process_tells_how_far_it_is(constant: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    stages = [{"type": "decimate", "every": 20}, {"type": "normalise", "fps": 50}]
    job = run_local(
        constant,
        parse_pipeline({"name": "p", "stages": stages}),
        tmp_path,
        settings=Settings(data_dir=tmp_path, device="cpu"),
        on_progress=lambda *at: seen.append(at),
    )
    assert job["exports"] == ["frames.ndjson", "normalised.mp4", "normalised.map.ndjson"]
    assert seen == [(n, 3) for n in range(1, 4)] + [(n, 120) for n in range(1, 121)]
