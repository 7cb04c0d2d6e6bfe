"""`threshold` against Otsu's formula in NumPy, and on pictures of two shades."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cvpipe.stages.threshold import ThresholdOptions
from tests.stages.looking import look_at


def measure(picture: np.ndarray, **options: Any) -> dict[str, Any]:
    value: dict[str, Any] = look_at("threshold", picture, **options).values["threshold"]
    return value


def two_shades() -> np.ndarray:
    """A quarter bright, the rest dark, with noise."""
    picture = np.random.default_rng(1).normal(60, 8, (80, 80))
    picture[:40, :40] += 120
    return np.clip(picture, 0, 255).round().astype(np.uint8)


def test_otsus_level_has_the_greatest_variance_between_the_classes() -> None:
    picture = two_shades()
    values = picture.astype(np.float64)

    def between(level: int) -> float:
        bright = values >= level
        share = bright.mean()
        return share * (1 - share) * (values[bright].mean() - values[~bright].mean()) ** 2

    best = max(range(int(values.min()) + 1, int(values.max()) + 1), key=between)
    told = measure(picture)
    assert between(told["level"]) == pytest.approx(between(best))
    assert told["share"] == 0.25
    assert told["separation"] == pytest.approx(between(best) / values.var(), abs=0.0001)


def test_a_fixed_level_takes_what_reaches_it_and_inverted_the_rest() -> None:
    picture = np.repeat(np.arange(10, dtype=np.uint8) * 20, 10).reshape(10, 10)
    assert measure(picture, method="fixed", level=100)["share"] == 0.5
    assert measure(picture, method="fixed", level=101)["share"] == 0.4
    assert measure(picture, method="fixed", level=101, invert=True)["share"] == 0.6


def test_adaptive_finds_marks_in_uneven_light() -> None:
    light = np.tile(np.linspace(20, 200, 120), (60, 1))
    marks = np.zeros((60, 120), bool)
    marks[20:24, 10:110:10] = True
    picture = np.round(light + 30 * marks).astype(np.uint8)
    assert measure(picture, method="adaptive", block=31, offset=-15) == {
        "level": None,
        "share": round(float(marks.mean()), 6),
        "separation": pytest.approx(0.0, abs=0.05),
    }


def test_a_plain_picture_is_of_one_class() -> None:
    assert measure(np.full((20, 20), 90, np.uint8), method="fixed") == {"level": 128, "share": 0.0, "separation": None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": 3}, "`level` does nothing with `method: otsu`"),
        ({"method": "adaptive", "block": 4}, "`block` must be odd"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ThresholdOptions.model_validate(options)
