"""Fewer frames than there are: what is neither wanted nor needed is never decoded."""

from __future__ import annotations

import numpy as np

from benchmarks.clips import textured
from benchmarks.parallel import CORES, ffmpeg_decode, read_chunks, stretched
from benchmarks.setup import print_table, spread
from cvpipe.video import Decoders

_CLIPS = ((10, 12), (60, 24), (250, 24))
"""Frames between keyframes, seconds."""


def measure(rounds: int) -> None:
    """Print the table: one frame a second and keyframes only, as times the speed of decoding everything."""
    rows = []
    with Decoders() as decoders:
        for gop, seconds in _CLIPS:
            path = textured(gop, seconds)
            index = decoders.index(path)
            view = stretched(index, 640, 360)
            chunk_seconds = min(10.0, seconds / (2 * CORES))
            everything = np.arange(len(index))
            wanted = {
                "30 to 1 frames/s": (everything[::30], r"select=not(mod(n\,30)),scale=640:360"),
                "reference frames only": (np.flatnonzero(index.reference), None),
                "keyframes only": (np.flatnonzero(index.keyframe), None),
            }
            print(f"decimation, {gop} frames from keyframe to keyframe", flush=True)
            whole = read_chunks(decoders, path, index, everything, view, chunk_seconds=chunk_seconds)
            for name, (numbers, dropping) in wanted.items():
                to_read, to_plain, to_drop = [], [], []
                for _ in range(rounds):
                    plain = ffmpeg_decode(path)[0]
                    everything_read = read_chunks(decoders, path, index, everything, view, chunk_seconds=chunk_seconds)
                    done = read_chunks(decoders, path, index, numbers, view, chunk_seconds=chunk_seconds)
                    assert done.pictures == {int(n): whole.pictures[int(n)] for n in numbers}, "other pixels"
                    to_read.append(everything_read.seconds / done.seconds)
                    to_plain.append(plain / done.seconds)
                    if dropping is not None:
                        dropped = ffmpeg_decode(path, "-vf", dropping, "-vsync", "vfr", "-pix_fmt", "rgb24")[0]
                        to_drop.append(dropped / done.seconds)
                rows.append(
                    (
                        f"GOP {gop}: {name}, {len(numbers)} of {len(index)}",
                        spread(to_plain),
                        spread(to_drop) if to_drop else "",
                        spread(to_read),
                    )
                )
    columns = ("frames wanted", "of ffmpeg alone", "of ffmpeg, dropping", "of cvpipe, all")
    print_table(f"times as fast as decoding everything, 1080p30 h264, {rounds} rounds, same pixels", columns, rows)
