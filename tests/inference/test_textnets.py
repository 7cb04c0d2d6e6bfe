"""PP-OCR's networks as models of one's own: the packaged files under cards, and what doesn't fit."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from cvpipe.errors import InvalidModel, InvalidPipeline
from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools, budget, textnets
from cvpipe.inference.ocr import TextReader
from cvpipe.inference.ppocr import DetectionOptions
from cvpipe.inference.shares import Share, working_for
from cvpipe.results import Objects
from cvpipe.stages.read_text import ReadText, ReadTextOptions
from tests.modelcards import model_bytes, write_card
from tests.stages.test_read_text import LINES, draw

MIDDLE: dict[str, Any] = {"color": "bgr", "mean": 127.5, "scale": 127.5}
DETECTION = {
    "task": "text",
    "family": "ppocr-detection",
    "labels": [],
    "input": {"width": 640, "height": 640, **MIDDLE},
}
RECOGNITION = {
    "task": "text",
    "family": "ppocr-recognition",
    "labels": [],
    "input": {"width": 320, "height": 48, **MIDDLE},
}
ANGLE = {"task": "text", "family": "ppocr-angle", "labels": [], "input": {"width": 192, "height": 48, **MIDDLE}}


def sha256_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def packaged(name: str) -> bytes:
    return (importlib.resources.files("rapidocr") / "models" / name).read_bytes()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged networks; `rec-plain` has its characters in a file, `det-fixed` takes pictures of one size."""
    folder = tmp_path_factory.mktemp("models")
    detector, recogniser = packaged("PP-OCRv6_det_small.onnx"), packaged("PP-OCRv6_rec_small.onnx")
    write_card(folder, detector, name="det", **DETECTION)
    write_card(folder, recogniser, name="rec", **RECOGNITION)
    write_card(folder, packaged("ch_ppocr_mobile_v2.0_cls_mobile.onnx"), name="cls", **ANGLE)
    plain = onnx.load_from_string(recogniser)
    (characters,) = [entry.value for entry in plain.metadata_props if entry.key == "character"]
    del plain.metadata_props[:]
    text = "\n".join([*characters.splitlines(), ""]).encode()
    files = {"dictionary": {"file": "keys.txt", "sha256": sha256_of(text)}}
    path = write_card(folder, plain.SerializeToString(), name="rec-plain", files=files, **RECOGNITION)
    (path.parent / "keys.txt").write_bytes(text)
    write_card(folder, plain.SerializeToString(), name="rec-mute", **RECOGNITION)
    few = {"dictionary": {"file": "keys.txt", "sha256": sha256_of(b"a\nb\n")}}
    path = write_card(folder, plain.SerializeToString(), name="rec-few", files=few, **RECOGNITION)
    (path.parent / "keys.txt").write_bytes(b"a\nb\n")
    fixed = onnx.load_from_string(detector)
    for dimension, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, 3, 480, 640), strict=True):
        dimension.dim_value = size
    card = DETECTION | {"input": {"width": 640, "height": 480, **MIDDLE}}
    write_card(folder, fixed.SerializeToString(), name="det-fixed", **card)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    write_card(folder, fixed.SerializeToString(), name="det-pairs", **card)
    two = model_bytes(
        [helper.make_node("Identity", ["x"], ["y"])], inputs={"x": ["n", 3, 48, "w"]}, outputs={"y": ["n", 3, 48, "w"]}
    )
    write_card(folder, two, name="no-text", **RECOGNITION)
    same = model_bytes(
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs={"x": ["n", 3, "h", "w"]},
        outputs={"y": ["n", 3, "h", "w"]},
    )
    small = {"width": 64, "height": 64, **MIDDLE}
    write_card(folder, same, name="det-not", **DETECTION | {"input": small})
    write_card(folder, same, name="cls-not", **ANGLE)
    return folder


@pytest.fixture(scope="module")
def tools(models: Path) -> OnnxTools:
    return OnnxTools(models, device="cpu")


