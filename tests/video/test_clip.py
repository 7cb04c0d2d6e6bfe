"""Parts of videos as files of their own: their frames and times are the source's, whether copied or encoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cvpipe.errors import InvalidRequest
from cvpipe.video import Decoders, Video
from cvpipe.video.clip import clip_range, make_clip
from tests.video import clips as drawn
from tests.video.clips import x264
from tests.video.conftest import CLIPS, Clips


def cut(decoders: Decoders, path: Path, start: float, stop: float | None, folder: Path) -> tuple[str, Video, Video]:
    """How the clip was made, the clip, and the source."""
    source = Video(path, decoders=decoders)
    out = folder / "clip.mp4"
    how = make_clip(decoders, path, source.index, start, stop, out)
    assert [file.name for file in folder.glob("*clip*")] == ["clip.mp4"]  # nothing half-made is left
    return how, Video(out, decoders=decoders), source


def times_of(clip: Video, first: int, source: Video) -> tuple[list[float], list[float]]:
    """Times of the clip's frames, and those that they have in the source, moved to 0."""
    wanted = source.index.times[first : first + len(clip)] - source.index.times[first]
    return clip.index.times.tolist(), wanted.round(6).tolist()


def same(clip: Video, first: int, source: Video) -> list[int]:
    """Numbers of frames of the clip that are not, bit for bit, those of the source."""
    pairs = zip(clip.frames(), source.frames(first, first + len(clip)), strict=True)
    return [a.number for a, b in pairs if not np.array_equal(a.image, b.image)]


def nearest_source(clip: Video, source: Video) -> list[int]:
    """For each frame of an encoded clip, which frame of the source it looks like most."""
    size = (source.view.height, source.view.width)
    pictures = np.stack([frame.image for frame in source.frames()]).astype(np.int16)
    made = [frame.image[: size[0], : size[1]].astype(np.int16) for frame in clip.frames()]
    return [int(np.abs(pictures - image).mean(axis=(1, 2, 3)).argmin()) for image in made]


def overwrite_packet(path: Path, number: int) -> None:
    """Put zeros where the packet of a frame is."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        place, size = packet.pos, packet.size
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * size)


@pytest.mark.parametrize(
    "name",
    [
        "closed.mp4", "fragments.mp4", "ten-bit.mp4", "one-key.mp4", "vp9.webm", "mpeg4.avi", "mjpeg.avi", "open.ts",
        "open.mkv", "open.mp4", "uneven.mp4", "hevc-open.ts",
    ],
)  # fmt: skip
def test_a_whole_video_is_copied_exactly(name: str, clips: Clips, decoders: Decoders, tmp_path: Path) -> None:
    how, clip, source = cut(decoders, clips(name), 0, None, tmp_path)
    assert (how, len(clip)) == ("copied", len(source))
    assert same(clip, 0, source) == []
    made, wanted = times_of(clip, 0, source)
    assert made == wanted


@pytest.mark.parametrize(
    ("name", "start", "stop", "first", "end", "expected"),
    [
        pytest.param("closed.mp4", 0.48, 1.44, 12, 36, "copied", id="mp4, keyframe to keyframe"),
        pytest.param("closed.mp4", 0.96, None, 24, 60, "copied", id="mp4, keyframe to the end"),
        pytest.param("closed.mp4", 0.5, 1.44, 13, 36, "encoded", id="mp4, begins at no keyframe"),
        pytest.param("closed.mp4", 0.48, 1.0, 12, 25, "copied", id="mp4, ends with its keyframe"),
        pytest.param("open.ts", 0.48, 0.96, 12, 24, "encoded", id="ts, open group"),
        pytest.param("open.mkv", 0.5, 1.0, 13, 25, "encoded", id="mkv, open group"),
        pytest.param("hevc-open.ts", 0.5, 1.0, 13, 25, "encoded", id="hevc, open group"),
        pytest.param("vp9.webm", 0.5, 1.0, 13, 25, "encoded", id="webm vp9"),
        pytest.param("vp8-hidden.webm", 0, 1.0, 0, 25, "encoded", id="vp8 does not go into mp4"),
        pytest.param("intra-refresh.mp4", 0.48, 0.96, 12, 24, "encoded", id="flagged keyframes are none"),
        pytest.param("mpeg2.mpg", 0.1, 0.5, 3, 13, "encoded", id="mpeg2"),
        pytest.param("mjpeg.avi", 0.2, 0.4, 5, 10, "copied", id="all are keyframes"),
        pytest.param("b-frames.avi", 0.48, 0.96, 12, 24, "encoded", id="times were made up"),
    ],
)
def test_a_part_holds_just_its_frames(  # type: ignore[no-untyped-def]
    name, start, stop, first, end, expected, clips: Clips, decoders: Decoders, tmp_path: Path
) -> None:
    how, clip, source = cut(decoders, clips(name), start, stop, tmp_path)
    assert (how, len(clip)) == (expected, end - first)
    made, wanted = times_of(clip, first, source)
    assert made == pytest.approx(wanted, abs=2e-5)
    if how == "copied":
        assert same(clip, first, source) == []
    assert nearest_source(clip, source) == list(range(first, end))


def test_all_beginnings_and_ends_of_open_groups(clips: Clips, decoders: Decoders, tmp_path: Path) -> None:
    """A leading picture of an open group belongs to the group before it, and is no frame of the clip's own."""
    source = Video(clips("open.mp4"), decoders=decoders)
    times = source.index.times
    for first, end in [(9, 24), (11, 13), (12, 24), (12, 23), (24, 25)]:
        out = tmp_path / f"{first}-{end}.mp4"
        make_clip(decoders, source.path, source.index, float(times[first]), float(times[end]), out)
        assert nearest_source(Video(out, decoders=decoders), source) == list(range(first, end))


