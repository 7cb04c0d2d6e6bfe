"""Model cards: where they lie, what is in them, how mistakes are told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvpipe.errors import InvalidModel, NotFound
from cvpipe.inference import ModelCard, cards, find_card, load_cards
from cvpipe.inference.labels import COCO, VOC
from tests.modelcards import CARDS, make_card, write_card, write_yolox_card


@pytest.fixture(autouse=True)
def _nothing_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the model that comes with cvpipe: its tests are in tests/training."""
    monkeypatch.setattr(cards, "SHIPPED", tmp_path / ".shipped")


def put(folder: Path, **changes: Any) -> Path:
    """A card without its network in `folder`."""
    folder.mkdir(parents=True)
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(make_card(**changes)), encoding="utf-8")
    return path


def test_the_example_card_describes_the_real_file(assets: Path, tmp_path: Path) -> None:
    write_yolox_card(tmp_path, assets)
    card = find_card(tmp_path, "yolox-nano")
    assert card.ref == "yolox-nano@1"
    assert len(card.read()) == 3_660_092
    assert card.labels == COCO
    assert (card.input.color, card.input.anchor, card.input.pad) == ("bgr", "top-left", 114)


@pytest.mark.parametrize("path", sorted(CARDS.glob("*/model.yaml")), ids=lambda path: path.parent.name)
def test_every_example_card_is_valid_and_lies_in_a_folder_of_its_name(path: Path) -> None:
    assert ModelCard.load(path).name == path.parent.name


def test_cards_lie_in_a_folder_of_their_name_or_of_their_version(tmp_path: Path) -> None:
    put(tmp_path / "a", name="a")
    put(tmp_path / "b" / "2", name="b", version="2")
    put(tmp_path / "b" / "10", name="b", version=10)
    assert list(load_cards(tmp_path)) == ["a@1", "b@2", "b@10"]


def test_a_folder_that_is_not_there_holds_no_cards(tmp_path: Path) -> None:
    assert load_cards(tmp_path / "none") == {}


def test_a_wrong_card_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "good", name="good")
    put(tmp_path / "bad", name="bad", family=7)
    with caplog.at_level(logging.WARNING):
        assert list(load_cards(tmp_path)) == ["good@1"]
    assert "bad/model.yaml" in caplog.text
    assert "family" in caplog.text


def test_a_name_alone_means_the_newest_version(tmp_path: Path) -> None:
    for version in ("1.9", "1.10", "1.2"):
        put(tmp_path / "m" / version, name="m", version=version)
    assert find_card(tmp_path, "m").version == "1.10"
    assert find_card(tmp_path, "m@1.2").version == "1.2"


def test_an_unknown_model_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    put(tmp_path / "yolox-nano", name="yolox-nano")
    put(tmp_path / "faces", name="faces")
    with pytest.raises(NotFound, match=r"there is no model 'yolo-nano'; did you mean 'yolox-nano'"):
        find_card(tmp_path, "yolo-nano")
    with pytest.raises(NotFound, match="there is faces, yolox-nano"):
        find_card(tmp_path, "zzzzzzzz")
    with pytest.raises(NotFound, match="no version '3'; there is 1"):
        find_card(tmp_path, "faces@3")


def test_a_folder_without_models_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        find_card(tmp_path, "yolox-nano")
    assert caught.value.message == (
        "there is no model 'yolox-nano', and no other in CVPIPE_MODELS_DIR; `cvpipe models add` adds one"
    )


@pytest.mark.parametrize("ref", ["../secrets", "*", "", "a/b", "@1", "A", "..", "[a]"])
def test_a_reference_can_not_leave_the_folder(ref: str, tmp_path: Path) -> None:
    put(tmp_path / "secrets", name="secrets")
    models = tmp_path / "models"
    put(models / "a", name="a")
    with pytest.raises(NotFound):
        find_card(models, ref)


def test_a_wrong_card_of_another_name_is_no_hindrance(tmp_path: Path) -> None:
    put(tmp_path / "good", name="good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.yaml").write_text("[", encoding="utf-8")
    assert find_card(tmp_path, "good").name == "good"
    with pytest.raises(InvalidModel, match="can't read the model card"):
        find_card(tmp_path, "bad")


