"""The model that comes with cvpipe: its files belong together, and it finds what is drawn."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from cvpipe.engine import run_local
from cvpipe.errors import Conflict
from cvpipe.inference import OnnxTools, find_card, load_cards
from cvpipe.inference.cards import SHIPPED
from cvpipe.modelfiles.folder import remove
from cvpipe.models import family
from cvpipe.pipeline import load_pipeline
from cvpipe.settings import Settings
from examples.demo.accuracy import measure
from examples.demo.layers import BONES, JOINTS, LABELS
from examples.demo.truth import FrameTruth
from tests.modelcards import write_card
from training.facts import BATCH, FOLDER, HELD_OUT_SEED, MODEL_VERSION, NAME, SEED, SIDES, SIZE, STEPS
from training.scenes import VERSION, Cast, fingerprint, write_video

VIDEO_SIZE = (480, 360)


def test_the_card_says_what_the_training_does(tmp_path: Path) -> None:
    card = find_card(tmp_path, NAME)
    assert (card.ref, card.path.parent, card.input.width) == (f"{NAME}@{MODEL_VERSION}", FOLDER, SIZE)
    assert (card.labels, card.keypoints, card.skeleton) == (LABELS, JOINTS, BONES)
    assert "nothing of use in real video" in card.source
    family(card)
    raw = card.read()  # checked against its sha256
    assert len(raw) < 1_500_000


def test_the_file_was_trained_on_the_scenes_of_today() -> None:
    model = onnx.load(FOLDER / f"{NAME}.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["scenes"] == str(VERSION)
    assert (facts["seed"], facts["steps"], facts["batch"]) == (str(SEED), str(STEPS), str(BATCH))
    assert facts["sides"] == " ".join(map(str, SIDES))
    trained_on = np.array([int(value) for value in facts["fingerprint"].split()])
    # OpenCV's rounding differs a little from processor to processor.
    assert np.abs(trained_on - fingerprint()).max() <= 3


def test_it_is_found_with_no_folder_of_models(tmp_path: Path) -> None:
    assert f"{NAME}@{MODEL_VERSION}" in load_cards(tmp_path / "none")


def test_a_model_of_ones_own_takes_its_place(tmp_path: Path) -> None:
    write_card(tmp_path, b"", name=NAME, version="7")
    assert find_card(tmp_path, NAME).ref == f"{NAME}@7"
    assert [ref for ref in load_cards(tmp_path) if ref.startswith(NAME)] == [f"{NAME}@7"]


def test_it_can_not_be_removed(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="comes with cvpipe"):
        remove(tmp_path, NAME)
    assert find_card(tmp_path, NAME).path.is_file()


def test_all_that_is_shipped_is_in_the_wheel(root: Path) -> None:
    assert SHIPPED.is_relative_to(root / "src" / "cvpipe")
    assert sorted(path.name for path in FOLDER.iterdir()) == [f"{NAME}.onnx", "model.yaml"]


def test_a_wide_frame_gets_a_canvas_without_needless_padding(tmp_path: Path) -> None:
    from cvpipe.frames import View

    view = OnnxTools(tmp_path, device="cpu").network(NAME).input_view(View.of(1280, 720))
    assert (view.width, view.height) == (320, 192)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FrameTruth]]:
    """A video of people, dogs and cars that were not in the training."""
    path = tmp_path_factory.mktemp("held-out") / "scenes.mp4"
    cast = Cast(HELD_OUT_SEED, people=10, dogs=4, cars=5, phases=3)
    truth = write_video(path, cast, HELD_OUT_SEED, scenes=30, frames=1, size=VIDEO_SIZE, tall=(45, 230))
    return path, truth


def test_it_finds_what_is_drawn_in_scenes_it_has_not_seen(
    held_out: tuple[Path, list[FrameTruth]], tmp_path: Path
) -> None:
    """As the service decodes them and as its records say it. Floors: a tenth below what was measured."""
    path, truth = held_out
    settings = Settings(data_dir=tmp_path / "data")
    stage = {"type": "detect", "name": "things", "model": NAME, "score": 0.05}
    pipeline = load_pipeline({"name": "look", "version": 1, "stages": [stage]}, settings=settings)
    run_local(path, pipeline, tmp_path / "out", settings=settings)
    lines = (tmp_path / "out" / "frames.ndjson").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["frame"] for record in records] == [frame.frame for frame in truth]
    got = measure(records, truth, VIDEO_SIZE)
    assert got.things > 80
    floors = FLOORS
    assert {name: getattr(got, name) for name, floor in floors.items() if getattr(got, name) < floor} == {}, got


FLOORS = {
    "box_50": 0.81,
    "box": 0.48,
    "mask_50": 0.71,
    "mask": 0.35,
    "joints_50": 0.43,
    "joints": 0.11,
    "mask_iou": 0.58,
}


def test_a_perfect_answer_scores_one_and_none_scores_nothing(held_out: tuple[Path, list[FrameTruth]]) -> None:
    _, truth = held_out
    records = [
        {
            "frame": frame.frame,
            "objects": [
                {
                    "label": thing.label,
                    "score": 0.9,
                    "box": list(thing.box),
                    "mask": {"size": [VIDEO_SIZE[1], VIDEO_SIZE[0]], "counts": thing.mask},
                    "keypoints": [[joint.x, joint.y, 1.0] for joint in thing.joints or ()],
                }
                for thing in frame.things
            ],
        }
        for frame in truth
    ]
    got = measure(records, truth, VIDEO_SIZE)
    assert min(got.box, got.box_50, got.mask, got.mask_50, got.joints, got.joints_50, got.mask_iou) > 0.999
    nothing = measure([record | {"objects": []} for record in records], truth, VIDEO_SIZE)
    assert (nothing.box, nothing.mask, nothing.joints, nothing.mask_iou) == (0, 0, 0, 0)
    assert nothing.things == got.things


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed (dependency group `training`)")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the exporter of PyTorch is full of them
def test_one_step_of_the_training_makes_a_file_that_runs(tmp_path: Path) -> None:
    from training.course import train
    from training.export import write_model

    write_model(train(1, say=False), tmp_path / NAME / MODEL_VERSION)
    network = OnnxTools(tmp_path, device="cpu").network(NAME)
    assert network.output_shapes == ((2100, 58), (12, 80, 80))
