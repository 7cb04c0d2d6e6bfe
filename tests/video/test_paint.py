"""The pixels of views."""

from __future__ import annotations

import shutil
import subprocess

import av
import numpy as np
import pytest

from cvpipe.frames import View
from tests.video.clips import make_clip
from tests.video.reading import read, read_plainly

BT709, BT601, FULL, LIMITED = 1, 6, 2, 1
CORNERS = ((220, 30, 40), (30, 200, 60), (40, 60, 210), (230, 220, 50))  # red, green, blue, yellow


def corners(number: int, width: int, height: int) -> np.ndarray:
    """Four quarters of the picture, RGB: top left, top right, bottom left, bottom right."""
    image = np.zeros((height, width, 3), np.uint8)
    half_w, half_h = width // 2, height // 2
    image[:half_h, :half_w], image[:half_h, half_w:] = CORNERS[:2]
    image[half_h:, :half_w], image[half_h:, half_w:] = CORNERS[2:]
    return image


def centres(image: np.ndarray) -> list[list[int]]:
    """The pixels in the middle of the four quarters of a picture."""
    height, width = image.shape[:2]
    return [image[y, x].tolist() for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]


def make_corners(path, **more):
    """A clip of two equal frames in lossless 4:4:4, so that what differs is our doing."""
    return make_clip(path, frames=2, options={"qp": "0"}, pixel_format="yuv444p", draw=corners, **more)


@pytest.fixture
def quarters(tmp_path, decoders):
    path = make_corners(tmp_path / "quarters.mp4")
    return path, decoders.index(path)


def one(decoders, path, index, view):
    return read(decoders, path, index, [0], view)[0]


@pytest.mark.parametrize("format", ["rgb24", "bgr24"])
def test_colours_are_those_drawn(decoders, quarters, format):
    image = one(decoders, *quarters, View.of(96, 64, format=format))
    expected = np.array(CORNERS)[:, :: 1 if format == "rgb24" else -1]
    np.testing.assert_allclose(centres(image), expected, atol=3)


@pytest.mark.parametrize("colour", [None, (BT709, LIMITED), (BT601, FULL)], ids=["untold", "limited", "full"])
def test_gray_uses_the_full_range(decoders, tmp_path, colour):
    def ramp(number, width, height):
        return np.repeat(np.linspace(0, 255, width, dtype=np.uint8)[None, :, None], 3, 2).repeat(height, 0)

    path = make_clip(tmp_path / "ramp.mp4", frames=1, options={"qp": "0"}, pixel_format="yuv444p", draw=ramp)
    image = one(decoders, path, decoders.index(path), View.of(96, 64, format="gray"))
    assert image.shape == (64, 96)
    np.testing.assert_allclose(image[32], ramp(0, 96, 64)[32, :, 0], atol=2)


def test_a_colourless_view_is_the_gray_one_three_times(decoders, quarters):
    gray = View.of(96, 64, format="gray").resized(50, 40, mode="letterbox", pad=9)
    three = one(decoders, *quarters, gray.with_format("bgr24"))
    assert three.shape == (40, 50, 3)
    for channel in range(3):
        assert np.array_equal(three[:, :, channel], one(decoders, *quarters, gray))


def test_gray_is_the_luma_of_the_colours(decoders, quarters):
    gray = one(decoders, *quarters, View.of(96, 64, format="gray"))
    np.testing.assert_allclose(centres(gray), np.array(CORNERS) @ (0.299, 0.587, 0.114), atol=3)


@pytest.mark.parametrize("anchor", ["centre", "top-left"])
@pytest.mark.parametrize("format", ["bgr24", "gray"])
def test_padding_surrounds_the_content(decoders, quarters, anchor, format):
    view = View.of(96, 64, format=format).resized(60, 60, mode="letterbox", anchor=anchor, pad=77)
    x, y, width, height = view.content
    assert (width, height) == (60, 40)
    image = one(decoders, *quarters, view)
    inside = np.zeros((60, 60), bool)
    inside[y : y + height, x : x + width] = True
    assert (image[~inside] == 77).all()
    alone = one(decoders, *quarters, View.of(96, 64, format=format).resized(60, 40, mode="stretch"))
    assert np.array_equal(image[y : y + height, x : x + width], alone)


