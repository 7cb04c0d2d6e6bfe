"""Fewer frames than there are: what is neither wanted nor needed is never decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.clips import footage, textured
from benchmarks.parallel import CORES, ffmpeg_decode, read_chunks, stretched
from benchmarks.setup import print_table, spread
from cvpipe.video import Decoders

_SECONDS = 24


def measure(assets: Path, rounds: int) -> None:
    """Print the table: one frame a second and keyframes only, as times the speed of decoding everything.

    How much keyframes alone gain depends on what they cost: of a texture that pans, ten times an average frame.
    """
    clips = {
        "texture, GOP 60": textured(60, _SECONDS),
        "texture, GOP 250": textured(250, _SECONDS),
        "people, GOP 60": footage(assets, 60, _SECONDS),
        "people, GOP 250": footage(assets, 250, _SECONDS),
    }
    rows = []
    with Decoders() as decoders:
        for clip, path in clips.items():
            index = decoders.index(path)
            view = stretched(index, 640, 360)
            chunk_seconds = min(10.0, _SECONDS / (2 * CORES))
            everything = np.arange(len(index))
            wanted = {
                "30 to 1 frames/s": (everything[::30], "default", r"select=not(mod(n\,30)),scale=640:360"),
                "reference frames only": (np.flatnonzero(index.reference), "noref", "scale=640:360"),
                "keyframes only": (np.flatnonzero(index.keyframe), "nokey", "scale=640:360"),
            }
            print(f"decimation, {clip}", flush=True)
            whole = read_chunks(decoders, path, index, everything, view, chunk_seconds=chunk_seconds)
            for name, (numbers, skipping, filters) in wanted.items():
                to_read, to_plain, to_same = [], [], []
                for _ in range(rounds):
                    plain = ffmpeg_decode(path)[0]
                    everything_read = read_chunks(decoders, path, index, everything, view, chunk_seconds=chunk_seconds)
                    done = read_chunks(decoders, path, index, numbers, view, chunk_seconds=chunk_seconds)
                    assert done.pictures == {int(n): whole.pictures[int(n)] for n in numbers}, "other pixels"
                    to_read.append(everything_read.seconds / done.seconds)
                    to_plain.append(plain / done.seconds)
                    output = ("-vf", filters, "-vsync", "vfr", "-pix_fmt", "rgb24")
                    to_same.append(ffmpeg_decode(path, *output, skipping=skipping)[0] / done.seconds)
                rows.append(
                    (
                        f"{clip}: {name}, {len(numbers)} of {len(index)}",
                        spread(to_plain),
                        spread(to_same),
                        spread(to_read),
                    )
                )
    columns = ("frames wanted", "of ffmpeg alone", "of ffmpeg, same frames", "of cvpipe, all")
    print_table(f"times as fast as decoding everything, 1080p30 h264, {rounds} rounds, same pixels", columns, rows)
