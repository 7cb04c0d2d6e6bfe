"""`edges` on scenes whose edges are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.results import Objects
from cvpipe.stages.edges import Edges, EdgesOptions


def measure(picture: np.ndarray, view: View | None = None, **options: Any) -> dict[str, Any]:
    """What `edges` says of a grey picture, which is the whole frame unless a view is given."""
    stage = Edges(EdgesOptions(name="edges", **options))
    stage.open(OnnxTools(Path("none"), device="cpu"))
    height, width = picture.shape
    view = stage.view(view or View.of(width, height))
    (found,) = stage.process([Frame(0, 0, 0.0, view, picture.astype(np.uint8))], [Objects.none()])
    assert found.added is None
    assert found.objects is None
    values: dict[str, Any] = json.loads(json.dumps(found.values["edges"]))
    return values


def step(width: int = 100, height: int = 40, at: int = 50, contrast: int = 255) -> np.ndarray:
    """Black to the left of column `at`, brighter from there on."""
    picture = np.zeros((height, width))
    picture[:, at:] = contrast
    return picture


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_picture_has_no_edges(level: int) -> None:
    assert measure(np.full((40, 100), level)) == {"density": 0.0, "centre": None}


def test_a_step_is_one_column_of_edge_pixels() -> None:
    values = measure(step())
    assert values["density"] == 0.01
    # One of the two columns at the step: its middle is half a pixel from 50.
    assert values["centre"] == [pytest.approx(50, abs=0.5), 20.0]


def test_two_steps_have_twice_the_edges() -> None:
    assert measure(step(at=30) - step(at=70))["density"] == 0.02


@pytest.mark.parametrize(
    ("contrast", "options", "density"),
    [
        # A step of c has a Sobel gradient of 4c.
        (24, {"low": 100, "high": 100}, 0),
        (26, {"low": 100, "high": 100}, 0.01),
        (49, {}, 0),
        (51, {}, 0.01),
    ],
)
def test_thresholds_are_sobel_gradients(contrast: int, options: dict[str, float], density: float) -> None:
    assert measure(step(contrast=contrast), **options)["density"] == density


def test_weak_edges_go_on_where_they_hang_on_strong_ones() -> None:
    picture = step()
    picture[:, 50:] = np.linspace(30, 80, 40).round()[:, None]  # gradients from 120 to 320, 40 rows
    assert measure(picture, low=100, high=100)["density"] == 0.01
    assert measure(picture, low=100, high=200)["density"] == 0.01
    assert measure(picture, low=200, high=200)["density"] == pytest.approx(0.006, abs=0.0005)
    assert measure(picture, low=100, high=400)["density"] == 0


def test_blur_takes_noise_away() -> None:
    noisy = np.random.default_rng(0).integers(90, 166, (60, 80))
    assert measure(noisy)["density"] > 0.1
    assert measure(noisy, blur=2)["density"] == 0


def test_the_centre_is_in_source_pixels_and_padding_does_not_count() -> None:
    view = View.of(400, 160).resized(100, 100, mode="letterbox", pad=255)
    assert view.content == (0, 30, 100, 40)
    canvas = np.full((100, 100), 255)
    canvas[30:70] = step(at=25, contrast=200)
    values = measure(canvas, view)
    assert values["density"] == 0.01
    assert values["centre"] == [pytest.approx(100, abs=2), pytest.approx(80, abs=0.1)]


def test_low_above_high_is_refused() -> None:
    with pytest.raises(ValidationError, match="`low` must not be greater than `high`"):
        EdgesOptions(low=300)


def test_a_real_frame_loses_edges_when_blurred(assets: Path) -> None:
    import av

    with av.open(str(assets / "videos" / "car-detection.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="gray")
    sharp, soft = measure(picture), measure(picture, blur=2)
    assert 0 < 4 * soft["density"] < sharp["density"] < 0.01


def test_sobel_and_laplace_are_what_numpy_says_they_are() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (30, 40)).astype(np.int64)
    padded = np.pad(picture, 1, mode="reflect")

    def at(down: int, across: int) -> np.ndarray:
        return padded[1 + down : 31 + down, 1 + across : 41 + across]

    gx = sum(weight * (at(d, 1) - at(d, -1)) for d, weight in ((-1, 1), (0, 2), (1, 1)))
    gy = sum(weight * (at(1, a) - at(-1, a)) for a, weight in ((-1, 1), (0, 2), (1, 1)))
    gradient = np.hypot(gx, gy)
    laplacian = np.abs(at(0, 1) + at(0, -1) + at(1, 0) + at(-1, 0) - 4 * picture)
    for method, magnitude in (("sobel", gradient), ("laplacian", laplacian)):
        values = measure(picture, method=method, threshold=200)
        assert values["density"] == round(float((magnitude >= 200).mean()), 6)
        assert values["strength"] == pytest.approx(magnitude.mean(), abs=0.001)


def test_an_option_of_another_method_is_refused() -> None:
    with pytest.raises(ValidationError, match="`threshold` does nothing with `method: canny`"):
        EdgesOptions(threshold=50)
