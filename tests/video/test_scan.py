"""The index as measured on files, good and bad."""

from __future__ import annotations

import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cvpipe.errors import (
    CodecNotAllowed,
    DecoderCrashed,
    FormatNotAllowed,
    MediaTruncated,
    MediaUnreadable,
    NotFound,
    NoVideoStream,
    TooManyFrames,
    TooManyPixels,
    TooMuchMemory,
)
from cvpipe.video import Decoders, Limits
from tests.video.clips import make_clip, picture, x264
from tests.video.corpus import make_video
from tests.video.reading import read


@pytest.mark.parametrize(
    ("name", "size", "frames", "seconds", "keyframes"),
    [
        ("car-detection.mp4", (768, 432), 377, 30.16, 7),
        ("one-by-one-person-detection.mp4", (768, 432), 1394, 139.4, 140),
        ("sintel-10s.mp4", (854, 480), 240, 10.0, 1),
    ],
)
def test_facts_of_real_videos(assets, decoders, name, size, frames, seconds, keyframes):
    index = decoders.index(assets / "videos" / name)
    facts = index.facts
    assert (facts.container, facts.codec, facts.pixel_format, facts.rotation) == ("mp4", "h264", "yuv420p", 0)
    assert (facts.display_width, facts.display_height) == size
    assert facts.frames == len(index) == facts.header["frames"] == frames
    assert facts.duration_seconds == seconds
    assert facts.fps == pytest.approx(frames / seconds)
    assert index.keyframe.sum() == keyframes


@pytest.mark.parametrize(
    ("name", "container", "codec", "keys"),
    [
        ("closed.mp4", "mp4", "h264", [0, 12, 24, 36, 48]),
        ("open.mkv", "matroska", "h264", [0, 12, 24, 36, 48]),
        ("hevc-open.ts", "mpegts", "hevc", [0, 12, 24, 36, 48]),
        ("mpeg2.mpg", "mpeg", "mpeg2video", [0, 12, 24, 36, 48, 59]),
        pytest.param("vp8-hidden.webm", "matroska", "vp8", [0, 12, 24, 36, 48], id="hidden frames are no frames"),
        pytest.param("intra-refresh.mp4", "mp4", "h264", [0], id="a refresh that takes time is no keyframe"),
        pytest.param("b-frames.avi", "avi", "h264", [0], id="no times: only the start"),
    ],
)
def test_frames_and_keyframes(clips, decoders, name, container, codec, keys):
    index = decoders.index(clips(name))
    assert (index.facts.container, index.facts.codec) == (container, codec)
    assert len(index) == 60
    assert np.flatnonzero(index.keyframe).tolist() == keys
    np.testing.assert_allclose(index.times, np.arange(60) / 25, atol=0.001)
    assert index.facts.duration_seconds == pytest.approx(2.4, abs=0.002)
    assert index.facts.timing == ("counted" if name == "b-frames.avi" else "file")


def test_uneven_times_are_kept(clips, decoders):
    index = decoders.index(clips("uneven.mp4"))
    expected = [n * 40 + (n * n * 7) % 31 for n in range(60)]
    np.testing.assert_allclose(index.times, np.array(expected) / 1000)


@pytest.mark.parametrize(
    ("degrees", "flips", "rotation", "mirrored"),
    [
        pytest.param(0, {}, 0, False, id="as it is"),
        pytest.param(-90, {}, 90, False, id="quarter turn clockwise"),
        pytest.param(180, {}, 180, False, id="upside down"),
        pytest.param(90, {}, 270, False, id="quarter turn counterclockwise"),
        pytest.param(0, {"hflip": True}, 0, True, id="left to right"),
        pytest.param(0, {"vflip": True}, 180, True, id="top to bottom"),
    ],
)
def test_rotation_is_clockwise_and_turns_the_displayed_size(tmp_path, decoders, degrees, flips, rotation, mirrored):
    facts = decoders.index(make_clip(tmp_path / "turned.mp4", frames=2, turned=(degrees, flips))).facts
    assert (facts.rotation, facts.mirrored, facts.width, facts.height) == (rotation, mirrored, 96, 64)
    assert (facts.display_width, facts.display_height) == ((64, 96) if rotation % 180 else (96, 64))