def read(tools: OnnxTools, picture: np.ndarray, **options: Any) -> list[dict[str, Any]]:
    stage = ReadText(ReadTextOptions(name="text", **options))
    stage.open(tools)
    height, width = picture.shape[:2]
    (found,) = stage.process([Frame(0, 0, 0.0, View.of(width, height, format="bgr24"), picture)], [Objects.none()])
    assert found.added is not None
    return found.added.to_dicts()


def test_the_packaged_networks_under_cards_read_what_they_read_by_themselves(tools: OnnxTools) -> None:
    picture = draw(LINES)
    rows = read(tools, picture)
    assert [row["text"] for row in rows] == [text for text, _, _ in LINES]
    mine = read(tools, picture, detector="det", recogniser="rec")
    assert [row["text"] for row in mine] == [row["text"] for row in rows]
    for one, other in zip(mine, rows, strict=True):  # (x - 127.5) / 127.5 is x / 127.5 - 1 but for the last digit
        assert one["box"] == pytest.approx(other["box"], abs=0.5)
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)


def test_characters_may_be_in_a_file(tools: OnnxTools) -> None:
    picture = draw(LINES)
    assert read(tools, picture, recogniser="rec-plain") == read(tools, picture, recogniser="rec")


def test_lines_upside_down_are_turned_where_a_network_tells(tools: OnnxTools) -> None:
    picture = np.ascontiguousarray(np.rot90(draw(LINES), 2))
    wrong = [row["text"] for row in read(tools, picture, min_score=0.0)]
    assert set(wrong).isdisjoint(text for text, _, _ in LINES)
    rows = read(tools, picture, angle="cls")
    assert sorted(row["text"] for row in rows) == sorted(text for text, _, _ in LINES)
    upright = read(tools, draw(LINES), angle="cls")
    assert upright == read(tools, draw(LINES))


@pytest.mark.parametrize("size", [(854, 480), (400, 700)], ids=["wide", "high"])
def test_a_detector_of_a_fixed_size_finds_lines_in_place(size: tuple[int, int], tools: OnnxTools) -> None:
    lines = [("KX51 ABC", (40, 60), 20), ("CAM 07", (60, 430), 20)]
    picture = draw(lines, *size)
    free, fixed = read(tools, picture), read(tools, picture, detector="det-fixed")
    assert [row["text"] for row in fixed] == [row["text"] for row in free] == ["KX51 ABC", "CAM 07"]
    for one, other in zip(fixed, free, strict=True):
        assert one["box"] == pytest.approx(other["box"], abs=6)


def test_quads_follow_slanted_lines(tools: OnnxTools) -> None:
    matrix = cv2.getRotationMatrix2D((427, 240), 15, 1)
    slanted = cv2.warpAffine(draw([("Speed 42 km/h", (300, 250), 28)]), matrix, (854, 480))
    (row,) = read(tools, slanted)
    (x1, y1), (x2, y2), _, (x4, y4) = row["values"]["text"]["quad"]
    assert np.degrees(np.arctan2(y1 - y2, x2 - x1)) == pytest.approx(15, abs=3)
    assert np.degrees(np.arctan2(x4 - x1, y4 - y1)) == pytest.approx(15, abs=3)


def test_specks_do_not_take_the_place_of_lines(monkeypatch: pytest.MonkeyPatch, tools: OnnxTools) -> None:
    detector = tools.ocr(detector="det")._detector
    probability = np.zeros((480, 640), np.float32)
    probability[200:476:4, 4:636:8] = 1  # too small to be lines, and below them, where contours begin
    probability[50:70, 100:300] = 1
    probability[100:120, 100:300] = 1
    monkeypatch.setattr(detector, "_options", DetectionOptions(max_lines=2, min_side=6))
    assert len(detector._quads(probability)) == 0, "there are too many of them"
    probability[212:] = 0  # 237 are left
    assert sorted(quad[:, 1].mean().round() for quad in detector._quads(probability)) == [60, 110]
    monkeypatch.setattr(detector, "_options", DetectionOptions(max_lines=1, min_side=6))
    assert len(detector._quads(probability)) == 1


