"""Drawn scenes, and that what is said of them is what is on them."""

from __future__ import annotations

import numpy as np
import pytest

from cvpipe.rle import Mask
from examples.demo.figures import TALL, Clothes, draw_dog, draw_person, walking
from examples.demo.layers import JOINTS, Figure, Layers
from examples.demo.truth import ThingTruth
from training.scenes import Cast, Scene, pictures

CLOTHES = Clothes((224, 172, 138), (60, 40, 30), (200, 60, 60), (50, 60, 110), (30, 30, 30))


def make_block(width: int, height: int, label: str = "car") -> Figure:
    """A grey block that stands on the middle of its lower edge."""
    picture = np.ones((height, width, 4), np.float32) * np.float32((0.5, 0.5, 0.5, 1))
    return Figure(label, picture, np.full((height, width), 255, np.uint8), (width / 2, height))


def make_layers(width: int = 60, height: int = 40) -> Layers:
    return Layers(np.zeros((height, width, 3), np.uint8))


def test_a_figure_is_where_it_was_put() -> None:
    layers = make_layers()
    layers.put(make_block(10, 8), 20, 30)
    (shown,) = layers.shown()
    assert (shown.box, shown.share, shown.part.all()) == ((15, 22, 25, 30), 1.0, True)
    assert (layers.picture[22:30, 15:25] == 128).all()
    assert layers.picture.sum() == 80 * 3 * 128


def test_what_is_in_front_takes_pixels_from_what_is_behind() -> None:
    layers = make_layers()
    layers.put(make_block(20, 10), 20, 30)
    layers.put(make_block(10, 10, "dog"), 25, 30)
    layers.put(make_block(4, 40, ""), 12, 40)  # hides, and is no thing
    car, dog = layers.shown()
    assert (car.label, car.box, car.share) == ("car", (14, 20, 20, 30), 0.3)
    assert (dog.label, dog.box, dog.share) == ("dog", (20, 20, 30, 30), 1.0)
    assert (car.counts, dog.counts) == (False, True)


def test_what_is_off_the_picture_is_not_shown() -> None:
    layers = make_layers()
    layers.put(make_block(20, 10), 0, 30)
    layers.put(make_block(20, 10), -40, 30)
    (half,) = layers.shown()
    assert (half.box, half.share) == ((0, 20, 10, 30), 0.5)


def test_scaled_figures_stand_where_they_were_put() -> None:
    layers = make_layers()
    layers.put(make_block(20, 10), 30, 30, scale=2)
    (shown,) = layers.shown()
    assert shown.box == (10, 10, 50, 30)


def test_a_mask_as_run_lengths_is_the_mask() -> None:
    rng = np.random.default_rng(0)
    for width, height, tall in ((60, 40, 40), (60, 40, 11), (9, 5, 5)):
        layers = make_layers(width, height)
        block = make_block(7, tall)
        block.solid[rng.random(block.solid.shape) < 0.4] = 0
        block.solid[:, 2:4] = 255  # two whole columns are one run where they are as tall as the picture
        layers.put(block, 3.5, height)
        (shown,) = layers.shown()
        whole = np.zeros((height, width), bool)
        whole[height - tall :, :7] = block.solid > 0
        truth = shown.truth(width, height)
        assert (Mask(height, width, truth.mask).pixels() == whole).all()
        assert truth.mask == Mask.of(whole).counts


def test_joints_lie_on_the_person_and_are_hidden_by_what_is_in_front() -> None:
    layers = make_layers(160, 160)
    person = draw_person(walking(0.25, "right"), CLOTHES)
    layers.put(person, 60, 150)
    layers.put(make_block(60, 40), 60, 155)
    shown = layers.shown()[0]
    assert shown.joints is not None
    seen = dict(zip(JOINTS, shown.joints[:, 2].tolist(), strict=True))
    assert (seen["head"], seen["left ankle"], seen["right ankle"]) == (2, 1, 1)
    x1, y1, _, _ = shown.box
    for x, y, sight in shown.joints:
        if sight == 2:
            assert shown.part[int(y) - y1, int(x) - x1]


