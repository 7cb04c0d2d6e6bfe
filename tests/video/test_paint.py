"""The pixels of views."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from cvpipe.frames import Filter, View
from cvpipe.lens import Lens
from cvpipe.video.filters import make_filter
from tests.video.clips import make_clip
from tests.video.reading import read

BT709, BT601, BT2020, BT2020_CONSTANT, YCGCO, FULL, LIMITED = 1, 6, 9, 10, 8, 2, 1
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


def by_ffmpeg(path, size, format="rgb24", *, shown=None):
    """The first frame as the ffmpeg program makes it: as it is, or scaled (averaging areas where it gets smaller)."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    kind = "area" if size[0] < 96 else "bilinear"
    scaling = [] if shown is None else ["-vf", f"scale={size[0]}:{size[1]}:flags={kind},format={format}"]
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        path,
        "-frames:v",
        "1",
        *scaling,
        "-f",
        "rawvideo",
        "-pix_fmt",
        format,
        "-",
    ]
    raw = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    return raw.reshape(size[1], size[0]) if format == "gray" else raw.reshape(size[1], size[0], 3)


COLOURED = [
    pytest.param("yuv420p", "libx264", None, id="h264 untold"),
    pytest.param("yuv420p", "libx264", (BT709, LIMITED), id="h264 bt709"),
    pytest.param("yuv420p", "libx264", (BT601, FULL), id="h264 bt601 full"),
    pytest.param("yuv420p", "ffv1", (BT2020, LIMITED), id="ffv1 bt2020"),
    pytest.param("yuv420p", "ffv1", (BT2020_CONSTANT, LIMITED), id="bt2020 with constant luminance"),
    pytest.param("yuv420p", "ffv1", (YCGCO, LIMITED), id="a space that is not known"),
    pytest.param("yuv422p", "libx264", (BT709, FULL), id="h264 4:2:2 bt709 full"),
    pytest.param("yuv444p", "libx264", (BT601, LIMITED), id="h264 4:4:4 bt601"),
    pytest.param("yuv420p10le", "libx264", (BT2020, LIMITED), id="h264 10 bit bt2020"),
    pytest.param("yuv422p10le", "ffv1", (BT709, LIMITED), id="ffv1 10 bit 4:2:2"),
    pytest.param("yuv444p10le", "libx265", (BT709, FULL), id="hevc 10 bit 4:4:4 full"),
    pytest.param("yuvj420p", "mjpeg", None, id="mjpeg"),
    pytest.param("gray", "ffv1", None, id="ffv1 gray"),
    pytest.param("gbrp10le", "ffv1", None, id="ffv1 rgb"),
]


