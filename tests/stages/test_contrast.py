"""`contrast`: the filters that a view gets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cvpipe.frames import Filter, View
from cvpipe.stages.contrast import Contrast, ContrastOptions


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Filter("clahe", (2.0, 8.0))),
        ({"clip_limit": 3.5, "tiles": 4}, Filter("clahe", (3.5, 4.0))),
        ({"method": "equalise"}, Filter("equalise", ())),
        ({"method": "gamma"}, Filter("gamma", (0.5,))),
        ({"method": "gamma", "gamma": 2.2}, Filter("gamma", (2.2,))),
    ],
)
def test_filters(options: dict[str, Any], expected: Filter) -> None:
    view = Contrast(ContrastOptions(**options)).reshape(View.of(64, 48).filtered(Filter("median", (3.0,))))
    assert view.filters == (Filter("median", (3.0,)), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gamma", "tiles": 4}, "`tiles` does nothing with `method: gamma`"),
        ({"gamma": 2}, "`gamma` does nothing with `method: clahe`"),
        ({"method": "gamma", "gamma": 0}, "greater than or equal to 0.05"),
        ({"clip_limit": 0}, "greater than 0"),
    ],
)
def test_options_that_do_nothing_or_harm_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ContrastOptions(**options)
