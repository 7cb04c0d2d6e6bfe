"""`cvpipe video`: a file looked into, from the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cvpipe.api.problems import TYPES
from cvpipe.cli.output import whole_file
from cvpipe.errors import VideoError
from cvpipe.video import Decoders, Limits, Video
from tests.cli.conftest import Cvpipe
from tests.video.reading import children


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoders]:
    with Decoders() as decoders:
        yield decoders


@pytest.fixture(autouse=True)
def _one_fork_server(shared: Decoders, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The commands' decoders come from one process, which takes a second to start; each has its own limits still."""

    def opened(*, limits: Limits) -> nullcontext[Decoders]:
        shared.limits = limits
        return nullcontext(shared)

    if "own_fork_server" not in request.fixturenames:
        monkeypatch.setattr("cvpipe.video.Decoders", opened)


@pytest.fixture
def own_fork_server() -> None:
    """The command starts and ends its decoders itself, as it does for a user."""


@pytest.fixture(scope="module")
def two_streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stream 0: 96x64 black; stream 1: 64x48 that brightens; 5 frames each."""
    path = tmp_path_factory.mktemp("streams") / "two.mkv"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream, size in zip(streams, ((96, 64), (64, 48)), strict=True):
            stream.width, stream.height, stream.pix_fmt = *size, "bgr0"
        for number in range(5):
            for stream, level in zip(streams, (0, 50 * number), strict=True):
                image = np.full((stream.height, stream.width, 3), level, np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="bgr0")))
        for stream in streams:
            output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def frames(clip: Path) -> list[np.ndarray]:
    """All frames of `clip`, RGB, by the `ffmpeg` program."""
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(clip), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    return list(np.frombuffer(raw, np.uint8).reshape(-1, 64, 96, 3))


def read_png(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1]


def test_probe_shows_what_is_measured_beside_what_is_claimed(cvpipe: Cvpipe, clip: Path) -> None:
    done = cvpipe("video", "probe", clip)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "clip.mp4: mp4, h264 yuv420p, stream 0"
    table = {line[:12].strip(): re.split(r"  +", line[14:].strip()) for line in lines[2:] if line}
    assert table[""] == ["MEASURED", "CLAIMED"]
    assert table["frames"] == ["20", "20"]
    assert table["duration"] == ["2 s", "2 s"]
    assert table["frame rate"] == ["10 /s, even", "10 /s"]
    assert table["keyframes"] == ["2, every 10 frames", "-"]
    assert table["shown as"] == ["96x64", "-"]


def test_probe_tells_of_uneven_times_turns_and_streams(cvpipe: Cvpipe, two_streams: Path, tmp_path: Path) -> None:
    out = cvpipe("video", "probe", two_streams, "--stream", 1).out
    assert "two.mkv: matroska, ffv1 bgr0, stream 1\n" in out
    assert re.search(r"^1 +video +ffv1 +64x48 +this one", out, re.MULTILINE)
    path = tmp_path / "turned.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        stream.set_display_rotation(90)
        for pts in (0, 1, 2, 7):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
            frame.pts = pts
            output.mux(stream.encode(frame.reformat(format="yuvj420p")))
        output.mux(stream.encode(None))
    out = cvpipe("video", "probe", path).out
    assert "64x96, turned by 270 degrees" in out
    assert "uneven: 0.1 to 0.5 s a frame" in out
    assert "4, every frame" in out


def test_probe_for_programs_has_all_facts(cvpipe: Cvpipe, clip: Path) -> None:
    facts = cvpipe("video", "probe", clip, "--json").json
    assert (facts["frames"], facts["fps"], facts["header"]["frames"], facts["stream"]) == (20, 10.0, 20, 0)
    assert (facts["keyframes"], facts["frame_seconds"]) == (2, {"shortest": 0.1, "longest": 0.1})
    with Video(clip) as video:
        assert facts.items() >= json.loads(json.dumps(video.facts.to_dict())).items()


def test_probe_warns_of_a_file_that_is_cut_off(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(clip), "-c", "copy", "-movflags", "+faststart", str(whole)],
        check=True, timeout=60,
    )  # fmt: skip
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 9 // 10])
    assert re.search(r"^warning: .+ \(media_truncated\)$", cvpipe("video", "probe", cut).out, re.MULTILINE)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Ten pictures of MJPEG, 25 a second; 3 and 4 are overwritten, and 7."""
    path = tmp_path / "damaged.avi"
    source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=0.4"]
    command = ["ffmpeg", "-v", "error", *source, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", str(path)]
    subprocess.run(command, check=True, timeout=60)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        for number in (3, 4, 7):
            file.seek(places[number][0])
            file.write(b"\0" * places[number][1])
    return path


INSTEAD = "the frame before is shown instead, at the beginning the first whole one (frames_damaged)\n"


@pytest.mark.parametrize(
    ("words", "told", "count"),
    [
        pytest.param(
            ["clip", "--from", "0.1", "-o", "c.mp4"],
            f"warning: 3 frames are damaged, the first is frame 3 at 0.12 s; {INSTEAD}", 3,
            id="clip that begins at one",
        ),
        pytest.param(
            ["clip", "--from", "0.2", "-o", "c.mp4"],
            "warning: frame 7 at 0.28 s is damaged; copied as it is in the file (frames_damaged)\n", 1, id="copied",
        ),
        pytest.param(["clip", "--from", "0.32", "-o", "c.mp4"], "", 0, id="clip of whole ones"),
        pytest.param(
            ["sheet", "--columns", "5", "--rows", "1", "--width", "320", "-o", "s.jpg"],
            "warning: 2 frames are damaged, the first is frame 3 at 0.12 s; dark red on the sheet (frames_damaged)\n",
            2, id="sheet",
        ),
        pytest.param(
            ["normalise", "--fps", "25", "--to", "0.2", "-o", "n.mp4"],
            f"warning: 2 frames are damaged, the first is frame 3 at 0.12 s; {INSTEAD}", 2, id="normalise",
        ),
    ],
)  # fmt: skip
def test_damaged_frames_are_told_in_one_line(  # type: ignore[no-untyped-def]
    words, told, count, cvpipe: Cvpipe, damaged: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cvpipe("video", words[0], damaged, *words[1:])
    assert (done.code, done.err) == (0, told)
    assert cvpipe("video", words[0], damaged, *words[1:], "--json").json["damaged"] == count


def test_a_damaged_frame_is_no_picture(cvpipe: Cvpipe, damaged: Path, tmp_path: Path) -> None:
    done = cvpipe("video", "frame", damaged, "-n", 3, "-o", tmp_path / "f.png", "--json")
    assert (done.code, done.problem["type"]) == (2, "frame_damaged")
    assert not (tmp_path / "f.png").exists()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["index"], id="index"),
        pytest.param(["frame", "-n", "0", "-o", "f.png"], id="frame"),
        pytest.param(["clip", "-o", "c.mp4"], id="clip"),
        pytest.param(["sheet", "-o", "s.png"], id="sheet"),
        pytest.param(["normalise", "--fps", "10", "-o", "n.mp4"], id="normalise"),
    ],
)
def test_each_command_tells_of_a_file_that_is_cut_off(
    words: list[str], cvpipe: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-c", "copy", "-movflags", "+faststart", "whole.mp4"]
    subprocess.run(command, check=True, timeout=60)
    data = Path("whole.mp4").read_bytes()
    Path("cut.mp4").write_bytes(data[: len(data) * 8 // 10])
    done = cvpipe("video", words[0], "cut.mp4", *words[1:])
    assert done.code == 0
    assert re.fullmatch(r"warning: the file is cut off: .+ \(media_truncated\)\n", done.err)


def test_a_normalised_part_begins_at_the_time_asked_for(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    # Frames begin every 100 ms: at 1.05 s frame 10 is shown.
    out = tmp_path / "n.mp4"
    cvpipe("video", "normalise", clip, "--fps", 10, "--from", 1.05, "--to", 1.35, "--out", out)
    lines = [json.loads(line) for line in (tmp_path / "n.map.ndjson").read_text().splitlines()]
    assert [(line["time"], line["source"]) for line in lines] == [(0, 10), (0.1, 11), (0.2, 12)]


def test_index_lists_every_frame(cvpipe: Cvpipe, clip: Path) -> None:
    lines = cvpipe("video", "index", clip).out.splitlines()
    assert lines[0].split() == ["NUMBER", "PTS", "TIME", "BYTES", "KIND"]
    assert [line.split()[0] for line in lines[1:]] == [str(number) for number in range(20)]
    assert [line.split()[2] for line in lines[1:4]] == ["0.000000", "0.100000", "0.200000"]
    assert [n for n, line in enumerate(lines[1:]) if line.endswith("keyframe")] == [0, 10]


def test_index_for_programs_is_a_line_of_json_for_each_frame(cvpipe: Cvpipe, clip: Path) -> None:
    rows = [json.loads(line) for line in cvpipe("video", "index", clip, "--json").out.splitlines()]
    with av.open(str(clip)) as container:
        packets = sorted(
            (packet.pts, packet.size, packet.is_keyframe) for packet in container.demux(video=0) if packet.size
        )
    assert [(row["pts"], row["bytes"], row["keyframe"]) for row in rows] == packets
    assert [row["number"] for row in rows] == list(range(20))
    assert rows[3]["time"] == 0.3
    assert all(row["reference"] for row in rows if row["keyframe"])


@pytest.mark.usefixtures("own_fork_server")
def test_a_command_leaves_no_process_behind(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    before = children(os.getpid())
    assert cvpipe("video", "frame", clip, "-n", 0, "-o", tmp_path / "f.png").code == 0
    assert set(children(os.getpid())) <= set(before)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        pytest.param(["--number", "13"], 13, id="number"),
        pytest.param(["-n", "-1"], 19, id="from the end"),
        pytest.param(["--time", "1.29"], 12, id="shown at a time"),
        pytest.param(["--nearest", "1.29"], 13, id="nearest to a time"),
        pytest.param(["--time", "0"], 0, id="the first"),
    ],
)
def test_a_png_is_what_the_reader_and_ffmpeg_give(
    words: list[str], number: int, cvpipe: Cvpipe, clip: Path, frames: list[np.ndarray], tmp_path: Path
) -> None:
    out = tmp_path / "f.png"
    done = cvpipe("video", "frame", clip, *words, "--out", out)
    assert done.out == f"{out}: frame {number} at {number / 10:g} s, 96x64\n"
    with Video(clip) as video:
        assert np.array_equal(read_png(out), video[number].image)
    assert np.array_equal(read_png(out), frames[number])


def test_a_frame_can_be_small_and_a_jpeg(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.JPG"
    done = cvpipe("video", "frame", clip, "-n", 7, "-o", out, "--width", 48, "--json")
    assert done.json == {
        "saved": str(out), "number": 7, "pts": 7168, "time": 0.7, "duration": 0.1, "width": 48, "height": 32,
    }  # fmt: skip
    assert out.read_bytes().startswith(b"\xff\xd8\xff")
    assert read_png(out).shape == (32, 48, 3)


def test_any_stream_can_be_named(cvpipe: Cvpipe, two_streams: Path, tmp_path: Path) -> None:
    stream = ["--stream", 1]
    cvpipe("video", "frame", two_streams, "-n", 4, "-o", tmp_path / "f.png", *stream)
    assert np.array_equal(read_png(tmp_path / "f.png"), np.full((48, 64, 3), 200, np.uint8))
    cvpipe(
        "video", "sheet", two_streams, "-o", tmp_path / "s.png", "--width", 340, "--columns", 5, "--rows", 1, *stream
    )
    assert read_png(tmp_path / "s.png")[10, 4 + 67 * 4 + 30].tolist() == [200, 200, 200]
    cvpipe("video", "clip", two_streams, "-o", tmp_path / "c.mp4", *stream)
    assert cvpipe("video", "probe", tmp_path / "c.mp4", "--json").json["width"] == 64
    cvpipe("video", "normalise", two_streams, "--fps", 5, "-o", tmp_path / "n.mp4", *stream)
    assert cvpipe("video", "probe", tmp_path / "n.mp4", "--json").json["width"] == 64
    assert cvpipe("video", "index", two_streams, *stream).out.count("\n") == 6


@pytest.mark.parametrize(
    ("words", "first", "end", "told"),
    [
        pytest.param([], 0, 20, "frames 0 to 19, 0 to 2 s, copied", id="all"),
        pytest.param(["--from", "1"], 10, 20, "frames 10 to 19, 1 to 2 s, copied", id="from a keyframe"),
        pytest.param(
            ["--from", "0.35", "--to", "0.8"], 4, 8,
            "frames 4 to 7, 0.4 to 0.8 s, encoded anew: 0.4 s is at no keyframe, the nearest one is at 0 s",
            id="between",
        ),
    ],
)  # fmt: skip
def test_a_clip_says_what_it_holds_and_how_it_was_made(  # type: ignore[no-untyped-def]
    words, first, end, told, cvpipe: Cvpipe, clip: Path, frames: list[np.ndarray], tmp_path: Path
) -> None:
    out = tmp_path / "c.mp4"
    done = cvpipe("video", "clip", clip, *words, "--out", out)
    assert (done.out, done.err) == (f"{out}: {told}\n", "")
    with Video(out) as video:
        seen = [frame.image.astype(int) for frame in video]
        assert video.index.times.tolist() == pytest.approx([n / 10 for n in range(end - first)])
    nearest = [int(np.argmin([np.abs(image - frame).mean() for frame in frames])) for image in seen]
    assert nearest == list(range(first, end))
    done = cvpipe("video", "clip", clip, *words, "--out", out, "--json")
    assert (done.json["how"], done.json["first"], done.json["frames"]) == (
        told.split(", ")[2].split()[0],
        first,
        end - first,
    )


def test_a_sheet_shows_the_video_at_a_glance(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.jpg"
    done = cvpipe("video", "sheet", clip, "-o", out, "--columns", 5, "--rows", 2, "--width", 500)
    assert done.out == f"{out}: 10 of 20 frames\n"
    assert read_png(out).shape == (4 + 2 * (round(64 * 95 / 96) + 4), 500, 3)
    numbers = cvpipe("video", "sheet", clip, "-o", out, "--columns", 5, "--rows", 2, "--json").json["frames"]
    assert numbers == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]


def test_a_normalised_copy_comes_with_its_map(
    cvpipe: Cvpipe, clip: Path, frames: list[np.ndarray], tmp_path: Path
) -> None:
    out = tmp_path / "n.mp4"
    done = cvpipe("video", "normalise", clip, "--fps", 25, "--max-side", 48, "--from", 1, "--out", out)
    mapping = tmp_path / "n.map.ndjson"
    assert done.out == f"{out}: 25 frames (15 repeated, 0 dropped); {mapping}\n"
    lines = [json.loads(line) for line in mapping.read_text().splitlines()]
    assert [line["source"] for line in lines[:7]] == [10, 10, 10, 11, 11, 12, 12]
    assert lines[3] == {"frame": 3, "time": 0.12, "source": 11, "source_time": 1.1}
    with Video(out) as video:
        assert (len(video), video.facts.fps, video.view.source) == (25, 25.0, (48, 32))
        seen = [frame.image.astype(int) for frame in video]
    small = [cv2.resize(frame, (48, 32), interpolation=cv2.INTER_AREA) for frame in frames]
    assert [int(np.argmin([np.abs(i - s).mean() for s in small])) for i in seen] == [line["source"] for line in lines]
    done = cvpipe("video", "normalise", clip, "--fps", 5, "--out", out, "--json")
    assert done.json == {"saved": str(out), "map": str(mapping), "frames": 10, "repeated": 0, "dropped": 10,
        "damaged": 0, "first_damaged": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "problem", "told"),
    [
        pytest.param(["probe", "nope.mp4"], "not_found", "there is no file 'nope.mp4'", id="no such file"),
        pytest.param(["index", __file__], "format_not_allowed|media_unreadable", "", id="not a video"),
        pytest.param(["probe", "CLIP", "--stream", "3"], "no_video_stream", "", id="no such stream"),
        pytest.param(["frame", "CLIP", "-n", "20", "-o", "OUT.png"], "not_found", "has 20 frames, 0 to 19", id="frame"),
        pytest.param(["frame", "CLIP", "--time", "2", "-o", "OUT.png"], "not_found", "is from 0 to 2 s", id="time"),
        pytest.param(["frame", "CLIP", "--time", "nan", "-o", "OUT.png"], "invalid_request", "not nan", id="nan"),
        pytest.param(["frame", "CLIP", "-o", "OUT.png"], "invalid_request", "exactly one of", id="no frame named"),
        pytest.param(["frame", "CLIP", "-n", "1", "--time", "1", "-o", "OUT.png"], "invalid_request", "one", id="two"),
        pytest.param(["frame", "CLIP", "-n", "1", "-o", "OUT.gif"], "invalid_request", ".png or .jpg", id="gif"),
        pytest.param(["frame", "CLIP", "-n", "1.5", "-o", "OUT.png"], "usage", "--number", id="half a frame"),
        pytest.param(["frame", "CLIP", "-n", "1"], "usage", "--out", id="no out"),
        pytest.param(["frame", "CLIP", "-n", "1", "-o", "no/f.png"], "invalid_request", "no folder 'no'", id="folder"),
        pytest.param(["clip", "CLIP", "-o", "CLIP"], "invalid_request", "would be overwritten", id="onto itself"),
        pytest.param(["clip", "CLIP", "-o", "OUT.mkv"], "invalid_request", "ends in .mp4", id="not an mp4"),
        pytest.param(["clip", "CLIP", "--from", "2", "-o", "OUT.mp4"], "invalid_request", "2 s", id="past the end"),
        pytest.param(["clip", "CLIP", "--from", "1", "--to", "1", "-o", "OUT.mp4"], "invalid_request", "", id="empty"),
        pytest.param(["sheet", "CLIP", "-o", "OUT.jpg", "--rows", "0"], "usage", "--rows", id="no rows"),
        pytest.param(["sheet", "CLIP", "-o", "OUT.jpg", "--width", "99"], "invalid_request", "least 220", id="narrow"),
        pytest.param(["normalise", "CLIP", "--fps", "0", "-o", "OUT.mp4"], "invalid_request", "fps", id="no rate"),
        pytest.param(["normalise", "CLIP", "-o", "OUT.mp4"], "usage", "--fps", id="rate left out"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(  # type: ignore[no-untyped-def]
    words, problem, told, cvpipe: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = clip.read_bytes()
    given = [str(clip) if word == "CLIP" else word for word in words]
    done = cvpipe("video", *given)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: ")
    assert told in done.err
    assert re.fullmatch(problem, cvpipe("video", *given, "--json").problem["type"])
    assert list(tmp_path.glob("*OUT*")) == []
    assert clip.read_bytes() == before


def test_the_limits_of_the_environment_hold(cvpipe: Cvpipe, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVPIPE_MAX_PIXELS", "1000")
    done = cvpipe("video", "probe", clip, "--json")
    assert (done.code, done.problem["type"]) == (2, "too_many_pixels")


def test_help_tells_a_file_here_from_the_videos_of_a_service() -> None:
    command = [sys.executable, "-m", "cvpipe", "--help"]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env={"COLUMNS": "160"}
    ).stdout
    here, _, service = said.partition("A running service")
    assert re.search(r"│ video +A video file on this machine", here)
    assert re.search(r"│ videos +Videos of a running service", service)


def test_the_page_names_each_code_of_a_video_that_can_not_be_read(root: Path) -> None:
    page = (root / "docs" / "video.md").read_text()
    codes = {kind.code for kind in VideoError.__subclasses__()} | {"decoder_unavailable", "too_large"}
    assert codes <= TYPES.keys()
    assert {code for code in codes if f"| `{code}` |" not in page} == set()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("", "wanted the name of a file, got ''", id="empty"),
        pytest.param("http://host/x.mp4", "only files are read, not addresses", id="address"),
    ],
)
def test_a_video_is_named_by_its_file(name: str, told: str, cvpipe: Cvpipe) -> None:
    done = cvpipe("video", "probe", name)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_a_picture_that_can_not_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"before")

    def full(part: Path, _data: bytes) -> int:
        with part.open("wb") as file:
            file.write(b"ha")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        whole_file(path, b"half")
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]
    assert path.read_bytes() == b"before"
