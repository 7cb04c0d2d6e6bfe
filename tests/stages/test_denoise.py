"""`denoise`: the filters that a view gets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cvpipe.frames import Filter, View
from cvpipe.stages.denoise import Denoise, DenoiseOptions


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Filter("median", (3.0,))),
        ({"size": 7}, Filter("median", (7.0,))),
        ({"method": "gaussian", "sigma": 1.5}, Filter("gaussian", (1.5,))),
        ({"method": "bilateral"}, Filter("bilateral", (5.0, 25.0, 2.0))),
        ({"method": "nlm", "strength": 6}, Filter("nlm", (6.0,))),
    ],
)
def test_filters(options: dict[str, Any], expected: Filter) -> None:
    assert Denoise(DenoiseOptions(**options)).reshape(View.of(64, 48)).filters == (expected,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4}, "`size` must be odd"),
        ({"method": "nlm", "sigma": 2}, "`sigma` does nothing with `method: nlm`"),
        ({"method": "gaussian", "sigma": 0}, "greater than 0"),
    ],
)
def test_options_that_do_nothing_or_harm_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DenoiseOptions(**options)
