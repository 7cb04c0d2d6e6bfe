"""int8 versions: made from frames of a video, kept only where they find the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from cvpipe.errors import InvalidRequest, ModelLosesTooMuch
from cvpipe.inference import OnnxTools, find_card, load_cards
from cvpipe.settings import Settings
from cvpipe.tuning import quantise
from tests.modelcards import table_network, write_card, write_yolox_card

VIDEO = "videos/one-by-one-person-detection.mp4"


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(path)).graph.node]


def test_a_quantised_version_lies_beside_the_one_it_was_made_from(settings: Settings, clip: Path) -> None:
    made = quantise("tiny", clip, settings=settings, frames=8, max_loss=0.05)
    assert (made.card.ref, made.card.quantised_from, made.card.precision) == ("tiny@1-int8", "1", "int8")
    assert made.card.made_from == find_card(settings.models_path, "tiny@1").sha256
    assert made.card.path == settings.models_path / "tiny" / "1-int8" / "tiny.onnx"
    assert made.tries[-1].recipe == "all operators"
    assert 0 < (made.tries[-1].loss or 0) <= 0.05
    assert operators(made.card.path).count("Conv") == 3
    assert operators(made.card.path).count("DequantizeLinear") > 6
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    tools = OnnxTools(settings.models_path, device="cpu")
    wide, small = (tools.network(ref).run([picture])[0][0] for ref in ("tiny@1", "tiny@1-int8"))
    assert not np.array_equal(wide, small)
    assert wide @ small / np.linalg.norm(wide) / np.linalg.norm(small) > 0.95


def test_a_quantised_version_is_not_taken_for_the_newest(settings: Settings, clip: Path) -> None:
    quantise("tiny", clip, settings=settings, frames=4, max_loss=0.1)
    assert find_card(settings.models_path, "tiny").version == "1"
    again = quantise("tiny", clip, settings=settings, frames=4, max_loss=0.1)
    assert (again.card.version, again.new) == ("1-int8", False)


def test_a_model_that_would_lose_too_much_is_not_saved_and_all_figures_are_told(settings: Settings, clip: Path) -> None:
    with pytest.raises(ModelLosesTooMuch) as caught:
        quantise("tiny", clip, settings=settings, frames=4, max_loss=0)
    message = caught.value.message
    assert message.startswith("nothing was saved: quantised, tiny@1 loses more than 0 in every way that was tried")
    assert "all operators: loses 0.0" in message
    assert "all but the last 2 operators: loses 0.0" in message
    assert sorted(card for card in load_cards(settings.models_path) if card.startswith("tiny")) == ["tiny@1"]


def test_of_a_short_video_half_is_left_to_compare_on(settings: Settings, clip: Path) -> None:
    steps: list[tuple[str, int]] = []
    quantise("tiny", clip, settings=settings, max_loss=0.1, on_step=lambda what, _, most: steps.append((what, most)))
    assert dict(steps)["ranges"] == dict(steps)["comparing"] == 10


def test_a_video_on_which_nothing_is_found_says_nothing_of_the_loss(settings: Settings, clip: Path) -> None:
    write_card(settings.models_path, table_network(np.zeros((7, 84), np.float32)), name="blind", file="blind.onnx")
    with pytest.raises(InvalidRequest, match="blind@1 finds nothing on 4 frames of this video"):
        quantise("blind", clip, settings=settings, frames=4)


def test_a_trained_detector_is_quantised(assets: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models", device="cpu")
    write_yolox_card(settings.models_path, assets)
    made = quantise("yolox-nano", assets / VIDEO, settings=settings, frames=8, max_loss=0.5)
    assert made.card.ref == "yolox-nano@1-int8"
    assert {"f1"} == set(made.tries[-1].agreement.parts if made.tries[-1].agreement else ())
    assert made.card.path.stat().st_size < 0.5 * find_card(settings.models_path, "yolox-nano@1").path.stat().st_size