@pytest.mark.parametrize(("pixel_format", "codec", "colour"), COLOURED)
def test_pixels_are_those_of_the_ffmpeg_program(tmp_path, decoders, pixel_format, codec, colour):
    size = (96, 64) if codec.startswith("libx26") else (97, 65)
    options = {"qp": "0"} if codec == "libx264" else {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = tmp_path / "coloured.mkv"
    make_clip(path, frames=1, codec=codec, options=options, pixel_format=pixel_format, colour=colour, size=size)
    index = decoders.index(path)
    full = View.of(*size, format="rgb24")
    for view in (full, full.resized(33, 18, mode="stretch"), full.resized(120, 100, mode="stretch")):
        wanted = (view.width, view.height)
        expected = by_ffmpeg(path, wanted, shown=None if view is full else wanted)
        assert np.array_equal(one(decoders, path, index, view), expected), wanted
        gray = one(decoders, path, index, view.with_format("gray"))
        expected = by_ffmpeg(path, wanted, "gray", shown=wanted)
        # The last bit of stretching limited to full range differs from one version of FFmpeg to another.
        np.testing.assert_allclose(gray.astype(int), expected, atol=1)
    assert np.array_equal(one(decoders, path, index, full.with_format("bgr24")), by_ffmpeg(path, size, "bgr24"))


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


def full_of(decoders, path, index, format="rgb24"):
    return one(decoders, path, index, View.of(index.facts.display_width, index.facts.display_height, format=format))


REGIONS = [(0, 0, 40, 30), (31, 17, 20, 24), (33, 20, 63, 45), (95, 64, 1, 1), (0, 10, 97, 11)]


@pytest.mark.parametrize(
    ("pixel_format", "codec", "size", "turned"),
    [
        pytest.param("yuv420p", "ffv1", (97, 65), None, id="odd size"),
        pytest.param("yuv420p10le", "libx264", (128, 96), None, id="10 bit"),
        pytest.param("yuvj420p", "mjpeg", (128, 96), None, id="mjpeg"),
        pytest.param("yuv420p", "libx264", (128, 98), (-90, {}), id="quarter turn clockwise"),
        pytest.param("yuv420p", "libx264", (128, 98), (180, {}), id="upside down"),
        pytest.param("yuv422p", "libx264", (128, 98), (90, {"vflip": True}), id="turned and mirrored"),
        pytest.param("yuv420p", "libx264", (128, 98), (0, {"hflip": True}), id="mirrored"),
    ],
)
def test_a_region_at_its_own_size_is_cut_from_the_whole_picture(tmp_path, decoders, pixel_format, codec, size, turned):
    path = tmp_path / ("cut.mkv" if turned is None else "cut.mp4")
    make_clip(path, frames=1, codec=codec, pixel_format=pixel_format, size=size, turned=turned)
    index = decoders.index(path)
    shown = (index.facts.display_width, index.facts.display_height)
    assert shown == (size[::-1] if turned and abs(turned[0]) == 90 else size)
    for colours in ("rgb24", "gray"):
        whole = full_of(decoders, path, index, colours)
        for x, y, width, height in REGIONS:
            view = View.of(*shown, format=colours).cropped(x, y, width, height)
            x, y, width, height = view.region
            cut = one(decoders, path, index, view)
            assert np.array_equal(cut, whole[y : y + height, x : x + width]), view.region


def smooth(number, width, height):
    """Waves 48 pixels long: half a pixel is up to four grey levels."""
    y, x = np.mgrid[:height, :width] + 0.5
    waves = [np.sin(x * np.pi / 24), np.sin(y * np.pi / 24), np.sin((x + y) * np.pi / 34)]
    return np.stack([128 + 60 * wave for wave in waves], axis=-1).round().astype(np.uint8)


def looked_up(whole, view):
    """What a view must show of the whole picture, by its own `to_source`; and which pixels are off its border."""
    height, width = whole.shape[:2]
    middles = np.stack(np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5), axis=-1)
    x, y = np.moveaxis(view.to_source(middles), -1, 0)
    inside = (x > 4) & (x < width - 4) & (y > 4) & (y < height - 4)
    return cv2.remap(whole, x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), inside


def unlike(found, expected):
    """How far grey pictures lie apart, in grey levels."""
    return np.abs(found.astype(float) - expected).mean()


@pytest.mark.parametrize("turned", [None, (-90, {}), (90, {"hflip": True})], ids=["as it is", "turned", "and mirrored"])
@pytest.mark.parametrize("region", [(0, 0, 80, 60), (33, 21, 81, 63), (41, 30, 38, 51)])
def test_a_resized_region_shows_what_lies_there(tmp_path, decoders, region, turned):
    path = make_clip(
        tmp_path / "smooth.mp4", frames=1, size=(160, 128), options={"qp": "1"}, draw=smooth, turned=turned
    )
    index = decoders.index(path)
    shown = (index.facts.display_width, index.facts.display_height)
    # Grey, because swscale gives small RGB pictures half the colours across.
    whole = full_of(decoders, path, index, "gray")
    for size in ((24, 20), (200, 160)):
        view = View.of(*shown, format="gray").cropped(*region).resized(*size, mode="stretch")
        found = one(decoders, path, index, view)
        expected, _ = looked_up(whole, view)
        assert unlike(found, expected) < 1