def test_uneven_times_stay(clips: Clips, decoders: Decoders, tmp_path: Path) -> None:
    path = clips("uneven.mp4")
    times = Video(path, decoders=decoders).index.times
    for folder, first in (("copied", 12), ("encoded", 7)):
        (tmp_path / folder).mkdir()
        how, clip, source = cut(decoders, path, float(times[first]), float(times[48]), tmp_path / folder)
        assert how == folder
        made, wanted = times_of(clip, first, source)
        assert len(set(np.diff(wanted).round(6))) > 5
        assert made == pytest.approx(wanted, abs=1e-5)
        assert nearest_source(clip, source) == list(range(first, first + len(clip)))


@pytest.mark.parametrize(
    ("start", "expected"), [pytest.param(0.48, "copied", id="copied"), pytest.param(0.52, "encoded", id="encoded")]
)
@pytest.mark.parametrize(
    "turned",
    [
        pytest.param((90, {}), id="turned"),
        pytest.param((180, {}), id="upside down"),
        pytest.param((0, {"hflip": True}), id="mirrored"),
    ],
)
def test_the_displayed_orientation_stays(  # type: ignore[no-untyped-def]
    turned, start: float, expected: str, decoders: Decoders, tmp_path: Path
) -> None:
    path = drawn.make_clip(tmp_path / "source.mp4", options=x264(), frames=36, turned=turned)
    how, clip, source = cut(decoders, path, start, 1, tmp_path)
    assert (how, clip.view.source) == (expected, source.view.source)
    first = round(start * 25)
    assert nearest_source(clip, source) == list(range(first, 25))


def test_an_odd_size_is_copied_as_it_is_and_encoded_with_one_pixel_more(decoders: Decoders, tmp_path: Path) -> None:
    path = drawn.make_clip(tmp_path / "odd.mkv", options=x264(), frames=24, size=(95, 63), pixel_format="yuv444p")
    how, clip, source = cut(decoders, path, 0.48, None, tmp_path)
    assert (how, clip.view.source, same(clip, 12, source)) == ("copied", (95, 63), [])
    how, clip, source = cut(decoders, path, 0.52, None, tmp_path)
    assert (how, clip.view.source) == ("encoded", (96, 64))
    assert nearest_source(clip, source) == list(range(13, 24))


@pytest.mark.parametrize("name", ["closed.mp4", "open.ts", "hevc-open.ts"])
def test_ffmpeg_reads_a_copied_clip_from_its_start(name: str, clips: Clips, decoders: Decoders, tmp_path: Path) -> None:
    how, clip, _ = cut(decoders, clips(name), 0, 0.96 if name == "closed.mp4" else None, tmp_path)
    assert how == "copied"
    with av.open(str(clip.path)) as container:
        assert container.format.name.startswith("mov")
        assert [stream.type for stream in container.streams] == ["video"]
        frames = list(container.decode(video=0))
    assert len(frames) == len(clip)
    assert frames[0].time == pytest.approx(float(clip.index.pts[0] * Fraction(clip.facts.time_base)))
    data = clip.path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # it plays while it is loaded


def test_a_damaged_frame_is_copied_as_it_is(decoders: Decoders, tmp_path: Path) -> None:
    path = drawn.make_clip(tmp_path / "damaged.avi", **CLIPS["mjpeg.avi"], frames=10)
    overwrite_packet(path, 5)
    how, clip, source = cut(decoders, path, 0.1, None, tmp_path)
    assert (how, [frame.number for frame in source if frame.error]) == ("copied", [5])
    assert [frame.number for frame in clip if frame.error] == [2]
    assert clip.index.times.tolist() == [0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24]