def test_a_job_records_the_cards_it_read_with(models: Path) -> None:
    tools = OnnxTools(models, device="cpu")
    stage = ReadText(ReadTextOptions(name="text", detector="det", recogniser="rec-plain"))
    assert stage.models() == ("det", "rec-plain")
    stage.open(tools)
    used = tools.used_models()
    assert list(used) == ["det@1", "rec-plain@1"]
    assert used["det@1"] == sha256_of(packaged("PP-OCRv6_det_small.onnx"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recogniser": "rec-mute"}, "model rec-mute@1: the recogniser does not carry its characters"),
        ({"recogniser": "rec-few"}, "tells 18710 characters apart, its dictionary has 2"),
    ],
    ids=["no characters", "too few"],
)
def test_a_card_that_does_not_fit_its_network_is_told_why(
    options: dict[str, Any], message: str, tools: OnnxTools
) -> None:
    with pytest.raises(InvalidModel, match=message):
        ReadText(ReadTextOptions(name="text", **options)).open(tools)


def test_a_network_for_something_else_is_refused_when_it_is_asked(tools: OnnxTools, models: Path) -> None:
    with pytest.raises(
        InvalidPipeline, match=r"det@1 is for text \(ppocr-detection\); wanted one of the family ppocr-r"
    ):
        ReadText(ReadTextOptions(name="text", recogniser="det")).open(tools)
    with pytest.raises(InvalidModel, match="does not carry its characters"):
        ReadText(ReadTextOptions(name="text", recogniser="no-text")).open(tools)


def test_a_detector_of_a_fixed_batch_is_shown_as_many(tools: OnnxTools) -> None:
    picture = draw(LINES, 640, 480)
    reader = tools.ocr(detector="det-pairs")
    assert reader.batch == 2
    three = reader.read([picture, draw([], 640, 480), picture], max_side=640, min_score=0.5)
    texts = [text for text, _, _ in LINES]
    assert [[line.text for line in lines] for lines in three] == [texts, [], texts]
    (single,) = tools.ocr(detector="det-fixed").read([picture], max_side=640)
    for lines in (three[0], three[2]):
        assert [line.box for line in lines] == [pytest.approx(line.box, abs=0.5) for line in single]


def test_what_text_networks_do_is_counted_for_the_job(models: Path) -> None:
    tools = OnnxTools(models, device="cpu")
    stage = ReadText(ReadTextOptions(name="text", recogniser="rec", angle="cls"))
    stage.open(tools)
    assert tools.meters.models() == {}, "trials are nobody's work"
    view = View.of(854, 480, format="bgr24")
    frames = [Frame(n, n, n / 25, view, picture) for n, picture in enumerate([draw(LINES)] * 2)]
    with working_for(Share("mine")):
        stage.process(frames, [Objects.none()] * 2)
    used = tools.meters.take("mine")
    assert {model: use.pictures for model, use in used.items()} == {"rapidocr:detector": 2, "cls@1": 8, "rec@1": 8}
    assert all(use.fill == 1 and use.device_seconds > 0 for use in used.values())
    assert set(tools.state()["models"]) == set(used)


