"""One decoder: does what one order says, and ends. Forked from `cvpipe.video.forkserver`."""

from __future__ import annotations

import importlib
import json
import mmap
import os
import pkgutil
import socket
import time

import av
import numpy as np

from cvpipe.errors import CvpipeError, MediaUnreadable, TooMuchMemory
from cvpipe.frames import View
from cvpipe.video import sandbox, wire
from cvpipe.video.copying import copy
from cvpipe.video.decode import listen_for_errors
from cvpipe.video.delivery import Delivery
from cvpipe.video.filters import be_alone
from cvpipe.video.hardware import CardFailed
from cvpipe.video.limits import Limits
from cvpipe.video.nvdec import try_out
from cvpipe.video.paint import Painter
from cvpipe.video.scan import scan

_PULSES_PER_TIMEOUT = 8


def warm_up() -> None:
    """Do once what every decoder would do first: FFmpeg builds its tables of codes when a codec is first opened."""
    # PyAV imports some of its modules when it first needs them, which is when our children can open no file.
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in ("av.__main__", "av.datasets"):
            importlib.import_module(module.name)
    listen_for_errors()
    be_alone()
    for name in ("h264", "hevc", "vp9", "mpeg4", "mjpeg"):
        context = av.CodecContext.create(name, "r")
        context.thread_count = 1
        context.open(strict=False)
    picture = av.VideoFrame(64, 64, "yuv420p")
    for view in (View.of(32, 32), View.of(32, 32, format="rgb24"), View.of(32, 32, format="gray")):
        Painter(view, rotation=0, mirrored=False).paint(picture, np.zeros(view.shape, np.uint8))


def run(end: socket.socket, video: int, memory: int, *, filtered: bool, card: bool = False) -> None:
    """Do the order that lies in `memory` on the opened file `video`, talking to the parent over `end`.

    filtered: the kernel takes a filter of system calls. card: this process may use an NVIDIA card.
    """
    try:
        shared = mmap.mmap(memory, 0, mmap.MAP_SHARED | mmap.MAP_POPULATE)  # all of it is painted on
        os.close(memory)
        order, arrays, ring = wire.read_order(shared)
        limits = Limits(**order["limits"])
        sandbox.close_in(limits, shared_bytes=ring.stop, filtered=filtered, card=card)
        if order["do"] == "index":
            _index(end, video, limits, order["stream"])
        elif order["do"] == "copy":
            copy(end, video, limits, order, Pulse(end, limits))
        elif order["do"] == "try":
            try_out(order["card"])
        else:
            Delivery(end, ring, shared, alive=Pulse(end, limits)).run(video, limits, order, arrays)
        end.send(bytes((wire.END,)))
    except (BrokenPipeError, ConnectionResetError):
        return  # nobody listens any more
    except CardFailed as error:
        end.send(wire.card_message.pack(wire.CARD, error.place) + str(error).encode()[:1000])
    except Exception as error:  # noqa: BLE001 - PyAV raises more than its own errors; whatever it is, it is a result
        end.send(bytes((wire.ERROR,)) + json.dumps(_describe(error)).encode()[: wire.MESSAGE_BYTES - 1])


def _describe(error: Exception) -> dict[str, str]:
    if isinstance(error, CvpipeError):
        return {"code": error.code, "message": error.message}
    if isinstance(error, MemoryError):
        return {"code": TooMuchMemory.code, "message": "decoding it takes more memory than allowed"}
    words = f"the video can't be decoded: {type(error).__name__}: {error}"
    return {"code": MediaUnreadable.code, "message": words[:1000]}


class Pulse:
    """Tells the parent that we are at work, several times in the span after which it thinks that we hang."""

    def __init__(self, end: socket.socket, limits: Limits) -> None:
        self._end = end
        self._pause = limits.timeout_seconds / _PULSES_PER_TIMEOUT
        self._last = time.monotonic()

    def __call__(self) -> None:
        """Tell it, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._last > self._pause:
            self._last = now
            self._end.send(bytes((wire.ALIVE,)))


def _index(end: socket.socket, video: int, limits: Limits, stream: int | None) -> None:
    index = scan(video, limits, Pulse(end, limits), stream=stream)
    body = index.pack()
    for offset in range(0, len(body), wire.MESSAGE_BYTES - 1):
        end.send(bytes((wire.PART,)) + body[offset : offset + wire.MESSAGE_BYTES - 1])
