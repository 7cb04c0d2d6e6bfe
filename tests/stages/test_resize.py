"""`resize`: canvases of real sizes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cvpipe.frames import View
from cvpipe.stages.resize import Resize, ResizeOptions


def resize(source: tuple[int, int] | View, **options: Any) -> View:
    view = source if isinstance(source, View) else View.of(*source)
    return Resize(ResizeOptions(name="small", **options)).reshape(view)


@pytest.mark.parametrize(
    ("source", "options", "canvas", "content", "region"),
    [
        pytest.param((1920, 1080), {"width": 640, "height": 640}, (640, 360), (0, 0, 640, 360), None, id="fit"),
        pytest.param(
            (1920, 1080),
            {"width": 640, "height": 640, "mode": "letterbox"},
            (640, 640),
            (0, 140, 640, 360),
            None,
            id="letterbox",
        ),
        pytest.param(
            (1920, 1080),
            {"width": 640, "height": 640, "mode": "stretch"},
            (640, 640),
            (0, 0, 640, 640),
            None,
            id="stretch",
        ),
        pytest.param(
            (1920, 1080),
            {"width": 640, "height": 640, "mode": "fill"},
            (640, 640),
            (0, 0, 640, 640),
            (420, 0, 1080, 1080),
            id="fill",
        ),
        pytest.param(
            (1080, 1920),
            {"width": 320, "height": 180, "mode": "fill"},
            (320, 180),
            (0, 0, 320, 180),
            (0, 656, 1080, 608),
            id="fill tall",
        ),
        pytest.param((1920, 1080), {"max_side": 640}, (640, 360), (0, 0, 640, 360), None, id="max side"),
        pytest.param((1080, 1920), {"max_side": 640}, (360, 640), (0, 0, 360, 640), None, id="max side of a tall one"),
        pytest.param((320, 180), {"max_side": 640}, (320, 180), (0, 0, 320, 180), None, id="max side enlarges nothing"),
        pytest.param((1920, 1080), {"width": 480}, (480, 270), (0, 0, 480, 270), None, id="width alone"),
        pytest.param((1920, 1080), {"height": 540}, (960, 540), (0, 0, 960, 540), None, id="height alone"),
        pytest.param(
            (1920, 1080), {"max_side": 416, "multiple_of": 32}, (416, 256), (0, 0, 416, 234), None, id="multiple of 32"
        ),
        pytest.param((4000, 16), {"max_side": 100}, (100, 1), (0, 0, 100, 1), None, id="very wide"),
    ],
)
def test_sizes(source: tuple[int, int], options: dict[str, Any], canvas: Any, content: Any, region: Any) -> None:
    view = resize(source, **options)
    assert ((view.width, view.height), view.content) == (canvas, content)
    assert view.region == (region or (0, 0, *source))


def test_padding_stays_as_it_was_unless_told() -> None:
    first = resize((64, 48), width=100, height=100, mode="letterbox", pad=5)
    assert resize(first, max_side=50).pad == 5
    assert resize(first, max_side=50, pad=9).pad == 9
    assert resize((64, 48), max_side=50).pad == 114


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `max_side`, or `width` and `height`"),
        ({"width": 64, "max_side": 64}, "give `max_side`, or `width` and `height`"),
        ({"width": 64, "mode": "letterbox"}, "`mode: letterbox` needs `width` and `height`"),
        ({"width": 4}, "greater than or equal to 8"),
        ({"max_side": 64, "multiple_of": 0}, "greater than or equal to 1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ResizeOptions(**options)
