"""Small videos that no single ffmpeg command makes, made from those of the corpus."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

_ROTATIONS = {
    "flipped.mp4": (-1, 0, 0, 1),
    "turned-and-flipped.mov": (0, 1, 1, 0),
    "upside-down.mp4": (-1, 0, 0, -1),
    "turned.mov": (0, 1, -1, 0),
}
"""a, b, c, d: the point x, y of the coded picture is shown at a x + c y, b x + d y."""


def _copied(base: Path, path: Path, before: str = "", after: str = "") -> None:
    """What ffmpeg makes of a video without coding it anew, told so before and after it reads."""
    command = ["ffmpeg", "-v", "error", *before.split(), "-i", base, *after.split(), "-c", "copy", path]
    subprocess.run(command, check=True, timeout=60)


def _turn(base: Path, path: Path) -> None:
    """The same with another matrix in the header of its track (`tkhd`), that tells players how to turn it."""
    data = bytearray(base.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value * 65536 for value in _ROTATIONS[path.name])
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def time_fields(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """In an MPEG-TS of one stream, for each frame: where its PES header begins, and the bytes of times in it."""
    for packet in range(0, len(data), 188):
        adapted = 1 + data[packet + 4] if data[packet + 3] & 0x20 else 0
        at = packet + 4 + adapted
        if data[packet + 1] & 0x40 and data[at : at + 4] == b"\0\0\1\xe0":
            yield at, {0: 0, 2: 5, 3: 10}[data[at + 7] >> 6]


def _without_times(base: Path, path: Path) -> None:
    """Every third frame says nothing of when it is shown."""
    data = bytearray(base.read_bytes())
    for at, size in list(time_fields(data))[2::3]:
        data[at + 7] &= 0x3F
        data[at + 9 : at + 9 + size] = b"\xff" * size
    path.write_bytes(data)


def _with_times_twice(base: Path, path: Path) -> None:
    """Every twentieth frame says that it is shown when the one before it is."""
    data = bytearray(base.read_bytes())
    headers = list(time_fields(data))
    for before, (at, size) in zip(headers[6::20], headers[7::20], strict=True):
        assert before[1] == size
        data[at + 9 : at + 9 + size] = data[before[0] + 9 : before[0] + 9 + size]
    path.write_bytes(data)


def _joined(first: Path, second: Path, path: Path) -> None:
    path.write_bytes(first.read_bytes() + second.read_bytes())


def make_rare(path: Path, name: str, base: Callable[[str], Path]) -> None:
    """Make the video of a kind at a path. base: gives the video of another kind."""
    match name:
        case "trimmed.mp4":
            _copied(base("closed.mp4"), path, before="-ss 0.7")
        case "shifted.mp4":
            _copied(base("closed.mp4"), path, before="-itsoffset 1.5")
        case "missing.ts":
            _without_times(base("open.ts"), path)
        case "repeated.ts":
            _with_times_twice(base("no-b-frames.ts"), path)
        case "backward.ts":
            _joined(base("open.ts"), base("open.ts"), path)
        case "changing.ts":
            _joined(base("open.ts"), base("larger.ts"), path)
        case "cover.mkv":
            cover = path.with_suffix(".jpg")
            _copied(base("cover.mp4"), cover, after="-map 0:1 -f mjpeg")
            told = f"-map 0:0 -attach {cover} -metadata:s:t mimetype=image/jpeg -metadata:s:t filename=cover.jpg"
            _copied(base("cover.mp4"), path, after=told)
        case "two.mp4" | "two.ts":
            _copied(base("two.mkv"), path, after="-map 0")
        case _:
            _turn(base("closed.mov" if path.suffix == ".mov" else "closed.mp4"), path)


RARE: tuple[str, ...] = (
    "trimmed.mp4",
    "shifted.mp4",
    "missing.ts",
    "repeated.ts",
    "backward.ts",
    "changing.ts",
    "cover.mkv",
    "two.mp4",
    "two.ts",
    *_ROTATIONS,
)
"""The names that `make_rare` knows."""
