"""Views: geometry of pre-processing, and the way back to source pixels."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cvpipe.frames import Frame, ResizeMode, View

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
