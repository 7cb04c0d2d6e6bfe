"""`read_text`: lines drawn on a picture come back as text, in place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools, textnets
from cvpipe.inference.batcher import Batcher
from cvpipe.inference.ocr import TextReader
from cvpipe.results import Objects
from cvpipe.stages.read_text import ReadText, ReadTextOptions

SOURCE = View.of(854, 480)
LINES = [
    ("KX51 ABC", (40, 60), 20),
    ("00:01:23", (500, 62), 16),
    ("Speed 42 km/h", (200, 240), 28),
    ("CAM 07", (60, 430), 16),
]


def draw(lines: list[tuple[str, tuple[int, int], int]], width: int = 854, height: int = 480) -> np.ndarray:
    """White text on a dark, uneven ground; each line: text, lower left corner, height of capitals in pixels."""
    ground = np.random.default_rng(0).integers(40, 110, (12, 20, 3), np.uint8)
    picture = cv2.resize(ground, (width, height), interpolation=cv2.INTER_CUBIC)
    for text, corner, size in lines:
        write(picture, text, corner, size)
    return picture


def write(picture: np.ndarray, text: str, corner: tuple[int, int], size: int) -> None:
    """White letters; corner: lower left; size: height of capitals in pixels."""
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, size, 2)
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2, cv2.LINE_AA)


@pytest.fixture(scope="module")
def tools() -> OnnxTools:
    return OnnxTools(Path("none"), device="cpu")


@pytest.fixture(scope="module")
def reader(tools: OnnxTools) -> TextReader:
    return tools.ocr()


def make_frame(picture: np.ndarray, view: View | None = None) -> Frame:
    height, width = picture.shape[:2]
    return Frame(0, 0, 0.0, view or View.of(width, height), picture)


def read(tools: OnnxTools, frame: Frame, found: Objects | None = None, **options: Any) -> Objects:
    """The frame's objects after `read_text`."""
    stage = ReadText(ReadTextOptions(name="text", **options))
    stage.open(tools)
    (result,) = stage.process([frame], [found or Objects.none()])
    objects = result.objects if result.objects is not None else result.added
    assert objects is not None
    return objects


def test_lines_are_read_in_order_and_in_place(tools: OnnxTools) -> None:
    rows = read(tools, make_frame(draw(LINES))).to_dicts()
    assert [row["text"] for row in rows] == [text for text, _, _ in LINES]
    for row, (text, (x, y), size) in zip(rows, LINES, strict=True):
        (width, _), _ = cv2.getTextSize(
            text, cv2.FONT_HERSHEY_SIMPLEX, cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, size, 2), 2
        )
        assert row["box"] == pytest.approx([x, y - size, x + width, y], abs=10)
        assert (row["stage"], row["label"], row["class_id"]) == ("text", "text", None)
        assert row["score"] > 0.85
        quad = np.array(row["values"]["text"]["quad"])
        assert quad.shape == (4, 2)
        assert [*quad.min(axis=0), *quad.max(axis=0)] == pytest.approx(row["box"], abs=0.011)


def test_boxes_are_in_source_pixels(tools: OnnxTools) -> None:
    view = View.of(1708, 960).resized(854, 600, mode="letterbox")
    picture = np.full(view.shape, 114, np.uint8)
    picture[60:540] = draw(LINES)
    rows = read(tools, make_frame(picture, view)).to_dicts()
    assert [row["text"] for row in rows] == [text for text, _, _ in LINES]
    x1, y1, _, y2 = rows[2]["box"]
    assert (x1, y1, y2) == pytest.approx((400, 424, 480), abs=25)


def test_a_picture_without_text_has_no_lines(tools: OnnxTools) -> None:
    assert len(read(tools, make_frame(draw([])))) == 0


@pytest.mark.parametrize(("min_score", "n"), [(0.0, 4), (1.0, 0)])
def test_uncertain_lines_are_left_out(min_score: float, n: int, tools: OnnxTools) -> None:
    assert len(read(tools, make_frame(draw(LINES)), min_score=min_score)) == n


