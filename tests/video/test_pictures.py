"""Pictures, thumbnails and contact sheets as the bytes of files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cvpipe.errors import FrameDamaged, InvalidRequest, NotFound
from cvpipe.video import Decoders, Video, VideoIndex
from cvpipe.video.pictures import encode_picture, render_picture, render_thumbnail
from cvpipe.video.sheet import clock, render_sheet, sheet_numbers
from tests.video.clips import make_clip, x264
from tests.video.conftest import CLIPS, Clips

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG"
_BITS = 6


def striped(number: int, width: int, height: int) -> np.ndarray:
    """A picture that tells its number: a stripe for each bit, from left to right."""
    bits = [number >> bit & 1 for bit in range(_BITS)]
    stripes = np.repeat(np.array(bits, np.uint8) * 255, -(-width // _BITS))[:width]
    return np.broadcast_to(stripes[None, :, None], (height, width, 3)).copy()


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory, decoders: Decoders) -> tuple[Path, VideoIndex]:
    """60 frames of 160x96, each of which tells its number."""
    path = make_clip(tmp_path_factory.mktemp("stripes") / "stripes.mp4", options=x264(), size=(160, 96), draw=striped)
    return path, decoders.index(path)


def decoded(data: bytes) -> np.ndarray:
    """The picture in a file, RGB."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def number_of(tile: np.ndarray) -> int:
    """Which frame of `stripes` a tile shows, from its upper third, away from the time."""
    columns = np.array_split(tile[: tile.shape[0] // 3, :, 1], _BITS, axis=1)
    return sum((float(np.median(column)) > 128) << bit for bit, column in enumerate(columns))


@pytest.mark.parametrize("number", [0, 17, -1])
def test_a_png_holds_the_frame_bit_for_bit(number: int, clips: Clips, decoders: Decoders) -> None:
    path = clips("open.mp4")
    video = Video(path, decoders=decoders)
    data = render_picture(decoders, path, video.index, number, format="png")
    assert data.startswith(PNG)
    assert np.array_equal(decoded(data), video[number].image)


def test_a_jpeg_is_near_the_frame(clips: Clips, decoders: Decoders) -> None:
    path = clips("closed.mp4")
    video = Video(path, decoders=decoders)
    fine, coarse = (render_picture(decoders, path, video.index, 9, quality=quality) for quality in (95, 30))
    assert fine.startswith(JPEG)
    assert len(coarse) < len(fine) / 2
    assert np.abs(decoded(fine).astype(int) - video[9].image).mean() < 12  # sharp colours lose in 4:2:0


@pytest.mark.parametrize(
    ("width", "size"),
    [
        pytest.param(48, (32, 48), id="half"),
        pytest.param(50, (33, 50), id="rounded"),
        pytest.param(1, (1, 1), id="smallest"),
        pytest.param(96, (64, 96), id="its own"),
        pytest.param(4000, (64, 96), id="never enlarged"),
    ],
)
def test_the_height_follows_the_width(width, size, clips: Clips, decoders: Decoders) -> None:  # type: ignore[no-untyped-def]
    path = clips("closed.mp4")
    data = render_picture(decoders, path, decoders.index(path), 3, width=width, format="png")
    assert decoded(data).shape[:2] == size


def test_a_turned_video_gives_upright_pictures(tmp_path: Path, decoders: Decoders) -> None:
    path = make_clip(tmp_path / "turned.mp4", options=x264(), frames=3, turned=(90, {}))
    index = decoders.index(path)
    assert decoded(render_picture(decoders, path, index, 0, format="png")).shape == (96, 64, 3)
    assert decoded(render_sheet(decoders, path, index, columns=3, rows=1, width=320, format="png")).shape[0] > 140


@pytest.mark.parametrize(
    ("number", "width", "error"),
    [
        pytest.param(60, None, NotFound, id="no such frame"),
        pytest.param(0, 0, InvalidRequest, id="no width"),
        pytest.param(0, 8193, InvalidRequest, id="too wide"),
    ],
)
def test_a_picture_that_can_not_be_made(number, width, error, clips: Clips, decoders: Decoders) -> None:  # type: ignore[no-untyped-def]
    path = clips("closed.mp4")
    with pytest.raises(error):
        render_picture(decoders, path, decoders.index(path), number, width=width)


def test_a_picture_too_large_for_its_format_is_refused() -> None:
    assert encode_picture(np.zeros((2, 3), np.uint8), format="png").startswith(PNG)
    with pytest.raises(InvalidRequest, match="70000x1 pixels can't be a jpg file"):
        encode_picture(np.zeros((1, 70_000, 3), np.uint8), format="jpg")


@pytest.fixture
def damaged(tmp_path: Path, decoders: Decoders) -> tuple[Path, VideoIndex]:
    """Ten pictures of MJPEG; those up to the second are overwritten."""
    import av

    path = make_clip(tmp_path / "damaged.avi", **CLIPS["mjpeg.avi"], frames=10)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        for place, size in places[1:3]:
            file.seek(place)
            file.write(b"\0" * size)
    return path, decoders.index(path)


def test_a_damaged_frame_has_no_picture_but_its_sheet_and_thumbnail(
    damaged: tuple[Path, VideoIndex], decoders: Decoders
) -> None:
    path, index = damaged
    with pytest.raises(FrameDamaged, match=r"frame 1 \(0\.04 s\) can't be decoded"):
        render_picture(decoders, path, index, 1)
    good = Video(path, decoders=decoders)[0].image
    thumbnail = decoded(render_thumbnail(decoders, path, index))  # frame 1 would be a tenth into it
    assert thumbnail.shape == good.shape
    assert np.abs(thumbnail.astype(int) - good).mean() < 12
    told: list[int] = []
    sheet = decoded(
        render_sheet(decoders, path, index, columns=10, rows=1, width=1044, format="png", on_damaged=told.append)
    )
    assert told == [1, 2]
    tiles = [sheet[4:30, 4 + 104 * n : 104 + 104 * n] for n in range(10)]
    assert [bool((tile[:8, 30:70] == (60, 30, 30)).all()) for tile in tiles] == [False, True, True, *[False] * 7]


def test_a_thumbnail_is_a_tenth_into_the_video(stripes: tuple[Path, VideoIndex], decoders: Decoders) -> None:
    data = render_thumbnail(decoders, *stripes, width=80)
    assert data.startswith(JPEG)
    assert (decoded(data).shape, number_of(decoded(data))) == ((48, 80, 3), 6)


@pytest.mark.parametrize(
    ("columns", "rows", "width", "format"),
    [
        pytest.param(6, 4, 1920, "jpg", id="as it is made without being asked"),
        pytest.param(4, 2, 644, "png", id="png"),
        pytest.param(1, 3, 100, "jpg", id="one column"),
        pytest.param(5, 1, 521, "jpg", id="cells of a fraction of a pixel"),
    ],
)
def test_tiles_show_the_frames_in_the_middle_of_equal_spans(  # type: ignore[no-untyped-def]
    columns, rows, width, format, stripes: tuple[Path, VideoIndex], decoders: Decoders
) -> None:
    data = render_sheet(decoders, *stripes, columns=columns, rows=rows, width=width, format=format)
    assert data.startswith(PNG if format == "png" else JPEG)
    sheet = decoded(data)
    cell = (width - 4 * (columns + 1)) // columns
    height = round(96 * cell / 160)
    assert sheet.shape == (rows * (height + 4) + 4, width, 3)
    places = [(4 + row * (height + 4), 4 + column * (cell + 4)) for row in range(rows) for column in range(columns)]
    seen = [number_of(sheet[y : y + height, x : x + cell]) for y, x in places]
    # 60 frames of equal length: the middle of span k of n lies in frame (k + 1/2) 60 / n.
    assert seen == [int((k + 0.5) * 60 / (columns * rows)) for k in range(columns * rows)]


def test_each_tile_has_its_time_in_its_corner(stripes: tuple[Path, VideoIndex], decoders: Decoders) -> None:
    sheet = decoded(render_sheet(decoders, *stripes, columns=2, rows=1, width=652, format="png"))
    for left in (4, 328):
        corner = sheet[-30:-4, left : left + 60]
        assert corner.max() > 200  # white letters
        assert np.median(corner) < 70  # on a dark chip
    assert not np.array_equal(sheet[-30:-4, 4:64] > 200, sheet[-30:-4, 328:388] > 200)  # two different times


def test_a_short_video_has_a_small_sheet(tmp_path: Path, decoders: Decoders) -> None:
    path = make_clip(tmp_path / "three.mp4", options=x264(), frames=3)
    index = decoders.index(path)
    assert sheet_numbers(index, 24) == [0, 1, 2]
    sheet = decoded(render_sheet(decoders, path, index, width=400, format="png"))
    assert sheet.shape == (8 + round(64 * 128 / 96), 400, 3)


def test_frames_that_last_long_come_once(tmp_path: Path, decoders: Decoders) -> None:
    path = make_clip(tmp_path / "slow.mp4", options=x264(), frames=6, pts=[0, 1, 2, 3, 4, 100])
    assert sheet_numbers(decoders.index(path), 4) == [4]
    assert sheet_numbers(decoders.index(path), 6) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"columns": 0}, "columns: must be from 1 to 20, not 0", id="no columns"),
        pytest.param({"columns": 21}, "columns: must be from 1 to 20", id="many columns"),
        pytest.param({"rows": 51}, "rows: must be from 1 to 50", id="many rows"),
        pytest.param({"width": 9000}, "width: must be from 1 to 8192", id="wide"),
        pytest.param({"width": 100}, "width: must be at least 220 pixels for 6 columns, not 100", id="narrow"),
        pytest.param({"columns": 1, "rows": 50, "width": 8192}, "ask for a smaller `width`", id="large"),
    ],
)
def test_sheets_that_are_refused(options, message, stripes: tuple[Path, VideoIndex], decoders: Decoders) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidRequest, match=message):
        render_sheet(decoders, *stripes, **options)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00.0"),
        (59.94, "0:59.9"),
        (59.96, "1:00.0"),
        (83.25, "1:23.2"),
        (3600, "1:00:00.0"),
        (45296.78, "12:34:56.8"),
    ],
)
def test_times_as_people_write_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
