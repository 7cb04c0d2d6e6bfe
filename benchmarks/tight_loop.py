"""What an expert writes by hand for one video and one network: PyAV, a resize, ONNX Runtime, and nothing of cvpipe.

No post-processing, no records, no checks: the least work that still runs the network on every frame.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
from av.video.reformatter import VideoReformatter


@dataclass(frozen=True)
class Task:
    """A video, a network, its input size; content: width and height that the letterboxed frame takes, top left."""

    video: Path
    network: bytes
    width: int
    height: int
    content: tuple[int, int]


def one_pipeline(task: Task) -> tuple[int, float]:
    """A decode thread feeds one loop that infers with all cores. Returns frames and seconds."""
    started = time.perf_counter()
    session = open_network(task.network, threads=2)
    frames: queue.Queue[Any] = queue.Queue(maxsize=8)

    def decode() -> None:
        for picture in _pictures(task, 0, None, threads=True):
            frames.put(picture)
        frames.put(None)

    thread = threading.Thread(target=decode)
    thread.start()
    count = 0
    while (picture := frames.get()) is not None:
        infer(session, picture)
        count += 1
    thread.join()
    return count, time.perf_counter() - started


def two_pipelines(task: Task) -> tuple[int, float]:
    """Two single-threaded loops, each over half of the video, share a session. Returns frames and seconds."""
    started = time.perf_counter()
    session = open_network(task.network, threads=1)
    with av.open(str(task.video)) as container:
        stream = container.streams.video[0]
        keys = [p.pts for p in container.demux(stream) if p.is_keyframe and p.pts is not None]
    middle = keys[len(keys) // 2]
    counts = [0, 0]

    def loop(which: int, start: int, stop: int | None) -> None:
        for picture in _pictures(task, start, stop, threads=False):
            infer(session, picture)
            counts[which] += 1

    threads = [
        threading.Thread(target=loop, args=(0, 0, middle)),
        threading.Thread(target=loop, args=(1, middle, None)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts), time.perf_counter() - started


def open_network(network: bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """A session of so many threads a call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def _pictures(task: Task, start: int, stop: int | None, *, threads: bool) -> Any:
    reformatter = VideoReformatter()
    canvas = np.full((task.height, task.width, 3), 114, np.uint8)
    width, height = task.content
    with av.open(str(task.video)) as container:
        stream = container.streams.video[0]
        if threads:
            stream.thread_type = "AUTO"
        else:
            stream.thread_count = 1
        container.seek(start, stream=stream)
        for frame in container.decode(stream):
            if frame.pts < start:
                continue
            if stop is not None and frame.pts >= stop:
                return
            small = reformatter.reformat(frame, width=width, height=height, format="bgr24", threads=1)
            canvas[:height, :width] = small.to_ndarray()
            yield np.ascontiguousarray(canvas.transpose(2, 0, 1), dtype=np.float32)[None]


def infer(session: onnxruntime.InferenceSession, picture: np.ndarray) -> None:
    """Ask for one picture, (1, 3, height, width) float32."""
    session.run(None, {session.get_inputs()[0].name: picture})
