"""Interlaced video, made whole: of the same three frames whatever else is read."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cvpipe.frames import View
from cvpipe.video import Decoders
from tests.video.reading import different, ranges, read

SIZE = (160, 96)
PLAIN = View.of(*SIZE, format="rgb24")
WHOLE = replace(PLAIN, deinterlace=True)


@pytest.fixture(scope="module")
def combed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 interlaced frames of a bar that runs 8 pixels a field, top field first."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    path = tmp_path_factory.mktemp("combed") / "combed.mkv"
    source = f"color=gray:s={SIZE[0]}x{SIZE[1]}:r=50,format=yuv420p"
    bar = "geq=lum='if(between(mod(X-8*N,160),0,23),220,40+20*sin(X/5))':cb=128:cr=128"
    interlace = "tinterlace=mode=interleave_top,setfield=tff"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"{source},{bar},{interlace}", "-frames:v", "30"]
    coding = ["-c:v", "libx264", "-x264-params", "tff=1:keyint=10:bframes=2", "-flags", "+ilme+ildct", "-qp", "8"]
    subprocess.run([*command, *coding, path], check=True)
    return path


def combing(image: np.ndarray) -> float:
    """How much more a row is like the one after the next than like the next; near 0 for whole pictures."""
    rows = image[:, :, 1].astype(float)
    return float(np.abs(rows[1:-1] - rows[:-2]).mean() - np.abs(rows[2:] - rows[:-2]).mean())


def test_combs_are_gone_and_detail_stays(decoders: Decoders, combed: Path) -> None:
    index = decoders.index(combed)
    assert len(index) == 30
    before, after = read(decoders, combed, index, view=PLAIN), read(decoders, combed, index, view=WHOLE)
    for number in range(2, 28):
        assert combing(before[number]) > 8
        assert combing(after[number]) < 1.5
        kept = [np.array_equal(before[number][field::2], after[number][field::2]) for field in (0, 1)]
        assert sum(kept) == 1


def test_pictures_are_those_of_ffmpegs_bwdif(decoders: Decoders, combed: Path) -> None:
    index = decoders.index(combed)
    command = ["ffmpeg", "-v", "error", "-i", combed, "-vf", "bwdif=mode=send_frame:deint=all", "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    theirs = np.frombuffer(raw, np.uint8).reshape(30, SIZE[1], SIZE[0], 3)
    for number, image in read(decoders, combed, index, view=WHOLE).items():
        # What is made of the first frame, which has none before it, differs from one version of FFmpeg to another.
        assert number == 0 or np.array_equal(image, theirs[number]), number


def test_a_picture_is_the_same_whatever_else_is_read(decoders: Decoders, combed: Path) -> None:
    index = decoders.index(combed)
    straight = read(decoders, combed, index, view=WHOLE)
    for numbers in [*ranges(30, [7]), [0], [13], [29], [3, 4, 9, 17], [0, 2, 4, 28], list(range(1, 30, 3))]:
        assert different(read(decoders, combed, index, numbers, WHOLE), straight) == [], numbers


def test_views_that_do_not_ask_for_it_get_the_combed_picture(decoders: Decoders, combed: Path) -> None:
    index = decoders.index(combed)
    plain, whole = read(decoders, combed, index, view=PLAIN), read(decoders, combed, index, view=WHOLE)
    seen = []
    with decoders.read(combed, index, [5, 6, 20], [PLAIN, WHOLE, PLAIN]) as frames:
        for frame in frames:
            seen.append(frame.number)
            assert np.array_equal(frame.images[0], plain[frame.number])
            assert np.array_equal(frame.images[1], whole[frame.number])
            frame.release()
    assert seen == [5, 6, 20]


def test_progressive_frames_stay_as_they_are(decoders: Decoders, clips: object) -> None:
    path = clips("closed.mp4")
    index = decoders.index(path)
    view = View.of(96, 64)
    assert (
        different(read(decoders, path, index, view=replace(view, deinterlace=True)), read(decoders, path, index)) == []
    )


def test_a_damaged_neighbour_is_left_out(decoders: Decoders, combed: Path, tmp_path: Path) -> None:
    index = decoders.index(combed)
    data = bytearray(combed.read_bytes())
    straight = read(decoders, combed, index, view=WHOLE)
    broken = tmp_path / "broken.mkv"
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    broken.write_bytes(data)
    index = decoders.index(broken)
    found = read(decoders, broken, index, view=WHOLE)
    bad = [number for number, image in found.items() if image is None]
    assert bad
    for numbers in ranges(len(index), [5]):
        assert different(read(decoders, broken, index, numbers, WHOLE), found) == []
    far = different({n: image for n, image in found.items() if image is not None}, straight)
    assert all(min(abs(n - b) for b in bad) <= 1 for n in far)


def test_a_combed_picture_left_as_it_is_is_converted_as_ffmpeg_does(decoders: Decoders, combed: Path) -> None:
    index = decoders.index(combed)
    command = ["ffmpeg", "-v", "error", "-i", combed, "-frames:v", "3", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    for view, scaling in ((PLAIN, []), (PLAIN.resized(70, 50, mode="stretch"), ["-vf", "scale=70:50:flags=area"])):
        raw = subprocess.run([*command, *scaling, "-"], capture_output=True, check=True).stdout
        theirs = np.frombuffer(raw, np.uint8).reshape(3, view.height, view.width, 3)
        for number, image in read(decoders, combed, index, range(3), view).items():
            assert np.array_equal(image, theirs[number])