def test_frames_cut_off_by_an_edit_list_do_not_count(tmp_path, clips, decoders):
    cut = tmp_path / "cut.mp4"
    with av.open(str(clips("closed.mp4"))) as source, av.open(str(cut), "w") as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                packet.pts -= 5 * 512  # the five frames before zero are to be decoded, not shown
                packet.dts -= 5 * 512
                output.mux(packet)
    index = decoders.index(cut)
    assert len(index) == len(read_shown(cut)) < 60
    assert index.pts.tolist() == read_shown(cut)


def read_shown(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0)]


def test_a_recording_that_begins_in_the_middle_begins_at_its_first_keyframe(tmp_path, clips, decoders):
    data = clips("open.ts").read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    late = tmp_path / "late.ts"
    late.write_bytes(b"".join(packets[:3] + packets[20:]))
    index = decoders.index(late)
    assert 0 < len(index) < 60
    assert index.keyframe[0]


def test_times_that_jump_back_are_counted_instead(tmp_path, clips, decoders):
    once = clips("open.ts").read_bytes()
    twice = tmp_path / "twice.ts"
    twice.write_bytes(once + once)
    index = decoders.index(twice)
    assert index.facts.timing == "counted"
    assert 110 < len(index) <= 120
    assert np.flatnonzero(index.keyframe).tolist() == [0]


def test_a_cover_picture_is_not_the_video(tmp_path, clips, decoders):
    covered = tmp_path / "covered.mp4"
    with av.open(str(clips("closed.mp4"))) as source, av.open(str(covered), "w") as output:
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        copy = output.add_stream_from_template(source.streams.video[0])
        image = av.VideoFrame.from_ndarray(picture(0, 640, 480), format="rgb24").reformat(format="yuvj420p")
        output.mux(cover.encode(image))
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)
    facts = decoders.index(covered).facts
    assert (facts.codec, facts.width, facts.frames) == ("h264", 96, 60)


CONCAT = "ffconcat version 1.0\nfile {victim}\n"
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{victim}\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>{victim}</BaseURL></Period></MPD>'
)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param("just a text\n" * 100, MediaUnreadable, id="text"),
        pytest.param("", MediaUnreadable, id="empty"),
        pytest.param("\0" * 5000, MediaUnreadable, id="zeros"),
        pytest.param(CONCAT, FormatNotAllowed, id="ffconcat script"),
        pytest.param(PLAYLIST, (FormatNotAllowed, MediaUnreadable), id="hls playlist"),
        pytest.param(DASH, (FormatNotAllowed, MediaUnreadable), id="dash manifest"),
    ],
)
def test_what_only_calls_itself_mp4_is_refused(tmp_path, clips, decoders, content, error):
    fake = tmp_path / "fake.mp4"
    fake.write_text(content.format(victim=clips("closed.mp4")))
    with pytest.raises(error):
        decoders.index(fake)


def test_a_file_without_video_is_unreadable(tmp_path, decoders):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(NoVideoStream, match="no video stream"):
        decoders.index(path)


def test_a_codec_outside_the_list_is_unsupported(tmp_path, decoders):
    make_clip(tmp_path / "raw.avi", codec="rawvideo", frames=3)
    with pytest.raises(CodecNotAllowed, match="rawvideo"):
        decoders.index(tmp_path / "raw.avi")