@pytest.mark.parametrize(
    ("bad", "start", "how", "told", "shown"),
    [
        pytest.param([5], 0.1, "copied", [5], [3, 4, None, 6, 7, 8, 9], id="within: copied"),
        pytest.param([3, 4], 0.1, "encoded", [3, 4], [5, 5, 5, 6, 7, 8, 9], id="first: the first whole one"),
        pytest.param([2], 0.1, "copied", [], [3, 4, 5, 6, 7, 8, 9], id="before it"),
        pytest.param([9], 0.3, "copied", [9], [8, None], id="last"),
    ],
)
def test_damaged_frames_of_a_clip_are_told(  # type: ignore[no-untyped-def]
    bad, start, how, told, shown, decoders: Decoders, tmp_path: Path
) -> None:
    path = drawn.make_clip(tmp_path / "damaged.avi", **CLIPS["mjpeg.avi"], frames=10)
    for number in reversed(bad):
        overwrite_packet(path, number)
    source, found = Video(path, decoders=decoders), []
    made = make_clip(decoders, path, source.index, start, None, tmp_path / "clip.mp4", on_damaged=found.append)
    assert (made, found) == (how, told)
    good = [drawn.picture(n).astype(int) for n in range(10)]
    seen = [
        None if frame.error else int(np.argmin([np.abs(p - frame.image).mean() for p in good]))
        for frame in Video(tmp_path / "clip.mp4", decoders=decoders)
    ]
    assert seen == shown


def test_a_clip_of_damaged_frames_alone_is_black_and_tells_all_of_them(decoders: Decoders, tmp_path: Path) -> None:
    path, told = drawn.make_clip(tmp_path / "damaged.avi", **CLIPS["mjpeg.avi"], frames=10), []
    overwrite_packet(path, 3)
    index = decoders.index(path)
    make_clip(decoders, path, index, 0.12, 0.16, tmp_path / "clip.mp4", on_damaged=told.append)
    (frame,) = Video(tmp_path / "clip.mp4", decoders=decoders)
    assert (told, int(frame.image.max()) < 4) == ([3], True)


def test_where_it_is_encoded_a_damaged_frame_shows_the_one_before_it(decoders: Decoders, tmp_path: Path) -> None:
    path = drawn.make_clip(tmp_path / "damaged.mov", codec="prores_ks", pixel_format="yuv422p10le", frames=10)
    overwrite_packet(path, 5)
    how, clip, source = cut(decoders, path, 0.1, None, tmp_path)
    assert (how, [frame.number for frame in source if frame.error]) == ("encoded", [5])
    good = [drawn.picture(n).astype(int) for n in range(10)]
    assert [int(np.argmin([np.abs(p - frame.image).mean() for p in good])) for frame in clip] == [3, 4, 4, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        pytest.param(0, None, (0, 60), id="all"),
        pytest.param(0.04, 0.08, (1, 2), id="one frame"),
        pytest.param(0.05, 0.081, (2, 3), id="between frames"),
        pytest.param(2.36, 99, (59, 60), id="past the end"),
    ],
)
def test_the_frames_of_a_part(start, stop, expected, clips: Clips, decoders: Decoders) -> None:  # type: ignore[no-untyped-def]
    assert clip_range(decoders.index(clips("closed.mp4")), start, stop) == expected


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [
        pytest.param(2.4, None, "from: no frame begins from 2.4 s on; the video lasts 2.4 s", id="at the end"),
        pytest.param(0.041, 0.079, "no frame begins from 0.041 to 0.079 s", id="within one frame"),
        pytest.param(1, 0.5, "no frame begins from 1 to 0.5 s", id="reversed"),
    ],
)
def test_a_part_without_frames_is_refused(  # type: ignore[no-untyped-def]
    start, stop, message, clips: Clips, decoders: Decoders, tmp_path: Path
) -> None:
    path = clips("closed.mp4")
    with pytest.raises(InvalidRequest, match=message):
        make_clip(decoders, path, decoders.index(path), start, stop, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_progress_may_stop_it_and_nothing_is_left(clips: Clips, decoders: Decoders, tmp_path: Path) -> None:
    path, told = clips("closed.mp4"), []

    def on_progress(done: int, total: int) -> None:
        told.append((done, total))
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        make_clip(decoders, path, decoders.index(path), 0.5, 1, tmp_path / "clip.mp4", on_progress=on_progress)
    assert told == [(1, 12), (2, 12), (3, 12)]
    assert list(tmp_path.iterdir()) == []