def test_a_mirrored_person_has_left_and_right_swapped() -> None:
    layers = make_layers(160, 160)
    layers.put(draw_person(walking(0.25, "right"), CLOTHES), 60, 150)
    shown = layers.shown()[0]
    mirrored = shown.mirrored(160)
    x1, y1, x2, y2 = shown.box
    assert mirrored.box == (160 - x2, y1, 160 - x1, y2)
    assert (mirrored.part == shown.part[:, ::-1]).all()
    assert shown.joints is not None
    assert mirrored.joints is not None
    left, right = JOINTS.index("left knee"), JOINTS.index("right knee")
    assert mirrored.joints[left].tolist() == [160 - shown.joints[right, 0], *shown.joints[right, 1:]]
    assert mirrored.joints[0].tolist() == [160 - shown.joints[0, 0], *shown.joints[0, 1:]]
    again = mirrored.mirrored(160)
    assert again.box == shown.box
    np.testing.assert_allclose(again.joints, shown.joints, atol=1e-4)


def test_joints_off_the_picture_are_told_as_such() -> None:
    layers = make_layers(160, 80)
    layers.put(draw_person(walking(0.25, "right"), CLOTHES), 60, 150)
    joints = layers.shown()[0].joints
    assert joints is not None
    assert joints[0, 2] == 2
    assert (joints[-2:, 2] == 0).all()


@pytest.mark.parametrize("facing", ["left", "right"])
def test_who_walks_to_the_right_shows_the_right_side(facing: str) -> None:
    """The near arm and leg are the bright ones."""
    figure = draw_person(walking(0.25, facing), CLOTHES)  # type: ignore[arg-type]
    assert figure.joints is not None
    at = dict(zip(JOINTS, figure.joints, strict=True))
    bright = {}
    for side in ("left", "right"):
        x, y = (at[f"{side} knee"] + at[f"{side} ankle"]) / 2
        bright[side] = figure.picture[int(y), int(x), :3].sum()
    assert (bright["right"] > bright["left"]) == (facing == "right")


def test_a_person_is_as_tall_as_said_and_stands_on_the_ground() -> None:
    figure = draw_person(walking(0.0, "left"), CLOTHES)
    rows = np.flatnonzero((figure.solid > 127).any(axis=1))
    assert abs(rows[0] - (figure.ground[1] - TALL)) <= 3
    assert abs(rows[-1] + 1 - figure.ground[1]) <= 2


def test_shadows_are_no_part_of_a_dog() -> None:
    dog = draw_dog(0.0, (160, 120, 80), facing_left=True)
    assert dog.joints is None
    assert (dog.solid == 0)[dog.picture[..., 3] > 0.1].any()


@pytest.fixture(scope="module")
def cast() -> Cast:
    return Cast(3, people=4, dogs=1, cars=2, phases=2)


def test_scenes_are_the_same_each_time(cast: Cast) -> None:
    first, again = (next(pictures(cast, 5, side=96)) for _ in range(2))
    other, _ = next(pictures(cast, 6, side=96))
    assert (first[0] == again[0]).all()
    assert [thing.box for thing in first[1]] == [thing.box for thing in again[1]]
    assert (first[0] != other).any()


def test_things_move_and_backgrounds_do_not(cast: Cast) -> None:
    scene = Scene(cast, np.random.default_rng(4), width=128, height=96, tall=(30, 60))
    shown = [scene.draw(time)[1] for time in (0.0, 0.0, 0.5)]
    boxes = [[thing.box for thing in things] for things in shown]
    assert boxes[0] == boxes[1]
    assert boxes[0] != boxes[2]


def test_little_that_can_be_seen_does_not_count(cast: Cast) -> None:
    rng = np.random.default_rng(9)
    truths: list[ThingTruth] = []
    for _ in range(30):
        _, shown = Scene(cast, rng, width=96, height=96, tall=(20, 60)).draw()
        truths += [thing.truth(96, 96) for thing in shown]
    areas = {counts: [Mask(96, 96, t.mask).area for t in truths if t.counts == counts] for counts in (True, False)}
    assert len(areas[True]) > 40
    assert len(areas[False]) > 5
    assert min(areas[True]) >= 80