def test_an_odd_cut_does_not_move_the_colours(tmp_path, decoders):
    """Two colours of one brightness meet at x = 80: enlarged from an odd place, they still meet where they do."""

    def halves(number, width, height):
        image = np.zeros((height, width, 3), np.uint8)
        image[:, : width // 2], image[:, width // 2 :] = (200, 60, 60), (60, 131, 60)
        return image

    path = make_clip(tmp_path / "halves.mp4", frames=1, size=(160, 128), options={"qp": "0"}, draw=halves)
    index = decoders.index(path)
    meets = []
    for left in (60, 61, 62, 63):
        view = View.of(160, 128, format="rgb24").cropped(left, 30, 40, 40).resized(640, 640, mode="stretch")
        row = one(decoders, path, index, view)[320, :, 0].astype(int)
        meets.append(float(view.to_source(np.array([np.argmin(np.abs(row - 130)), 320.0]))[0]))
    assert max(meets) - min(meets) < 0.2
    assert meets[0] == pytest.approx(80, abs=1)


def test_a_picture_with_colours_of_its_own_space_has_its_planes(decoders, quarters):
    whole = View.of(96, 64, format="hsv")
    hsv = one(decoders, *quarters, whole)
    assert np.array_equal(hsv, cv2.cvtColor(one(decoders, *quarters, View.of(96, 64)), cv2.COLOR_BGR2HSV))
    np.testing.assert_allclose(np.array(centres(hsv))[:, 0], [178, 65, 116, 28], atol=2)
    hue = replace(whole, plane=0)
    assert np.array_equal(one(decoders, *quarters, hue), hsv[:, :, 0])
    three = one(decoders, *quarters, hue.with_format("bgr24"))
    assert np.array_equal(three, np.repeat(hsv[:, :, :1], 3, axis=2))
    blue = one(decoders, *quarters, replace(View.of(96, 64, format="bgr24"), plane=0))
    np.testing.assert_allclose(centres(blue), np.array(CORNERS)[:, 2], atol=3)


def test_filters_work_on_the_resized_picture_in_the_order_written(decoders, quarters):
    small = View.of(96, 64).resized(50, 50, mode="letterbox", pad=9)
    x, y, width, height = small.content
    plain = one(decoders, *quarters, small)[y : y + height, x : x + width]
    done = one(decoders, *quarters, small.filtered(Filter("gamma", (0.5,)), Filter("median", (5,))))
    expected = cv2.medianBlur(make_filter(Filter("gamma", (0.5,)))(plain), 5)
    assert np.array_equal(done[y : y + height, x : x + width], expected)
    assert (done[:y] == 9).all()
    gray = one(decoders, *quarters, small.with_format("gray").filtered(Filter("equalise")))
    assert gray[y : y + height].min() == 0
    assert gray[y : y + height].max() == 255


def test_what_lies_outside_of_the_polygons_is_padding(decoders, clips):
    path = clips("closed.mp4")
    index = decoders.index(path)
    view = replace(
        View.of(96, 64), polygons=(((10, 10), (50, 10), (50, 40), (10, 40)), ((90, 50), (96, 50), (96, 64))), pad=7
    )
    mask = np.zeros((64, 96), bool)
    mask[10:40, 10:50] = True
    plain = read(decoders, path, index)
    for number, image in read(decoders, path, index, view=view).items():
        assert np.array_equal(image[mask], plain[number][mask])
        assert (image[:50][~mask[:50]] == 7).all()
        assert (image[50:, :90] == 7).all()
        assert not (image[51:58, 93:] == 7).all(axis=-1).any()
    boxed = view.resized(48, 48, mode="letterbox", pad=3)
    image = one(decoders, path, index, boxed)
    shown = ~(image == 3).all(axis=-1)
    assert np.argwhere(shown[:, :30]).min(axis=0).tolist() == [8 + 5, 5]
    assert np.argwhere(shown[:, :30]).max(axis=0).tolist() == [8 + 19, 24]
    half = one(decoders, path, index, view.with_format("gray").cropped(0, 0, 96, 40).resized(48, 20, mode="stretch"))
    assert (half[:5] == 7).all()
    assert (half[5:20, 25:] == 7).all()
    assert not (half[5:20, 5:25] == 7).all()


LENS = Lens(fx=110, fy=112, cx=77.5, cy=66, coefficients=(-0.2, 0.04, 0.001, -0.001, 0))


def test_a_straightened_view_shows_what_the_lens_recorded_elsewhere(tmp_path, decoders):
    path = make_clip(tmp_path / "smooth.mp4", frames=1, size=(160, 128), options={"qp": "1"}, draw=smooth)
    index = decoders.index(path)
    whole = full_of(decoders, path, index)
    straight = replace(View.of(160, 128, format="rgb24"), lens=LENS)
    camera = np.array([[LENS.fx, 0, LENS.cx], [0, LENS.fy, LENS.cy], [0, 0, 1]])
    expected = cv2.undistort(whole, camera, np.array(LENS.coefficients))
    found = one(decoders, path, index, straight)
    recorded = (LENS.distort(np.stack(np.meshgrid(np.arange(160) + 0.5, np.arange(128) + 0.5), -1)) - (80, 64)) / (
        80,
        64,
    )
    inside = (np.abs(recorded) < 0.97).all(axis=-1)
    assert inside.mean() > 0.9
    assert np.array_equal(found[inside], expected[inside])
    for view in (
        straight.resized(70, 50, mode="stretch"),
        straight.cropped(31, 20, 90, 71).resized(200, 150, mode="stretch"),
    ):
        image = one(decoders, path, index, view.with_format("gray"))
        expected, shown = looked_up(full_of(decoders, path, index, "gray"), view)
        assert unlike(image[shown], expected[shown]) < 1


def test_what_a_lens_did_not_record_is_padding(decoders, quarters):
    pincushion = Lens(fx=60, fy=60, cx=48, cy=32, coefficients=(0.3, 0, 0, 0, 0))
    image = one(decoders, *quarters, replace(View.of(96, 64, format="rgb24"), lens=pincushion, pad=3))
    assert (image[:4, :4] == 3).all()
    np.testing.assert_allclose(centres(image), CORNERS, atol=3)


def test_polygons_under_a_lens_are_those_of_the_recorded_frame(tmp_path, decoders):
    path = make_clip(tmp_path / "smooth.mp4", frames=1, size=(160, 128), draw=smooth)
    index = decoders.index(path)
    view = replace(
        View.of(160, 128, format="gray"), lens=LENS, polygons=(((20, 20), (140, 20), (140, 110), (20, 110)),), pad=0
    )
    image = one(decoders, path, index, view)
    x, y = np.moveaxis(LENS.distort(np.stack(np.meshgrid(np.arange(160) + 0.5, np.arange(128) + 0.5), -1)), -1, 0)
    inside = (x > 20) & (x < 140) & (y > 20) & (y < 110)
    assert ((image > 0) == inside).mean() > 0.998


def test_views_of_one_frame_do_not_disturb_each_other(decoders, clips):
    path = clips("closed.mp4")
    index = decoders.index(path)
    base = View.of(96, 64)
    views = [
        base,
        base.cropped(11, 9, 50, 40),
        base.with_format("gray"),
        replace(base, lens=Lens(fx=90, fy=90, cx=48, cy=32, coefficients=(-0.1, 0, 0, 0, 0))),
        base.filtered(Filter("clahe", (2, 4))),
        replace(base, format="lab"),
    ]
    alone = [read(decoders, path, index, view=view) for view in views]
    with decoders.read(path, index, np.arange(len(index)), views) as frames:
        for frame in frames:
            for image, expected in zip(frame.images, alone, strict=True):
                assert np.array_equal(image, expected[frame.number])
            frame.release()


def test_decoder_processes_can_do_all_that_a_view_may_ask_for(decoders, quarters):
    plain = View.of(96, 64)
    filters = [
        *(Filter("clahe", (2, 8)), Filter("equalise"), Filter("gamma", (0.5,)), Filter("median", (5,))),
        *(Filter("gaussian", (1.5,)), Filter("bilateral", (5, 25, 2)), Filter("nlm", (3,))),
    ]
    path, index = quarters
    with decoders.read(path, index, [0], [plain, *(plain.filtered(one) for one in filters)]) as frames:
        for frame in frames:
            for done, wanted in zip(frame.images[1:], filters, strict=True):
                assert np.array_equal(done, make_filter(wanted)(frame.images[0])), wanted
            frame.release()


def test_a_frame_of_another_size_shows_the_same_part(tmp_path, decoders):
    """A stream that changes from 160x128 to 80x64 in the middle."""
    path = tmp_path / "changes.ts"
    parts = [
        make_clip(
            tmp_path / f"{n}.ts", frames=4, size=size, options={"qp": "1", "g": "1"}, draw=draw, container="mpegts"
        )
        for n, (size, draw) in enumerate(
            [((160, 128), smooth), ((80, 64), lambda n, w, h: smooth(n, 160, 128)[::2, ::2])]
        )
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    index = decoders.index(path)
    view = View.of(160, 128, format="gray").cropped(33, 21, 80, 60)
    lens = replace(View.of(160, 128, format="gray"), lens=LENS).resized(80, 64, mode="stretch")
    shown = {}
    with decoders.read(path, index, np.arange(len(index)), [view, lens]) as frames:
        for frame in frames:
            if frame.images is not None:
                shown[frame.number] = [image.copy() for image in frame.images]
            frame.release()
    assert len(shown) >= 6
    for images in shown.values():
        for image, first in zip(images, shown[0], strict=True):
            assert unlike(image[2:-2, 2:-2], first[2:-2, 2:-2]) < 6
