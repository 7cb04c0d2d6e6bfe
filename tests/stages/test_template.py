"""`template` where the places of a picture are known."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from cvpipe.frames import View
from cvpipe.png import encode_png
from cvpipe.stages.template import TemplateOptions
from tests.stages.looking import look_at


def logo() -> np.ndarray:
    """A ring with a bar, 24x20, RGB."""
    picture = np.full((20, 24, 3), (40, 60, 90), np.uint8)
    cv2.circle(picture, (10, 10), 7, (250, 220, 30), 2)
    picture[8:12, 14:23] = (250, 30, 30)
    return picture


def coded(picture: np.ndarray) -> str:
    return base64.b64encode(encode_png(picture)).decode()


def grey(picture: np.ndarray) -> np.ndarray:
    return np.round(picture @ [0.299, 0.587, 0.114]).astype(np.uint8)


def scene(*places: tuple[int, int], scale: float = 1) -> np.ndarray:
    picture = np.random.default_rng(2).integers(40, 80, (120, 160)).astype(np.uint8)
    small = grey(logo()) if scale == 1 else cv2.resize(grey(logo()), None, fx=scale, fy=scale)
    for x, y in places:
        picture[y : y + small.shape[0], x : x + small.shape[1]] = small
    return picture


def places(picture: np.ndarray, **options: Any) -> list[dict[str, Any]]:
    return look_at("template", picture, image=coded(logo()), **options).to_dict()["objects"]


def test_each_place_is_told_exactly() -> None:
    found = places(scene((30, 40), (100, 70)), label="logo")
    assert [place["box"] for place in found] == [[30, 40, 54, 60], [100, 70, 124, 90]]
    assert [(place["label"], place["score"]) for place in found] == [("logo", 1.0), ("logo", 1.0)]


def test_brightness_and_contrast_do_not_matter() -> None:
    picture = np.round(scene((30, 40)) * 0.5 + 20).astype(np.uint8)
    (place,) = places(picture)
    assert place["box"] == [30, 40, 54, 60]
    assert place["score"] > 0.99


def test_it_is_found_at_another_scale_where_that_is_asked_for() -> None:
    picture = scene((30, 40), scale=1.5)
    assert places(picture) == []
    (place,) = places(picture, scales=[1, 1.25, 1.5])
    assert place["box"] == [30, 40, 66, 70]
    assert place["values"]["template"]["scale"] == 1.5


def test_boxes_are_in_source_pixels() -> None:
    (place,) = places(scene((30, 40)), view=View.of(320, 240).resized(160, 120))
    assert place["box"] == [60, 80, 108, 120]


def test_a_frame_smaller_than_the_template_shows_none() -> None:
    assert places(np.full((10, 10), 60, np.uint8)) == []


@pytest.mark.parametrize(
    ("image", "words"),
    [
        pytest.param("not base64!", "`image` must be a PNG file in base64", id="no base64"),
        pytest.param(base64.b64encode(b"GIF89a").decode(), "it is no PNG file", id="no PNG"),
        pytest.param(coded(np.full((9, 9), 50, np.uint8)), "`image` is plain", id="plain"),
        pytest.param(coded(np.zeros((300, 300), np.uint8)), "300x300 pixels; 65536 are the most", id="too large"),
    ],
)
def test_what_is_no_picture_to_look_for_is_told(image: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TemplateOptions(image=image)
