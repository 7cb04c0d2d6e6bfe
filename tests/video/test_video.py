"""Any frame by number or time, against a reading of the whole video from its start by PyAV and FFmpeg alone."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cvpipe.errors import FrameDamaged, InvalidRequest, NotFound, NoVideoStream
from cvpipe.frames import View
from cvpipe.video import Decoders, Video, VideoFrame
from tests.video.clips import HEIGHT, WIDTH, make_clip, picture, x264
from tests.video.conftest import CLIPS, Clips
from tests.video.reading import read_plainly

ANY_ORDER = [41, 7, 59, 7, 0, 13, 12, -1]


@pytest.fixture
def video(clips: Clips, decoders: Decoders) -> Video:
    """60 frames, 25 a second: frame n is shown from n / 25 s on."""
    return Video(clips("closed.mp4"), decoders=decoders)


@pytest.fixture
def uneven(tmp_path: Path, decoders: Decoders) -> Video:
    """Four frames, at 0, 0.1, 0.5 and 0.6 s; the file's own times begin at 3 s."""
    path = make_clip(tmp_path / "four.mkv", options=x264(), frames=4, pts=[3000, 3100, 3500, 3600],
                     time_base=Fraction(1, 1000))  # fmt: skip
    return Video(path, decoders=decoders)


