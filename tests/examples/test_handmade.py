"""Models made by hand: they answer as their cards say."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.inference import OnnxTools
from cvpipe.inference.captioning import Captioner
from examples.handmade import MODELS, write_models
from examples.handmade.captions import COLOUR, LIGHT, SIDE
from examples.handmade.graphs import COLOURS, FIELD, HEIGHT_METRES, TILT
from tests.picturenetworks import blobs, open_stage, records, seen, things


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


def look(
    models: Path, kind: str, model: str, picture: np.ndarray, *boxes: list[float], **options: Any
) -> dict[str, Any]:
    """The record of one picture, RGB, after a stage `it`; with boxes, those of `things` on it."""
    stage = open_stage(models, kind, model=model, **options)
    found = [things(*boxes)]
    (record,) = records(stage.process(seen(stage, [picture]), found), found)
    return record


def test_the_command_writes_models_that_are_ready_to_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.handmade", str(tmp_path / "models")]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert [line.partition(": ")[0].rpartition("/")[2] for line in told] == [*MODELS]
    tools = OnnxTools(tmp_path / "models", device="cpu")
    for name, model in MODELS.items():
        assert tools.network(name).card.task == model.card["task"]


def test_each_colour_is_named(models: Path) -> None:
    patches = np.zeros((100, 100 * len(COLOURS), 3), np.uint8)
    boxes = []
    for place, colour in enumerate(COLOURS.values()):
        patches[:, 100 * place : 100 * (place + 1)] = colour
        boxes.append([100.0 * place, 0.0, 100.0 * (place + 1), 100.0])
    record = look(models, "classify", "main-colour", patches, *boxes, of="things", top=1)
    assert [row["values"]["it"]["top"] for row in record["objects"]] == [
        [{"label": name, "score": 1.0}] for name in COLOURS
    ]


def test_the_score_of_a_colour_is_its_share_of_the_middle(models: Path) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    middle = picture[16:48, 16:48].reshape(-1, 1, 3).astype(float)
    colours = np.array([*COLOURS.values()])
    nearest = np.linalg.norm(middle - colours, axis=2).argmin(axis=1)
    wanted = dict(zip(COLOURS, np.bincount(nearest, minlength=len(COLOURS)) / len(nearest), strict=True))
    record = look(models, "classify", "main-colour", picture, top=len(COLOURS))
    told = {row["label"]: row["score"] for row in record["values"]["it"]["top"]}
    # A pixel or two may be as near to one colour as to another; shares below 0.02 are left out.
    assert told == pytest.approx({name: share for name, share in wanted.items() if share >= 0.02}, abs=0.003)


def metres(row: float) -> float:
    """To the ground that a row of 720 shows: along the ray, then onto the optical axis, by angles alone."""
    off_axis = np.arctan((row / 720 - 0.5) * 2 * np.tan(np.radians(FIELD / 2)))
    along = HEIGHT_METRES / np.sin(np.radians(TILT) + off_axis)
    return float(along * np.cos(off_axis))


def test_depth_is_that_of_the_ground(models: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    record = look(
        models, "depth", "ground-depth", picture, [0, 330, 300, 430], [900, 600, 1000, 720], of="things"
    )  # fmt: skip
    frame = record["values"]["it"]
    assert frame["unit"] == "metre"
    assert (frame["max"], frame["min"]) == pytest.approx((metres(5), metres(715)), rel=1e-4)
    assert [row["values"]["it"]["median"] for row in record["objects"]] == pytest.approx(
        [metres(380), metres(660)], rel=1e-3
    )


def test_points_are_where_the_colours_are(models: Path) -> None:
    left = blobs(160, 240, red=(80, 40), green=(40, 120), blue=(120, 200))
    right = blobs(160, 240, red=(30, 200), blue=(100, 60))
    picture = np.concatenate((left, right), axis=1)
    record = look(
        models, "pose", "colour-points", picture, [0, 0, 160, 240], [160, 0, 320, 240], of="things", grow=1.0
    )  # fmt: skip
    first, second = (np.array(row["keypoints"]) for row in record["objects"])
    assert first[:, :2] == pytest.approx(np.array([[80, 40], [40, 120], [120, 200]]), abs=3)
    assert second[[0, 2], :2] == pytest.approx(np.array([[190, 200], [260, 60]]), abs=3)
    assert min(*first[:, 2], second[0, 2], second[2, 2]) > 0.9
    assert second[1, 2] == 0  # there is no green


@pytest.fixture(scope="module")
def captioner(models: Path) -> Captioner:
    return OnnxTools(models, device="cpu").captioner("scene-words")


def painted(light: str, colour: str) -> np.ndarray:
    """Noise about the colour that the words mean, (64, 64, 3) RGB."""
    mean = 127.5 * (1 + LIGHT[light] + np.array(COLOUR[colour]))
    noise = np.random.default_rng(7).normal(0, 20, (SIDE // 4, SIDE // 4, 3))
    picture = cv2.resize(noise - noise.mean(axis=(0, 1)), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) + mean
    return picture.clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_scene_is_said_in_words(beams: int, captioner: Captioner) -> None:
    pairs = list(itertools.product(LIGHT, COLOUR))
    captions = captioner.run([painted(*pair) for pair in pairs], beams=beams)
    assert [caption.text for caption in captions] == [f"a {light} scene in {colour}" for light, colour in pairs]
    assert min(caption.score for caption in captions) > 0.7


def test_a_sentence_goes_on_from_a_prompt(captioner: Captioner) -> None:
    (caption,) = captioner.run([painted("dark", "blue")], prompt="a bright scene")
    assert caption.text == "a bright scene in blue"
    assert len(caption.tokens) == 3  # `in`, `blue`, and the end
