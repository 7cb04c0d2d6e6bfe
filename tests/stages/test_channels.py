"""`channels`: which colours a later stage gets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cvpipe.frames import View
from cvpipe.stages.channels import Channels, ChannelsOptions

SOURCE = View.of(64, 48)


def channels(view: View = SOURCE, **options: Any) -> View:
    return Channels(ChannelsOptions(**options)).reshape(view)


@pytest.mark.parametrize(
    ("options", "format", "plane", "shape"),
    [
        ({"to": "rgb"}, "rgb24", None, (48, 64, 3)),
        ({"to": "bgr"}, "bgr24", None, (48, 64, 3)),
        ({"to": "gray"}, "gray", None, (48, 64)),
        ({"to": "hsv"}, "hsv", None, (48, 64, 3)),
        ({"to": "lab", "only": "l"}, "lab", 0, (48, 64)),
        ({"to": "ycrcb", "only": "cb"}, "ycrcb", 2, (48, 64)),
        ({"to": "rgb", "only": "b"}, "rgb24", 2, (48, 64)),
        ({"to": "bgr", "only": "b"}, "bgr24", 0, (48, 64)),
    ],
)
def test_format_and_plane(options: dict[str, Any], format: str, plane: int | None, shape: tuple[int, ...]) -> None:
    view = channels(**options)
    assert (view.format, view.plane, view.shape) == (format, plane, shape)


def test_the_last_choice_counts() -> None:
    view = channels(channels(to="hsv", only="s"), to="rgb")
    assert (view.format, view.plane, view.colourless) == ("rgb24", None, False)


def test_a_stage_that_takes_three_channels_gets_one_three_times_and_other_spaces_as_they_are() -> None:
    assert channels(to="hsv", only="v").with_format("bgr24").shape == (48, 64, 3)
    assert channels(to="gray").with_format("bgr24").shape == (48, 64, 3)
    assert channels(to="lab").with_format("bgr24").format == "lab"
    assert channels(to="hsv", only="v").with_format("bgr24").with_format("gray").shape == (48, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "hsv", "only": "r"}, "`only: r` is no channel of hsv, which has h, s, v"),
        ({"to": "gray", "only": "y"}, "which is one channel already"),
        ({"to": "cmyk"}, "Input should be 'rgb'"),
    ],
)
def test_channels_that_are_not_there_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ChannelsOptions(**options)
