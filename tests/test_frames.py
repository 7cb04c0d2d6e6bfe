"""Views: geometry of pre-processing, and the way back to source pixels."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cvpipe.frames import Filter, Frame, ResizeMode, View
from cvpipe.lens import Lens

sizes = st.tuples(st.integers(16, 4000), st.integers(16, 4000))


@pytest.mark.parametrize(
    ("mode", "canvas", "content"),
    [
        pytest.param("fit", (416, 234), (0, 0, 416, 234), id="fit"),
        pytest.param("letterbox", (416, 416), (0, 91, 416, 234), id="letterbox"),
        pytest.param("stretch", (416, 416), (0, 0, 416, 416), id="stretch"),
    ],
)
def test_a_wide_frame_in_a_square(
    mode: ResizeMode, canvas: tuple[int, int], content: tuple[int, int, int, int]
) -> None:
    view = View.of(768, 432).resized(416, 416, mode=mode)
    assert (view.width, view.height) == canvas
    assert view.content == content


def test_a_letterbox_can_begin_at_the_top_left_and_a_canvas_be_a_multiple() -> None:
    view = View.of(768, 432).resized(416, 416, mode="letterbox", anchor="top-left")
    assert view.content == (0, 0, 416, 234)
    tight = View.of(768, 432).resized(416, 416, mode="fit", multiple_of=32)
    assert (tight.width, tight.height, tight.content) == (416, 256, (0, 0, 416, 234))


def test_a_letterbox_of_a_letterbox_still_knows_where_the_source_is() -> None:
    view = View.of(768, 432).resized(640, 640, mode="letterbox").resized(320, 160, mode="letterbox")
    assert view.content == (80, 35, 160, 90)
    assert view.to_source(np.array([80.0, 35.0])).tolist() == [0, 0]
    assert view.to_source(np.array([240.0, 125.0])).tolist() == [768, 432]


def test_gray_stays_gray_for_a_stage_that_wants_three_channels() -> None:
    view = View.of(64, 48).with_format("gray").with_format("bgr24")
    assert (view.shape, view.colourless) == ((48, 64, 3), True)
    assert not View.of(64, 48, format="rgb24").with_format("bgr24").colourless


@given(
    source=sizes, first=sizes, second=sizes, modes=st.tuples(*[st.sampled_from(["fit", "letterbox", "stretch"])] * 2)
)
def test_source_points_come_back_through_any_two_resizes(
    source: tuple[int, int], first: tuple[int, int], second: tuple[int, int], modes: tuple[ResizeMode, ResizeMode]
) -> None:
    view = View.of(*source).resized(*first, mode=modes[0]).resized(*second, mode=modes[1])
    assume(min(view.content[2:]) >= 4)
    points = np.array([[0, 0], [source[0] / 3, source[1] / 2], source], dtype=np.float64)
    assert np.allclose(view.to_source(view.from_source(points)), points, atol=0.01)
    x, y, width, height = view.content
    assert 0 <= x <= x + width <= view.width
    assert 0 <= y <= y + height <= view.height


def test_points_on_the_padding_are_moved_onto_the_source() -> None:
    view = View.of(768, 432).resized(416, 416, mode="letterbox")
    assert view.to_source(np.array([[-5.0, 0.0, 500.0, 416.0]])).tolist() == [[0, 0, 768, 432]]


def test_a_frame_whose_picture_is_not_of_its_view_is_refused() -> None:
    view = View.of(64, 48)
    with pytest.raises(ValueError, match=r"wanted uint8 \(48, 64, 3\)"):
        Frame(0, 0, 0.0, view, np.zeros((64, 48, 3), np.uint8))


def test_a_view_that_leaves_its_canvas_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves the"):
        View(source=(10, 10), width=10, height=10, content=(5, 0, 10, 10))


def test_a_frame_shows_its_shape_and_not_its_pixels() -> None:
    frame = Frame(3, 30, 0.12, View.of(64, 48), np.zeros((48, 64, 3), np.uint8))
    assert repr(frame) == "Frame(number=3, time=0.120, image=uint8[48, 64, 3])"


@pytest.mark.parametrize(
    ("source", "size", "region"),
    [
        pytest.param((1920, 1080), (640, 640), (420, 0, 1080, 1080), id="sides cut off"),
        pytest.param((1080, 1920), (640, 360), (0, 656, 1080, 608), id="top and bottom cut off"),
        pytest.param((640, 360), (1280, 720), (0, 0, 640, 360), id="nothing to cut off"),
    ],
)
def test_a_filled_canvas_shows_the_middle(source: tuple[int, int], size: tuple[int, int], region: Any) -> None:
    view = View.of(*source).resized(*size, mode="fill")
    assert (view.region, view.content) == (region, (0, 0, *size))


modes = st.sampled_from(["fit", "letterbox", "stretch", "fill"])
fractions = st.tuples(*[st.floats(0, 0.7)] * 2, *[st.floats(0.05, 1)] * 2)


def cut(view: View, part: tuple[float, float, float, float]) -> View:
    """A part of a view, in fractions of what it shows."""
    x, y, width, height = view.region
    left, top = int(x + part[0] * width), int(y + part[1] * height)
    return view.cropped(left, top, max(1, int(part[2] * width)), max(1, int(part[3] * height)))


@given(source=sizes, parts=st.tuples(fractions, fractions), size=sizes, mode=modes, first=st.booleans())
def test_source_points_come_back_through_crops_and_resizes(
    source: tuple[int, int], parts: Any, size: tuple[int, int], mode: ResizeMode, first: bool
) -> None:
    view = View.of(*source)
    steps = [lambda v: cut(v, parts[0]), lambda v: v.resized(*size, mode=mode), lambda v: cut(v, parts[1])]
    for step in steps if first else steps[::-1]:
        view = step(view)
    assert min(view.content[2:]) >= 1
    x, y, width, height = view.region
    assert 0 <= x < x + width <= source[0]
    assert 0 <= y < y + height <= source[1]
    points = np.array([[x, y], [x + width / 3, y + height / 2], [x + width, y + height]], dtype=np.float64)
    assert np.allclose(view.to_source(view.from_source(points)), points, atol=0.01)
    box = np.array([[x, y, x + width, y + height]], np.float64)
    assert np.allclose(view.to_source(view.from_source(box)), box, atol=0.01)
    canvas = view.from_source(points)
    assert np.allclose(canvas[0], view.content[:2], atol=0.01)


lenses = st.builds(
    Lens,
    fx=st.floats(800, 2000),
    fy=st.floats(800, 2000),
    cx=st.floats(500, 800),
    cy=st.floats(300, 420),
    coefficients=st.tuples(
        st.floats(-0.2, 0.2), st.floats(0, 0.05), st.floats(-0.002, 0.002), st.floats(-0.002, 0.002), st.just(0.0)
    ),
)


@given(lens=lenses, part=fractions, size=sizes)
def test_source_points_come_back_through_a_lens_a_crop_and_a_resize(lens: Lens, part: Any, size: Any) -> None:
    view = cut(replace(View.of(1280, 720), lens=lens), part).resized(*size, mode="stretch")
    x, y, width, height = view.content
    inner = np.array([[x + width * a, y + height * b] for a in (0.1, 0.5, 0.9) for b in (0.2, 0.8)])
    points = view.to_source(inner)
    shown = ((points > 0) & (points < (1280, 720))).all(axis=-1)
    assert np.allclose(view.from_source(points)[shown], inner[shown], atol=0.02 * max(1, *size) / 100)
    box = view.to_source(np.array([x, y, x + width, y + height], np.float64))
    assert (box[:2] <= points.min(axis=0) + 0.01).all()
    assert (box[2:] >= points.max(axis=0) - 0.01).all()


def test_a_crop_of_a_letterbox_leaves_the_padding_out() -> None:
    view = View.of(768, 432).resized(416, 416, mode="letterbox").cropped(384, 0, 384, 432)
    assert (view.width, view.height, view.content, view.region) == (208, 234, (0, 0, 208, 234), (384, 0, 384, 432))


def test_a_crop_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="10x10 at 700, 0 lies outside of the picture"):
        View.of(640, 360).cropped(700, 0, 10, 10)


def test_a_view_goes_over_the_wire_whole() -> None:
    view = replace(
        View.of(640, 360, format="hsv")
        .cropped(10, 20, 300, 200)
        .filtered(Filter("clahe", (2.0, 8.0)), Filter("equalise")),
        plane=1,
        polygons=(((0.0, 0.5), (10.0, 0.5), (5.0, 90.25)),),
        lens=Lens(fx=500, fy=501.5, cx=320, cy=180, coefficients=(-0.1, 0.01, 0, 0, 0)),
        deinterlace=True,
        pad=3,
    )
    back = View.from_dict(json.loads(json.dumps(view.to_dict())))
    assert back == view
    assert hash(back) == hash(view)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"region": (0, 0, 641, 360)}, "the region .* leaves the 640x360 frame"),
        ({"region": (0, 0, 0, 360)}, "positive sizes"),
        ({"format": "gray", "plane": 0}, "gray has no plane 0"),
        ({"plane": 3}, "bgr24 has no plane 3"),
    ],
)
def test_views_of_what_is_not_there_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(View.of(640, 360), **changes)
