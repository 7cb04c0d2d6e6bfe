"""`python other_readers.py WAY VIDEO WIDTH HEIGHT`: read all frames the way others do; prints one line of JSON.

Runs by itself, in whichever environment has the reader: it imports nothing of cvpipe. Every way makes RGB of the size
asked for, hands it over as an array in memory and touches every cache line of it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from importlib import metadata

import numpy as np


def pyav_naive(path: str, width: int, height: int) -> Iterator[np.ndarray]:
    """As in PyAV's own examples."""
    import av

    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24", width=width, height=height)


def pyav_tuned(path: str, width: int, height: int) -> Iterator[np.ndarray]:
    """With what an expert knows: frame threads, one reused reformatter with one thread."""
    import av
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield reformatter.reformat(frame, width, height, "rgb24", threads=1).to_ndarray()


def opencv(path: str, width: int, height: int) -> Iterator[np.ndarray]:
    """VideoCapture, resize, and the channels put right."""
    import cv2

    capture = cv2.VideoCapture(path)
    while True:
        is_read, picture = capture.read()
        if not is_read:
            return
        yield cv2.cvtColor(cv2.resize(picture, (width, height)), cv2.COLOR_BGR2RGB)


def decord(path: str, width: int, height: int) -> Iterator[np.ndarray]:
    """In order, one by one: its fastest way."""
    import decord as library

    reader = library.VideoReader(path, ctx=library.cpu(0), width=width, height=height)
    for _ in range(len(reader)):
        yield reader.next().asnumpy()


def torchcodec(path: str, width: int, height: int) -> Iterator[np.ndarray]:
    """With its own resize, as many FFmpeg threads as that likes, and no scan of the file."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    decoder = VideoDecoder(
        path,
        dimension_order="NHWC",
        num_ffmpeg_threads=0,
        seek_mode="approximate",
        transforms=[Resize((height, width))],
    )
    for frame in decoder:
        yield frame.numpy()


WAYS = {way.__name__: way for way in (pyav_naive, pyav_tuned, opencv, decord, torchcodec)}


def main() -> int:
    """Read it, and say how long that took."""
    way, path, width, height = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    next(WAYS[way](path, width, height))  # imports and tables are no part of the reading
    before = _cpu_seconds()
    started = time.perf_counter()
    frames = touched = 0
    for picture in WAYS[way](path, width, height):
        assert picture.shape == (height, width, 3), picture.shape
        touched += int(picture.reshape(-1)[::64].sum())
        frames += 1
    seconds = time.perf_counter() - started
    mean = touched / max(1, frames * len(range(0, width * height * 3, 64)))
    cpu_seconds = _cpu_seconds() - before
    versions = {name: version(name) for name in ("av", "decord", "opencv-python-headless", "torch", "torchcodec")}
    print(
        json.dumps(
            {"frames": frames, "seconds": seconds, "cpu_seconds": cpu_seconds, "mean": mean, "versions": versions}
        )
    )
    return 0


def version(package: str) -> str:
    """Of an installed package; empty where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