@pytest.fixture(scope="module")
def two_streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stream 0: 96x64, red is dark; stream 1: 64x48, gray that brightens."""
    path = tmp_path_factory.mktemp("streams") / "two.mkv"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream, size in zip(streams, ((96, 64), (64, 48)), strict=True):
            stream.width, stream.height, stream.pix_fmt = *size, "bgr0"
        for number in range(6):
            images = picture(number), np.full((48, 64, 3), 40 * number, np.uint8)
            for stream, image in zip(streams, images, strict=True):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="bgr0")))
        for stream in streams:
            output.mux(stream.encode(None))
    return path


def numbers(frames: list[VideoFrame]) -> list[int]:
    return [frame.number for frame in frames]


@pytest.mark.parametrize("name", CLIPS)
def test_frames_in_any_order_are_those_of_a_reading_from_the_start(name: str, clips: Clips, decoders: Decoders) -> None:
    path = clips(name)
    plain = read_plainly(path, (WIDTH, HEIGHT), "rgb24")
    video = Video(path, decoders=decoders)
    assert len(video) == len(plain)
    wanted = [number for number in ANY_ORDER if number < len(video)]
    frames = video.get_frames_at(wanted)
    assert numbers(frames) == [number % len(video) for number in wanted]
    assert [n for n, frame in zip(wanted, frames, strict=True) if not np.array_equal(frame.image, plain[n])] == []


def test_a_real_video_has_the_same_frames_anywhere(assets: Path, decoders: Decoders) -> None:
    path = assets / "videos" / "sintel-10s.mp4"
    plain = read_plainly(path, (854, 480), "rgb24")
    video = Video(path, decoders=decoders)
    assert (len(video), video.facts.duration_seconds) == (240, 10)
    for frame in [video[200], video[3], video.get_frame_played_at(5.02), video.get_frame_nearest(5.03), video[-1]]:
        assert np.array_equal(frame.image, plain[frame.number])
    assert numbers([video.get_frame_played_at(5.02), video.get_frame_nearest(5.03)]) == [120, 121]


def test_a_frame_says_what_it_is(video: Video) -> None:
    frame = video[12]
    assert (frame.number, frame.pts, frame.time, frame.duration, frame.error) == (
        12, int(video.index.pts[12]), 0.48, 0.04, None,
    )  # fmt: skip
    assert frame.image.shape == (HEIGHT, WIDTH, 3)
    assert repr(frame) == "VideoFrame(number=12, time=0.48, duration=0.04, image=uint8[64, 96, 3])"
    assert not frame.image.flags.writeable
    assert repr(video).startswith("Video('closed.mp4', VideoIndex(h264 96x64, frames=60")


def test_pictures_stay_after_the_video_is_closed(clips: Clips) -> None:
    with Video(clips("closed.mp4")) as video:
        first, again = video[0], video.get_frames_at([0, 30])[0]
    assert np.array_equal(first.image, again.image)
    assert pickle.loads(pickle.dumps(first.image)).shape == (HEIGHT, WIDTH, 3)


def test_handed_over_decoders_are_left_open(video: Video, decoders: Decoders) -> None:
    video.close()
    assert video[1].number == 1
    assert Video(video.path, decoders=decoders, index=video.index)[1].number == 1


@pytest.mark.parametrize(
    ("number", "expected"),
    [pytest.param(0, 0, id="first"), pytest.param(-1, 59, id="last"), pytest.param(-60, 0, id="first from the end")],
)
def test_negative_numbers_count_from_the_end(video: Video, number: int, expected: int) -> None:
    assert video[number].number == video.get_frame_at(number).number == expected
    assert numbers(video.get_frames_at([np.int64(number)])) == [expected]


def test_frames_that_are_repeated_come_repeatedly(video: Video) -> None:
    frames = video.get_frames_at([5, 3, 5])
    assert numbers(frames) == [5, 3, 5]
    assert frames[0] is frames[2]
    assert video.get_frames_at([]) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param((10, 14), [10, 11, 12, 13], id="range"),
        pytest.param((10, 20, 4), [10, 14, 18], id="with steps"),
        pytest.param((-3, 60), [57, 58, 59], id="to the end"),
        pytest.param((7, 7), [], id="empty"),
        pytest.param((60, 60), [], id="empty at the end"),
        pytest.param((9, 4), [], id="backwards is empty"),
    ],
)
def test_ranges(video: Video, arguments: tuple[int, ...], expected: list[int]) -> None:
    assert numbers(video.get_frames_in_range(*arguments)) == expected
    assert numbers(list(video.frames(*arguments))) == expected


def test_slices_are_those_of_a_list(video: Video) -> None:
    assert numbers(video[55:]) == [55, 56, 57, 58, 59]
    assert numbers(video[::-20]) == [59, 39, 19]
    assert numbers(video[58:1000]) == [58, 59]
    assert numbers(list(video)) == list(range(60))


@pytest.mark.parametrize(
    ("seconds", "played", "nearest"),
    [
        pytest.param(0, 0, 0, id="start"),
        pytest.param(0.099, 0, 1, id="just before one"),
        pytest.param(0.1, 1, 1, id="when one begins"),
        pytest.param(0.3, 1, 1, id="in the middle of two"),
        pytest.param(0.31, 1, 2, id="nearer to the later one"),
        pytest.param(0.499999, 1, 2, id="a microsecond before"),
        pytest.param(0.4999999, 2, 2, id="less than a microsecond before"),
        pytest.param(0.6, 3, 3, id="the last one"),
    ],
)
def test_times_between_frames(uneven: Video, seconds: float, played: int, nearest: int) -> None:
    assert uneven.index.times.tolist() == [0, 0.1, 0.5, 0.6]
    assert uneven.get_frame_played_at(seconds).number == played
    assert uneven.get_frame_nearest(seconds).number == nearest


def test_several_times_at_once_come_in_their_order(uneven: Video) -> None:
    assert numbers(uneven.get_frames_played_at([0.55, 0.0, 0.55, 0.11])) == [2, 0, 2, 1]


@pytest.mark.parametrize(("seconds", "expected"), [(-5, 0), (1e9, 3)])
def test_the_nearest_frame_is_there_for_any_time(uneven: Video, seconds: float, expected: int) -> None:
    assert uneven.get_frame_nearest(seconds).number == expected


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        pytest.param(0, 0.1, [0], id="up to the next"),
        pytest.param(0.05, 0.1, [0], id="within one"),
        pytest.param(0.3, 0.55, [1, 2], id="the first began before"),
        pytest.param(0.1, 0.1, [], id="empty"),
        pytest.param(0.2, 0.2, [], id="empty within one"),
        pytest.param(0.1, 0.6, [1, 2], id="the stop is not in it"),
    ],
)
def test_what_is_shown_in_a_range_of_time(uneven: Video, start: float, stop: float, expected: list[int]) -> None:
    assert numbers(uneven.get_frames_played_in_range(start, stop)) == expected


def test_all_times_up_to_the_end_are_a_range(video: Video) -> None:
    assert numbers(video.get_frames_played_in_range(2.3, video.facts.duration_seconds)) == [57, 58, 59]


def test_durations_lead_to_the_next_frame(uneven: Video) -> None:
    assert [frame.duration for frame in uneven][:3] == [0.1, 0.4, 0.1]


@pytest.mark.parametrize(
    ("method", "arguments", "error", "message"),
    [
        pytest.param(
            "get_frame_at", (60,), NotFound, "there is no frame 60: the video has 60 frames, 0 to 59", id="60"
        ),
        pytest.param("get_frame_at", (-61,), NotFound, "there is no frame -61", id="-61"),
        pytest.param("get_frames_at", ([3, 99],), NotFound, "there is no frame 99", id="one of several"),
        pytest.param("get_frames_in_range", (0, 61), NotFound, "there is no frame 61", id="range"),
        pytest.param("get_frames_in_range", (0, 9, 0), InvalidRequest, "step: must be at least 1, not 0", id="step"),
        pytest.param("get_frame_played_at", (-0.1,), NotFound, "the video is from 0 to 2.4 s", id="before the start"),
        pytest.param("get_frame_played_at", (2.4,), NotFound, "nothing is shown at 2.4 s", id="at the end"),
        pytest.param("get_frame_played_at", (float("nan"),), InvalidRequest, "not nan", id="nan"),
        pytest.param("get_frame_nearest", (float("inf"),), InvalidRequest, "not inf", id="infinite"),
        pytest.param("get_frames_played_in_range", (1, 3), NotFound, "nothing is shown at 3 s", id="past the end"),
        pytest.param("get_frames_played_in_range", (1, 0.5), InvalidRequest, "before it begins at 1 s", id="reversed"),
    ],
)
def test_what_is_not_there_is_told(video, method, arguments, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        getattr(video, method)(*arguments)


def test_a_number_is_no_fraction(video: Video) -> None:
    with pytest.raises(TypeError):
        video.get_frame_at(1.5)  # type: ignore[arg-type]


def test_views_shape_what_comes(video: Video) -> None:
    small = video.view.resized(48, 32, mode="stretch")
    frames = video.get_frames_at([30, 2], view=small)
    assert [frame.image.shape for frame in frames] == [(32, 48, 3), (32, 48, 3)]
    assert video.get_frame_at(2, view=video.view.with_format("gray")).image.shape == (64, 96)
    assert np.array_equal(frames[1].image, video.get_frame_played_at(0.1, view=small).image)
    assert View.of(WIDTH, HEIGHT, format="rgb24") == video.view


@pytest.mark.parametrize(
    ("stream", "size", "expected"),
    [
        pytest.param(0, (96, 64), picture, id="the first"),
        pytest.param(1, (64, 48), lambda n: np.full((48, 64, 3), 40 * n, np.uint8), id="the second"),
    ],
)
def test_any_video_stream_of_a_file(two_streams, decoders, stream, size, expected) -> None:  # type: ignore[no-untyped-def]
    video = Video(two_streams, decoders=decoders, stream=stream)
    assert (video.facts.stream, video.view.source, len(video)) == (stream, size, 6)
    for number in (5, 0, 3):
        assert np.array_equal(video[number].image, expected(number))


def test_a_stream_that_is_not_there(two_streams: Path, decoders: Decoders) -> None:
    with pytest.raises(NoVideoStream):
        Video(two_streams, decoders=decoders, stream=2)
    index = decoders.index(two_streams, stream=1)
    with pytest.raises(InvalidRequest, match="the index is of stream 1, not 0"):
        Video(two_streams, decoders=decoders, index=index, stream=0)


def test_a_file_that_is_not_there(decoders: Decoders) -> None:
    with pytest.raises(NotFound, match=r"there is no file 'nope\.mp4'"):
        Video("nope.mp4", decoders=decoders)


@pytest.fixture
def damaged(tmp_path: Path, decoders: Decoders) -> Video:
    """MJPEG in AVI, whose sixth picture is overwritten."""
    path = make_clip(tmp_path / "damaged.avi", **CLIPS["mjpeg.avi"], frames=10)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][5]
        place, size = packet.pos, packet.size
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * size)
    return Video(path, decoders=decoders)


def test_a_damaged_frame_comes_with_its_error_among_good_ones(damaged: Video) -> None:
    frames = damaged.get_frames_in_range(4, 7)
    assert [frame.error is None for frame in frames] == [True, False, True]
    assert (frames[1].number, frames[1].time) == (5, 0.2)
    with pytest.raises(FrameDamaged, match=r"frame 5 \(0\.2 s\) can't be decoded: "):
        _ = frames[1].image
    assert "error=" in repr(frames[1])