def test_a_file_cut_short_has_the_frames_that_are_left(tmp_path, clips, decoders):
    whole = make_clip(tmp_path / "whole.mp4", options=x264(), container_options={"movflags": "+faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    index = decoders.index(cut)
    assert 20 < len(index) < 60
    assert index.facts.header["frames"] == 60


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="wants Debian's ffmpeg to make and count the video")
@pytest.mark.parametrize("name", ["closed.mp4", "hevc.mp4", "mpeg4.mp4", "mjpeg.mov", "mpeg4.avi"])
@pytest.mark.parametrize(("packet", "part"), [(30, 0.5), (33, 0.9)])
def test_a_packet_in_which_the_file_ends_is_no_frame(tmp_path, decoders, name, packet, part):
    made, whole = make_video(tmp_path, name), tmp_path / f"whole{Path(name).suffix}"
    command = ["ffmpeg", "-v", "error", "-i", str(made), "-c", "copy", "-movflags", "+faststart", str(whole)]
    subprocess.run(command, check=True, timeout=60)
    with av.open(str(whole)) as container:
        at = [(p.pos, p.size) for p in container.demux(video=0) if p.size][packet]
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(whole.read_bytes()[: at[0] + int(at[1] * part)])
    index = decoders.index(cut)
    assert len(index) == packet
    (warning,) = index.facts.warnings
    assert (warning["code"], warning["first"], warning["frames"]) == ("media_truncated", packet, 60 - packet)
    # One gap, of what is missing: every frame that is there is whole.
    assert [number for number, image in read(decoders, cut, index).items() if image is None] == []
    if index.facts.codec in ("h264", "hevc"):  # of others FFmpeg shows the picture as far as it goes
        command = [
            "ffprobe",
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "csv=p=0",
        ]
        said = subprocess.run([*command, str(cut)], check=True, capture_output=True, text=True, timeout=60).stdout
        assert int(said) == packet


def test_the_length_of_an_even_number_of_uneven_steps(tmp_path, decoders):
    # Steps of 10, 10, 20 and 20 ms: the last frame is shown for the larger of the two in the middle.
    pts = [0, 10, 20, 40, 60]
    path = make_clip(tmp_path / "uneven.mkv", options=x264(), frames=5, pts=pts, time_base=Fraction(1, 1000))
    assert decoders.index(path).facts.duration_seconds == 0.08


def test_a_file_cut_before_its_table_is_truncated(tmp_path, clips, decoders):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clips("closed.mp4").read_bytes()[:5000])
    with pytest.raises(MediaTruncated, match="no tables"):
        decoders.index(cut)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("huge.mp4", {}, id="mp4"),
        pytest.param("huge.ts", {}, id="mpegts"),
        pytest.param("huge.avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}, id="mjpeg"),
        pytest.param("huge.mpg", {"codec": "mpeg2video"}, id="mpeg2"),
    ],
)
def test_a_picture_larger_than_allowed_is_refused(tmp_path, name, options):
    path = make_clip(tmp_path / name, frames=1, size=(2048, 1024), draw=black, **options)
    with Decoders(limits=Limits(max_pixels=2048 * 1024 - 1)) as strict, pytest.raises(TooManyPixels, match="2048x1024"):
        strict.index(path)
    with Decoders(limits=Limits(max_pixels=2048 * 1024)) as exact:
        assert exact.index(path).facts.width == 2048


def black(number: int, width: int, height: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def test_more_frames_than_allowed_are_refused(clips):
    with Decoders(limits=Limits(max_frames=59)) as strict, pytest.raises(TooManyFrames, match="59 frames"):
        strict.index(clips("closed.mp4"))


def test_more_memory_than_allowed_is_refused(clips):
    # A process without memory can't always say so: with some versions of Python it ends by a signal.
    with (
        Decoders(limits=Limits(memory_bytes=20 * 2**20)) as strict,
        pytest.raises((TooMuchMemory, DecoderCrashed), match=r"memory|ended by SIG"),
    ):
        strict.index(clips("closed.mp4"))


def test_a_file_that_is_not_there_is_not_found(tmp_path, decoders):
    with pytest.raises(NotFound, match="gone.mp4"):
        decoders.index(tmp_path / "gone.mp4")


def test_only_regular_files_are_read(tmp_path, decoders):
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it for reading waits until someone writes
    for path in (tmp_path / "pipe.mp4", tmp_path, Path("/dev/zero")):
        with pytest.raises(MediaUnreadable, match="regular file"):
            decoders.index(path)


def test_one_frame_is_a_video(tmp_path, decoders):
    index = decoders.index(make_clip(tmp_path / "still.mp4", frames=1, time_base=Fraction(1, 10)))
    assert (len(index), index.times.tolist(), index.facts.duration_seconds) == (1, [0.0], pytest.approx(0.1, rel=0.7))