def test_on_a_gpu_frames_are_searched_together_and_lines_of_all_read_together(
    tools: OnnxTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [draw(LINES), draw([]), draw(LINES[:2])]
    expected = [tools.ocr(angle="cls").read([picture], max_side=640)[0] for picture in pictures]
    shapes: list[tuple[int, ...]] = []
    run_session = textnets.run_session
    monkeypatch.setattr(textnets, "run_session", lambda s, feed: shapes.append(feed["x"].shape) or run_session(s, feed))
    monkeypatch.setattr(textnets, "is_gpu", lambda _: True)
    gpu = TextReader(
        cv2,
        detector=textnets.LineDetector(cv2, device="cpu"),
        recogniser=textnets.LineReader(cv2, device="cpu"),
        angle=textnets.LineTurner(cv2, tools.card("cls"), device="cpu"),
    )
    assert gpu.batch == 4
    shapes.clear()  # of the trials
    found = gpu.read(pictures, max_side=640)
    assert [[line.text for line in lines] for lines in found] == [[line.text for line in lines] for lines in expected]
    for lines, alone in zip(found, expected, strict=True):
        assert [line.box for line in lines] == [pytest.approx(line.box, abs=0.5) for line in alone]
        assert [line.score for line in lines] == pytest.approx([line.score for line in alone], abs=1e-3)
    assert shapes[:2] == [(4, 3, 352, 640), (8, 3, 48, 192)]
    assert {shape[:3] for shape in shapes[2:]} == {(8, 3, 48)}
    assert len(shapes[2:]) == len(set(shapes[2:])), "lines of all frames share calls"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "detector",
            r"model det-not@1: a text detector's output is \(1, height, width\) for a picture, got \(3, 64, 64",
        ),
        ("angle", r"model cls-not@1: an angle network's output is \(2,\) for a line, .* got \(3, 48, 192\)"),
    ],
)
def test_a_network_that_answers_otherwise_is_refused_before_the_job(
    option: str, message: str, tools: OnnxTools
) -> None:
    with pytest.raises(InvalidModel, match=message):
        ReadText(ReadTextOptions(name="text", **{option: {"detector": "det-not", "angle": "cls-not"}[option]})).open(
            tools
        )


def test_text_networks_are_in_the_budget_and_read_the_same_after_they_made_room(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the process really takes depends on what earlier tests have left: here each network takes as much.
    size, taken = 40 * 2**20, count()
    monkeypatch.setattr(budget, "taken_bytes", lambda _: size * next(taken))
    tools = OnnxTools(models, device="cpu")
    picture, stage = draw(LINES), ReadText(ReadTextOptions(name="text", recogniser="rec"))
    rows = read(tools, picture, recogniser="rec")
    loaded = tools.state()["loaded"]
    assert set(loaded) == {"rapidocr:detector", "rec@1"}
    assert set(loaded.values()) == {size}
    again = OnnxTools(models, device="cpu", loaded_bytes=2 * size)
    assert read(again, picture, recogniser="rec") == rows
    with again.holding(stage.held()):
        assert set(again.state()["loaded"]) == {"rapidocr:detector", "rec@1"}
        again.ocr(recogniser="rec-plain")  # there is no room, but what is held does not go
        assert set(again.state()["loaded"]) == {"rapidocr:detector", "rec@1", "rec-plain@1"}
    with again.holding(["rec-plain"]):
        assert not set(again.state()["loaded"]) >= {"rapidocr:detector", "rec@1"}
    with again.holding(stage.held()):
        assert set(again.state()["loaded"]) >= {"rapidocr:detector", "rec@1"}
        assert read(again, picture, recogniser="rec") == rows


def test_what_text_networks_take_is_remembered(models: Path, tmp_path: Path) -> None:
    tools = OnnxTools(models, device="cpu", data_path=tmp_path)
    tools.ocr(detector="det")
    known = {
        name.split()[0]: entry["bytes"] for name, entry in json.loads((tmp_path / "engine.json").read_text()).items()
    }
    loaded = tools.state()["loaded"]
    assert known == {
        sha256_of(packaged("PP-OCRv6_det_small.onnx")): loaded["det@1"],
        "rapidocr:recogniser": loaded["rapidocr:recogniser"],
    }
    assert loaded["det@1"] >= len(packaged("PP-OCRv6_det_small.onnx")) // 2
    assert loaded["rapidocr:recogniser"] >= len(packaged("PP-OCRv6_rec_small.onnx")) // 2