def test_padding_stays_while_slots_are_used_again(decoders, clips):
    path = clips("closed.mp4")
    view = View.of(96, 64).resized(40, 40, mode="letterbox", pad=5)
    for image in read(decoders, path, decoders.index(path), view=view).values():
        assert image is not None
        assert (image[:6] == 5).all()
        assert not (image[7:33] == 5).all()


@pytest.mark.parametrize("size", [(96, 64), (48, 32), (33, 17), (200, 120)])
def test_a_view_is_one_step_of_swscale(decoders, clips, size):
    path = clips("closed.mp4")
    index = decoders.index(path)
    found = read(decoders, path, index, [5, 30], View.of(96, 64).resized(*size, mode="stretch"))
    plain = read_plainly(path, size)
    assert np.array_equal(found[5], plain[5])
    assert np.array_equal(found[30], plain[30])


@pytest.mark.parametrize(
    ("degrees", "flips", "order"),
    [
        pytest.param(0, {}, [0, 1, 2, 3], id="as it is"),
        pytest.param(-90, {}, [2, 0, 3, 1], id="quarter turn clockwise"),
        pytest.param(180, {}, [3, 2, 1, 0], id="upside down"),
        pytest.param(90, {}, [1, 3, 0, 2], id="quarter turn counterclockwise"),
        pytest.param(0, {"hflip": True}, [1, 0, 3, 2], id="left to right"),
        pytest.param(0, {"vflip": True}, [2, 3, 0, 1], id="top to bottom"),
    ],
)
def test_pictures_are_turned_as_the_file_says(tmp_path, decoders, degrees, flips, order):
    path = make_corners(tmp_path / "turned.mp4", turned=(degrees, flips))
    index = decoders.index(path)
    shown = (index.facts.display_width, index.facts.display_height)
    assert shown == ((64, 96) if abs(degrees) == 90 else (96, 64))
    expected = [CORNERS[n] for n in order]
    for view in (View.of(*shown, format="rgb24"), View.of(*shown, format="rgb24").resized(60, 60, mode="letterbox")):
        x, y, width, height = view.content
        image = one(decoders, path, index, view)[y : y + height, x : x + width]
        np.testing.assert_allclose(centres(image), expected, atol=4)


def test_ffmpeg_turns_pictures_the_same_way(tmp_path, decoders):
    """The same matrix through FFmpeg's own autorotation, where the program is installed."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    for degrees, flips in (
        (-90, {}),
        (90, {}),
        (180, {}),
        (0, {"hflip": True}),
        (90, {"hflip": True}),
        (-90, {"vflip": True}),
    ):
        path = make_corners(tmp_path / "turned.mp4", turned=(degrees, flips))
        index = decoders.index(path)
        shown = (index.facts.display_width, index.facts.display_height)
        command = ["ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        raw = subprocess.run(command, capture_output=True, check=True).stdout
        theirs = np.frombuffer(raw, np.uint8).reshape(*shown[::-1], 3)
        ours = one(decoders, path, index, View.of(*shown, format="rgb24"))
        np.testing.assert_allclose(centres(ours), centres(theirs), atol=6)


@pytest.mark.parametrize(
    ("space", "range_", "matrix"),
    [
        pytest.param(BT709, LIMITED, (0.2126, 0.0722), id="bt709"),
        pytest.param(BT709, FULL, (0.2126, 0.0722), id="bt709 full range"),
        pytest.param(BT601, LIMITED, (0.299, 0.114), id="bt601"),
        pytest.param(BT601, FULL, (0.299, 0.114), id="bt601 full range"),
    ],
)
def test_the_colour_space_of_the_file_is_honoured(tmp_path, decoders, space, range_, matrix):
    path = tmp_path / "coloured.mp4"
    planes = (120, 90, 180)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, range_
        frame = av.VideoFrame.from_ndarray(np.stack([np.full((32, 32), v, np.uint8) for v in planes]), format="yuv444p")
        frame.colorspace, frame.color_range = space, range_
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    red, blue = matrix
    luma, cb, cr = planes
    y = (luma - 16) / 219 if range_ == LIMITED else luma / 255
    scale = 224 if range_ == LIMITED else 255
    r = y + 2 * (1 - red) * (cr - 128) / scale
    b = y + 2 * (1 - blue) * (cb - 128) / scale
    g = (y - red * r - blue * b) / (1 - red - blue)
    expected = np.clip(np.array([r, g, b]) * 255, 0, 255)
    image = one(decoders, path, decoders.index(path), View.of(32, 32, format="rgb24"))
    np.testing.assert_allclose(image[16, 16], expected, atol=3)