def test_a_wrong_card_of_another_version_is_no_hindrance_to_who_names_one(tmp_path: Path) -> None:
    """A job that began with version 1 keeps it, whatever is written beside."""
    put(tmp_path / "net" / "1", name="net", version="1")
    (tmp_path / "net" / "2").mkdir()
    (tmp_path / "net" / "2" / "model.yaml").write_text("[", encoding="utf-8")
    assert find_card(tmp_path, "net@1").version == "1"
    for ref in ("net", "net@2"):
        with pytest.raises(InvalidModel, match="can't read the model card"):
            find_card(tmp_path, ref)


def test_a_card_in_a_folder_of_another_name_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "b", name="a")
    with pytest.raises(InvalidModel, match="calls itself a@1; its folder must be a or a/1"):
        find_card(tmp_path, "b")


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"lables": "coco", "labels": []}, "lables", "there is no such key; did you mean 'labels'"),
        ({"famly": "yolox"}, "famly", "there is no such key; did you mean 'family'"),
        ({"input": {"width": 64, "height": 64, "colour": "bgr"}}, "input.colour", "did you mean 'color'"),
        ({"input": {"width": 64}}, "input.height", "Field required"),
        ({"input": {"width": 64, "height": 64, "scale": 0}}, "input.scale.0", "greater than 0"),
        (
            {"labels": "cocoo"},
            "labels",
            "wanted a list or one of atr, coco, coco91, lip, pascal-part, voc, got 'cocoo'",
        ),
        ({"labels": []}, "labels", "a model for detection needs the names of its classes"),
        ({"sha256": "abc"}, "sha256", "match pattern"),
        ({"file": "../../etc/passwd"}, "file", "match pattern"),
        ({"file": "weights.bin"}, "file", "match pattern"),
        ({"version": 1.1}, "version", 'put quotes around it: version: "1.10"'),
        ({"score_threshold": 1.5}, "score_threshold", "less than or equal to 1"),
        ({"task": "haiku"}, "task", "'detection'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_with_a_card_is_told_with_its_place(
    changes: dict[str, Any], field: str, message: str, tmp_path: Path
) -> None:
    path = put(tmp_path / "tiny", **changes)
    with pytest.raises(InvalidModel) as caught:
        ModelCard.load(path)
    assert caught.value.field == field
    assert message in caught.value.message
    assert str(path) in caught.value.message


def test_one_number_stands_for_three_channels(tmp_path: Path) -> None:
    card = ModelCard.load(put(tmp_path / "tiny", input={"width": 8, "height": 8, "mean": 127.5, "scale": [1, 2, 3]}))
    assert card.input.mean == (127.5, 127.5, 127.5)
    assert card.input.scale == (1, 2, 3)


def test_label_shorthands_have_the_classes_of_their_data_sets() -> None:
    assert (len(COCO), COCO[0], COCO[2], COCO[79]) == (80, "person", "car", "toothbrush")
    assert (len(VOC), VOC[0], VOC[15]) == (21, "background", "person")
    assert len(set(COCO)) == 80
    assert len(set(VOC)) == 21


def test_a_file_that_is_not_the_cards_is_refused(tmp_path: Path) -> None:
    path = write_card(tmp_path, b"one")
    path.with_name("tiny.onnx").write_bytes(b"two")
    with pytest.raises(
        InvalidModel, match=r"tiny\.onnx is not the file that its card describes: the card says sha256"
    ) as e:
        find_card(tmp_path, "tiny").read()
    assert e.value.field == "sha256"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    put(tmp_path / "tiny")
    with pytest.raises(InvalidModel, match=r"tiny@1: can't read .*tiny.onnx: No such file"):
        find_card(tmp_path, "tiny").read()


def test_cards_families_and_stages_need_nothing_heavy(root: Path) -> None:
    code = (
        "import sys, cvpipe.inference, cvpipe.models, cvpipe.stages\n"
        "cvpipe.models.discover(); cvpipe.stages.discover()\n"
        "print(*sorted({'av', 'cv2', 'onnx', 'onnxruntime', 'rapidocr', 'scipy', 'PIL'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], "; there is none"),
        (["apple", "pear"], "; there is apple, pear"),
        ([f"n{n}" for n in range(23)], f"; there is {', '.join(f'n{n}' for n in range(20))} and 3 more"),
        (["yolox-nano", *(f"n{n}" for n in range(23))], "; did you mean 'yolox-nano'?"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_or_with_what_there_is(known: list[str], expected: str) -> None:
    assert cards.nearest("yolox-nono", known) == expected