def test_small_text_needs_a_larger_picture_to_be_found(assets: Path, tools: OnnxTools) -> None:
    with av.open(str(assets / "videos" / "car-detection.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24")
    picture = cv2.resize(picture, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    write(picture, "KX51 ABC", (900, 500), 16)
    assert len(read(tools, make_frame(picture), max_side=192)) == 0
    assert [row["text"] for row in read(tools, make_frame(picture), max_side=960).to_dicts()] == ["KX51 ABC"]


def objects_at(*boxes: tuple[float, ...], stage: str = "plates") -> Objects:
    n = len(boxes)
    return Objects.make(stage=stage, box=boxes, score=np.full(n, 0.9), label=["thing"] * n)


def test_objects_get_the_text_that_is_on_them(tools: OnnxTools) -> None:
    plates = objects_at((30, 35, 220, 75), (400, 300, 500, 400), (190, 205, 480, 255))
    others = objects_at((490, 40, 650, 70), stage="cars")
    objects = read(tools, make_frame(draw(LINES)), Objects.concat((plates, others)), of="plates")
    assert objects.text == ("KX51 ABC", None, "Speed 42 km/h", None)
    assert replace(objects, text=(None,) * 4) == Objects.concat((plates, others))


def test_lines_on_one_object_are_joined_in_reading_order(tools: OnnxTools) -> None:
    lines = [("HOME", (320, 200), 20), ("AWAY", (450, 200), 20), ("12:34", (380, 250), 20)]
    objects = read(tools, make_frame(draw(lines)), objects_at((300, 160, 560, 270)), of="plates")
    assert objects.text == ("HOME AWAY 12:34",)


@pytest.mark.parametrize(
    "box", [(0, 0, 0.5, 0.5), (853.5, 479.5, 854, 480), (100, 100, 100, 300)], ids=["corner", "far corner", "line"]
)
def test_an_object_too_small_to_read_keeps_no_text(box: tuple[float, ...], tools: OnnxTools) -> None:
    assert read(tools, make_frame(draw([])), objects_at(box), of="plates").text == (None,)


def test_frames_without_objects_stay_empty(tools: OnnxTools) -> None:
    assert len(read(tools, make_frame(draw(LINES)), of="plates")) == 0


def test_the_stage_read_from_is_a_reference() -> None:
    assert ReadText(ReadTextOptions(name="t", of="plates")).references() == ("plates",)
    assert ReadText(ReadTextOptions(name="t")).references() == ()


def cut_lines(reader: TextReader) -> list[np.ndarray]:
    picture = draw(LINES)
    (quads,) = reader.find([picture], max_side=640)
    return [reader.cut(picture, quad) for quad in quads]


def test_a_line_is_read_the_same_in_any_company(reader: TextReader) -> None:
    lines = cut_lines(reader)
    together = reader.recognise(lines)
    assert together == [reader.recognise([line])[0] for line in lines]
    assert together[::-1] == reader.recognise(lines[::-1])
    assert reader.recognise([]) == []


def test_on_a_gpu_lines_of_like_width_share_a_call_whoever_asks(
    reader: TextReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = cut_lines(reader)
    single = [text for text, _ in reader.recognise(lines)]
    shapes: list[tuple[int, ...]] = []
    run_session = textnets.run_session
    monkeypatch.setattr(textnets, "run_session", lambda s, feed: shapes.append(feed["x"].shape) or run_session(s, feed))
    monkeypatch.setattr(textnets, "is_gpu", lambda _: True)
    askers: set[int] = set()

    def both_wait(queue: Batcher[Any], _: float) -> bool:
        askers.update(item.asker for item in queue._queue)
        return len(askers) == 2

    monkeypatch.setattr(Batcher, "_everybody_waits", both_wait)
    gpu = textnets.LineReader(cv2, device="cpu", wait_seconds=60)
    shapes.clear()  # of its trial

    def ask() -> list[str]:
        return [text for text, _ in gpu.read(lines * 2)]

    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(ask) for _ in range(2)]
        assert [one.result(60) for one in asked] == [single * 2] * 2
    assert {shape[0] for shape in shapes} == {8}
    assert len(shapes) == len(set(shapes))
    assert all(shape[3] % 32 == 0 for shape in shapes)


def test_turned_text_is_cut_out_upright(reader: TextReader) -> None:
    turned = np.ascontiguousarray(np.rot90(draw([("KX51 ABC", (300, 250), 28)]), k=-1))
    (lines,) = reader.read([turned], max_side=640)
    assert [line.text for line in lines] == ["KX51 ABC"]


def test_slanted_text_is_cut_out_straight(reader: TextReader) -> None:
    matrix = cv2.getRotationMatrix2D((427, 240), 15, 1)
    slanted = cv2.warpAffine(draw([("Speed 42 km/h", (300, 250), 28)]), matrix, (854, 480))
    ((line,),) = reader.read([slanted], max_side=640)
    assert line.text == "Speed 42 km/h"
    rise = line.quad[1] - line.quad[0]
    assert np.degrees(np.arctan2(-rise[1], rise[0])) == pytest.approx(15, abs=3)


def test_a_film_title_is_read(assets: Path, tools: OnnxTools) -> None:
    with av.open(str(assets / "videos" / "sintel-10s.mp4")) as container:
        picture = next(frame for i, frame in enumerate(container.decode(video=0)) if i == 120).to_ndarray(
            format="bgr24"
        )
    rows = read(tools, make_frame(picture)).to_dicts()
    assert [row["text"] for row in rows] == ["THE BLENDER FOUNDATION", "presents"]
