"""Masks and keypoints, drawn on pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.exports.annotated import Annotator, caption_of
from cvpipe.exports.overlay import draw_keypoints, masks_in, paint_mask, skeleton_for
from cvpipe.frames import View
from cvpipe.inference.labels import COCO_SKELETON
from cvpipe.results import FrameRecord, Objects
from cvpipe.rle import Mask

VIEW = View.of(320, 180)
SMALL = VIEW.resized(160, 90)
CROPPED = VIEW.cropped(100, 40, 200, 120)


def blank(view: View = VIEW) -> np.ndarray:
    return np.full((view.height, view.width, 3), 100, np.uint8)


def block(x1: int, y1: int, x2: int, y2: int) -> Mask:
    pixels = np.zeros((180, 320), bool)
    pixels[y1:y2, x1:x2] = True
    return Mask.of(pixels)


@pytest.mark.parametrize(
    ("view", "box"),
    [(VIEW, (120, 60, 160, 100)), (SMALL, (60, 30, 80, 50)), (CROPPED, (20, 20, 60, 60))],
    ids=["plain", "smaller", "cropped"],
)
def test_a_mask_tints_its_pixels_and_no_others(view: View, box: tuple[int, ...]) -> None:
    image = blank(view)
    paint_mask(image, block(120, 60, 160, 100), view, (200, 0, 100), cv2)
    x1, y1, x2, y2 = box
    assert image[y1:y2, x1:x2].reshape(-1, 3).tolist() == [[145, 55, 100]] * ((x2 - x1) * (y2 - y1))
    assert (image == 100).all(axis=2).sum() == image.shape[0] * image.shape[1] - (x2 - x1) * (y2 - y1)


@pytest.mark.parametrize("mask", [block(0, 0, 0, 0), Mask.of(np.ones((4, 4), bool))], ids=["empty", "another size"])
def test_a_mask_that_shows_nothing_changes_nothing(mask: Mask) -> None:
    image = blank()
    paint_mask(image, mask, VIEW, (200, 0, 100), cv2)
    assert (image == 100).all()


def test_masks_in_values_are_found_through_tiles_too() -> None:
    row = {"label": "sky", "area": 0.1, "mask": block(0, 0, 10, 10).to_dict()}
    objects = Objects.make(stage="a", box=[[0, 0, 9, 9]], score=[1], label=["x"]).with_values(
        "parse", {0: {"parts": [row | {"label": "hair"}]}}
    )
    values: dict[str, Any] = {"segment": [{"classes": [row]}, None, {"classes": [row]}], "edges": {"density": 1}}
    found = [(stage, label) for stage, label, _ in masks_in(FrameRecord(0, 0, 0.0, objects=objects, values=values))]
    assert found == [("segment", "sky"), ("segment", "sky"), ("parse", "hair")]


def test_keypoints_are_dots_and_the_skeleton_joins_the_sure_ones() -> None:
    points = np.array([[40, 40, 0.9], [120, 40, 0.9], [120, 120, 0.1]], np.float32)
    image = blank()
    draw_keypoints(image, points, [(0, 1), (1, 2)], VIEW, (0, 0, 255), line=2, cv2=cv2)
    assert image[40, 40].tolist() == image[40, 120].tolist() == [255, 255, 255]
    assert image[40, 80].tolist() == [0, 0, 255]
    assert (image[60:140] == 100).all()


def test_seventeen_keypoints_are_a_persons_unless_the_card_says_otherwise() -> None:
    seventeen = np.zeros((17, 3), np.float32)
    assert skeleton_for(seventeen, None) == COCO_SKELETON
    assert skeleton_for(seventeen, ((0, 1),)) == ((0, 1),)
    assert skeleton_for(np.zeros((5, 3), np.float32), None) == ()


def test_the_annotator_draws_them_beneath_boxes_and_captions() -> None:
    points = [[60, 60, 0.9], [60, 120, 0.9]]
    objects = Objects.make(
        stage="people", box=[[40, 40, 100, 140]], score=[0.9], label=["person"], keypoints=[points],
        mask=[block(40, 40, 100, 140)],
    )  # fmt: skip
    values = {"segment": {"classes": [{"label": "wall", "area": 0.1, "mask": block(200, 0, 320, 90).to_dict()}]}}
    image, plain = blank(), blank()
    record = FrameRecord(0, 0, 0.0, objects=objects, values=values)
    Annotator(cv2, VIEW, skeletons={"people": ((0, 1),)}).draw(image, record, frame=0, time=0.0)
    Annotator(cv2, VIEW).draw(plain, record, frame=0, time=0.0)
    tint = image[130, 90].tolist()  # inside the mask, away from all lines
    assert tint != [100, 100, 100]
    assert image[40:140, 40].tolist().count(tint) == 0  # the box is on top of it
    assert (image[10, 250] != 100).any()
    assert image[90, 60].tolist() not in ([100, 100, 100], tint)  # the line between the keypoints
    assert plain[90, 60].tolist() == tint


@pytest.mark.parametrize(
    ("values", "more", "caption"),
    [
        (None, {}, "car  90%"),
        ({"classify": {"top": [{"label": "red", "score": 0.8}, {"label": "blue", "score": 0.1}]}}, {}, "red car  90%"),
        ({"classify": {"top": [{"label": "red", "score": 0.8}]}}, {"track": [7]}, "red car 7  90%"),
        ({"classify": {"top": []}, "own": {"top": 3}, "other": [1]}, {"text": ["AB 12"]}, "car: AB 12"),
    ],
    ids=["plain", "classified", "tracked", "nothing of use"],
)
def test_a_caption_says_what_an_object_was_classified_as(values: Any, more: dict[str, Any], caption: str) -> None:
    objects = Objects.make(stage="s", box=[[0, 0, 9, 9]], score=[0.9], label=["car"], values=[values], **more)
    assert caption_of(objects, 0) == caption
