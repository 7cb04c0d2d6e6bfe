"""Facts of files: what is measured and what their headers claim; what is missing of those that are cut off."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from cvpipe.errors import NoVideoStream
from cvpipe.video.facts import creation_time
from tests.video.clips import make_clip
from tests.video.test_codes import SOURCE, ffmpeg, written


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("a.mp4", "-c:v libx264 -bf 3 -x264-params b-pyramid=normal", id="h264 with lengths"),
        pytest.param("a.ts", "-c:v libx264 -bf 3 -x264-params b-pyramid=strict:slices=3", id="h264 with start codes"),
        pytest.param("b.mp4", "-c:v libx265 -x265-params log-level=none:bframes=4:pools=1", id="hevc with lengths"),
        pytest.param("b.ts", "-c:v libx265 -x265-params log-level=none:bframes=4:pools=1", id="hevc with start codes"),
        pytest.param("c.mpg", "-c:v mpeg2video -bf 2 -g 12", id="mpeg2"),
        pytest.param("d.mpg", "-c:v mpeg1video -bf 2 -g 12", id="mpeg1"),
        pytest.param("e.mp4", "-c:v mpeg4 -bf 2 -g 12", id="mpeg4"),
        pytest.param("f.avi", "-c:v libx264 -bf 3", id="h264 whose frames are counted"),
    ],
)
def test_references_are_what_a_decoder_keeps_that_leaves_out_the_others(tmp_path, decoders, name, options):
    path = ffmpeg(tmp_path / name, options)
    index = decoders.index(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        whole = [frame.pict_type for frame in container.decode(stream)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.skip_frame = "NONREF"
        kept = list(container.decode(stream))
    assert len(index) == len(whole) == 25
    assert 2 < index.reference.sum() == len(kept) < 25
    if index.facts.timing == "file":
        assert index.pts[index.reference].tolist() == [frame.pts for frame in kept]
    assert index.reference[[kind != 3 for kind in whole]].all()  # only B-pictures are none


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"), ("a.mov", "-c:v mjpeg -pix_fmt yuvj420p")],
)
def test_frames_of_other_codecs_all_count_as_references(tmp_path, decoders, name, options):
    assert decoders.index(ffmpeg(tmp_path / name, options)).reference.all()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_sizes_are_those_of_the_packets(tmp_path, decoders, name):
    path = ffmpeg(tmp_path / name, "-c:v libx264 -bf 2")
    with av.open(str(path)) as container:
        sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    index = decoders.index(path)
    assert sorted(index.size.tolist()) == sorted(sizes)
    assert index.size[0] == sizes[0]
    assert index.facts.bit_rate == sum(sizes) * 8
    assert index.facts.file_bytes == path.stat().st_size


def test_colours_have_ffmpegs_names(tmp_path, decoders):
    options = "-c:v libx264 -colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084 -color_range pc"
    facts = decoders.index(ffmpeg(tmp_path / "a.mp4", options)).facts
    assert facts.colour == {"space": "bt2020nc", "range": "pc", "primaries": "bt2020", "transfer": "smpte2084"}
    facts = decoders.index(ffmpeg(tmp_path / "b.webm", "-c:v libvpx")).facts
    assert (facts.colour["primaries"], facts.colour["transfer"]) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        pytest.param("a.mp4", "-c:v libx264", "progressive", id="progressive"),
        pytest.param("a.mp4", "-c:v libx264 -flags +ildct+ilme -x264-params tff=1", "top", id="h264 top"),
        pytest.param("a.mp4", "-c:v libx264 -flags +ildct+ilme -x264-params bff=1", "bottom", id="h264 bottom"),
        pytest.param("a.mpg", "-vf setfield=tff -c:v mpeg2video -flags +ildct+ilme", "top", id="mpeg2 top"),
        pytest.param("a.mpg", "-vf setfield=bff -c:v mpeg2video -flags +ildct+ilme", "bottom", id="mpeg2 bottom"),
    ],
)
def test_the_order_of_fields_is_measured(tmp_path, decoders, name, options, expected):
    assert decoders.index(ffmpeg(tmp_path / name, options)).facts.field_order == expected


def test_the_shape_of_pixels_is_told_and_not_applied(tmp_path, decoders):
    facts = decoders.index(ffmpeg(tmp_path / "a.mp4", "-c:v libx264 -vf setsar=16/11")).facts
    assert (facts.sample_aspect_ratio, facts.display_width) == ("16/11", 96)
    assert decoders.index(ffmpeg(tmp_path / "b.mp4", "-c:v libx264")).facts.sample_aspect_ratio == "1/1"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_the_time_of_recording_is_read_from_the_file(tmp_path, decoders, name):
    path = ffmpeg(tmp_path / name, "-c:v libx264 -metadata creation_time=2024-05-06T07:08:09Z")
    assert decoders.index(path).facts.header["creation_time"] == "2024-05-06T07:08:09Z"


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param([{"creation_time": "2024-05-06T07:08:09.000000Z"}], "2024-05-06T07:08:09Z", id="ffmpeg's"),
        pytest.param([{"creation_time": "2024-05-06T07:08:09.25Z"}], "2024-05-06T07:08:09.250000Z", id="a fraction"),
        pytest.param(
            [{"creation_time": "2024-05-06T07:08:09Z", "com.apple.quicktime.creationdate": "2024-05-06T09:08:09+0100"}],
            "2024-05-06T08:08:09Z",
            id="apple's has a zone",
        ),
        pytest.param([{}, {"creation_time": "2024-05-06T07:08:09Z"}], "2024-05-06T07:08:09Z", id="the stream's"),
        pytest.param([{"creation_time": "1904-01-01T00:00:00Z"}], None, id="quicktime's zero"),
        pytest.param([{"creation_time": "1970-01-01T00:03:00Z"}], None, id="unix's zero"),
        pytest.param([{"creation_time": "2999-01-01T00:00:00Z"}], None, id="the future"),
        pytest.param([{"creation_time": "9999-12-31T23:59:59-12:00"}], None, id="the end of time"),
        pytest.param([{"date": "2024"}], None, id="a year"),
        pytest.param([{"date": "2024-05-06"}], None, id="a day"),
        pytest.param([{"creation_time": "2024-05-06T07:08:09"}], None, id="no zone"),
        pytest.param([{"creation_time": "yesterday"}], None, id="words"),
        pytest.param([{}], None, id="nothing"),
    ],
)
def test_the_time_of_recording_makes_sense_or_is_left_out(tags, expected):
    assert creation_time(*tags) == expected


@pytest.fixture(scope="module")
def two_streams(tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "two.mkv"
    inputs = ["-f", "lavfi", "-i", SOURCE, "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2"]
    inputs += ["-f", "lavfi", "-i", "sine=duration=1"]
    options = "-map 0 -map 1 -map 2 -c:v:0 libx264 -c:v:1 mpeg4 -c:a aac -disposition:v:1 default"
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *options.split(), str(path)], check=True, timeout=60)
    return path


@pytest.mark.parametrize(("stream", "codec", "frames"), [(None, "mpeg4", 20), (0, "h264", 25), (1, "mpeg4", 20)])
def test_any_of_several_video_streams_is_indexed(decoders, two_streams, stream, codec, frames):
    index = decoders.index(two_streams, stream=stream)
    assert (index.facts.codec, len(index), index.facts.stream) == (codec, frames, 1 if stream is None else stream)
    shown = [(s["index"], s["kind"], s["codec"], s["width"], s["height"]) for s in index.facts.streams]
    assert shown == [(0, "video", "h264", 96, 64), (1, "video", "mpeg4", 64, 48), (2, "audio", "aac", 0, 0)]
    assert index.facts.streams[1]["is_default"]


@pytest.mark.parametrize("stream", [2, 7])
def test_a_stream_that_is_no_video_is_refused(decoders, two_streams, stream):
    with pytest.raises(NoVideoStream, match=f"no video stream {stream}; its video streams are: 0, 1"):
        decoders.index(two_streams, stream=stream)


def cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    # An odd number of bytes: no packet of a transport stream and no pack of a program stream ends there.
    return written(path.with_name(f"cut-{path.name}"), data[: int(len(data) * part) | 1])


@pytest.mark.parametrize(
    ("name", "options", "claimed"),
    [
        pytest.param("a.mp4", "-c:v libx264 -movflags +faststart", 50, id="mp4"),
        pytest.param("a.mov", "-c:v libx264 -movflags +faststart", 50, id="mov"),
        pytest.param("f.mp4", "-c:v libx264 -g 12 -movflags frag_keyframe+empty_moov", None, id="mp4 in fragments"),
        pytest.param("a.mkv", "-c:v libx264", 50, id="matroska"),
        pytest.param("a.webm", "-c:v libvpx", 50, id="webm"),
        pytest.param("a.avi", "-c:v mpeg4", 50, id="avi"),
        pytest.param("a.flv", "-c:v libx264", 50, id="flv"),
        pytest.param("a.ts", "-c:v libx264", None, id="mpegts"),
        pytest.param("a.m2ts", "-c:v libx264", None, id="mpegts with times"),
        pytest.param("a.mpg", "-c:v mpeg2video", None, id="mpeg"),
        pytest.param("a.ogv", "-c:v libtheora", None, id="ogg"),
    ],
)
def test_a_file_that_is_cut_off_says_what_is_missing(tmp_path, decoders, name, options, claimed):
    whole = ffmpeg(tmp_path / name, options, "testsrc2=size=96x64:rate=25:duration=2")
    assert decoders.index(whole).facts.warnings == ()
    index = decoders.index(cut(whole, 0.7))
    (warning,) = index.facts.warnings
    assert 10 < len(index) < 50
    assert warning["code"] == "media_truncated"
    assert "the file is cut off: " in warning["message"]
    assert (warning["first"], warning["start"]) == (len(index), index.facts.duration_seconds)
    if claimed:
        assert warning["frames"] == pytest.approx(claimed - len(index), abs=2)
        assert warning["stop"] == pytest.approx(2, abs=0.1)
        assert f"{warning['first'] + warning['frames']} frames" in warning["message"]


def test_a_header_that_lies_is_no_cut(tmp_path, decoders):
    data = bytearray(ffmpeg(tmp_path / "a.mkv", "-c:v libx264").read_bytes())
    at = data.index(b"\x44\x89\x88") + 3  # Duration, in milliseconds
    data[at : at + 8] = struct.pack(">d", 10_000)
    facts = decoders.index(written(tmp_path / "lies.mkv", bytes(data))).facts
    assert (facts.frames, facts.duration_seconds, facts.warnings) == (25, 1.0, ())
    assert facts.header["duration_seconds"] == 10.0


def test_what_follows_the_last_box_is_no_cut(tmp_path, decoders):
    whole = ffmpeg(tmp_path / "a.mp4", "-c:v libx264")
    padded = written(tmp_path / "padded.mp4", whole.read_bytes() + b"\0" * 1000)
    assert decoders.index(padded).facts.warnings == ()


def shown_by_ffmpeg(path: Path) -> list[int]:
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp"]
    done = subprocess.run([*command, "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=True)
    return [int(line.split(",")[0]) for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("a.ts", "-c:v libx264 -output_ts_offset 95443.2", id="times that wrap"),
        pytest.param("b.mp4", "-c:v libx264 -bf 3 -movflags +negative_cts_offsets", id="negative offsets"),
        pytest.param("c.mp4", "-c:v libx264 -output_ts_offset 3.3", id="an edit list that waits"),
        pytest.param("d.mkv", "-c:v libx264 -vf setpts=PTS+random(1)*0.01/TB -fps_mode vfr", id="uneven"),
        pytest.param("e.mp4", "-c:v libx264 -frames:v 1", id="one frame"),
    ],
)
def test_times_are_those_that_ffmpeg_shows(tmp_path, decoders, name, options):
    path = ffmpeg(tmp_path / name, options)
    index = decoders.index(path)
    expected = np.array(shown_by_ffmpeg(path))
    # Debian's FFmpeg may unwrap times the other way; what counts is the distance.
    assert (index.pts - index.pts[0]).tolist() == (expected - expected[0]).tolist()
    assert index.facts.timing == "file"


@pytest.mark.parametrize(("space", "name"), [(10, "bt2020c"), (8, "ycgco")])
def test_a_colour_space_that_can_not_be_converted_is_told_as_the_file_says_it(tmp_path, decoders, space, name):
    path = make_clip(tmp_path / "coloured.mkv", frames=1, codec="ffv1", colour=(space, 1))
    assert decoders.index(path).facts.colour["space"] == name
