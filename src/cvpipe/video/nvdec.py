"""A card's decoder (NVDEC) behind FFmpeg's: what it gives is made the CPU's picture. Runs in decoder processes only.

FFmpeg parses the file as ever; the card gets what is in the slices (https://docs.nvidia.com/video-technologies/
video-codec-sdk/). Its pictures are fetched to ordinary memory, as NV12 or P010: the CPU's, with both colours in one
plane. Put apart again they are the same bytes, and everything behind stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.codec.hwaccel import HWAccel

from cvpipe.video.decode import complaints, last_words
from cvpipe.video.hardware import COMPLAINT, DIFFERENT, OPEN, CardFailed

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_SHIFT: Final = 6
"""P010 keeps its ten bits in the upper part of sixteen."""

Plane = npt.NDArray[Any]


class Card:
    """NVDEC of one card. number: CUDA's. format: what the CPU's decoder makes of this stream."""

    def __init__(self, number: int, format: str) -> None:
        self._number, self._format = number, format

    def accel(self) -> HWAccel:
        """What a file is opened with, so that its packets go to the card, or nowhere."""
        return HWAccel("cuda", str(self._number), allow_software_fallback=False)

    def picture(self, frame: VideoFrame) -> VideoFrame:
        """A frame as the CPU's decoder has it. Raises: CardFailed."""
        try:
            return apart(frame, self._format)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise CardFailed(DIFFERENT, _words(error)) from error


def on_cpu(stream: VideoStream, packet: Packet[VideoStream]) -> VideoFrame:
    """What the CPU makes of a keyframe's packet alone. Raises: CardFailed where that is nothing, or not whole."""
    before = complaints()
    try:
        context = cast(Any, av.CodecContext.create(stream.codec.name, "r"))
        context.extradata = stream.codec_context.extradata
        context.thread_count = 1
        context.options = stream.codec_context.options
        frames = [*context.decode(packet), *context.decode(None)]
    except (av.error.FFmpegError, ValueError) as error:
        raise CardFailed(COMPLAINT, f"the CPU can't decode the first packet: {_words(error)}") from error
    if complaints() != before:
        raise CardFailed(COMPLAINT, last_words())
    if not frames:
        raise CardFailed(DIFFERENT, "the CPU gave no picture for the first packet to compare with")
    return frames[0]


def apart(frame: VideoFrame, wanted: str) -> VideoFrame:
    """An NV12 or P010 frame with its colours in two planes, in the format `wanted`; all else of it stays.

    Raises: ValueError where the frame is of another kind.
    """
    kinds = {"nv12": ("yuv420p", "yuvj420p"), "p010le": ("yuv420p10le",)}
    if wanted not in kinds.get(frame.format.name, ()):
        raise ValueError(f"wanted a picture that is {wanted}, got {frame.format.name}")
    # For what is not in the planes. For those of ten bits, swscale is not exact at all widths (854 was not).
    made = frame.reformat(format=wanted, threads=1)
    kind: type[np.uint8 | np.uint16] = np.uint8 if frame.format.name == "nv12" else np.uint16
    width, height = frame.width, frame.height
    across, down = -(-width // 2), -(-height // 2)
    luma = _plane(frame, 0, kind)[:height, :width]
    colours = _plane(frame, 1, kind)[:down, : 2 * across]
    parts = (luma, colours[:, 0::2], colours[:, 1::2])
    for number, part in enumerate(parts):
        place = _plane(made, number, kind)[: part.shape[0], : part.shape[1]]
        if kind is np.uint16:
            np.right_shift(part, _SHIFT, out=place)
        else:
            place[...] = part
    return made


def is_same(some: VideoFrame, other: VideoFrame) -> bool:
    """Whether two frames of planes have the same pixels."""
    if (some.format.name, some.width, some.height) != (other.format.name, other.width, other.height):
        return False
    kind: type[np.uint8 | np.uint16] = np.uint16 if some.format.components[0].bits > 8 else np.uint8
    return all(
        np.array_equal(
            _plane(some, number, kind)[: part.height, : part.width],
            _plane(other, number, kind)[: part.height, : part.width],
        )
        for number, part in enumerate(some.format.components)
    )


def _plane(frame: VideoFrame, number: int, kind: type[np.uint8 | np.uint16]) -> Plane:
    plane = frame.planes[number]
    return np.frombuffer(memoryview(plane), kind).reshape(plane.height, plane.line_size // np.dtype(kind).itemsize)


def try_out(number: int) -> None:
    """Decode a picture on the card, and compare it with the CPU's. Raises: CardFailed."""
    packet = av.Packet(TRIAL)
    packet.pts = 0
    accel = HWAccel("cuda", str(number), allow_software_fallback=False)
    try:
        frames = []
        for one in (accel, None):
            context = av.CodecContext.create("h264", "r", hwaccel=one)
            context.thread_count = 1
            frames.append([*context.decode(packet), *context.decode(None)])
        (card, *_), (cpu, *_) = frames
        same = is_same(apart(card, cpu.format.name), cpu)
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise CardFailed(OPEN, last_words() or _words(error)) from error
    if not same:
        raise CardFailed(DIFFERENT)


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


TRIAL: Final = bytes.fromhex(
    "000000016742c00ba611083684000003000400000300c83c50a8460000000168c842044b200000000165888208e23035c0004116418a"
    "2b3c409fe34cf66e3b1a67c4ff1a67a13fc699f371d8dcf89fe34cf9bf1b9b0b9643143142495e8d9837e0899a2f8205b8f5e3488d40"
    "143c328cf778e3f1aa6a0048de0ddeffd3eab3cf0585d6125079e108a93f1244bd124fa6c4f38c50920d5f4690c6602785c245b31f9e"
    "302ff2933919b8ed1718c605285bc321242512b97b9c83cffa52154d40d42643050c50927d1ac71980377f0cd9bf9e35b2d124fa2d8e"
    "63079afe08cd259e5e5266b13ce314249f75d267f4e1d3f55e1308a67815a72dfc551a8071459e0c0d3051297e2d45c04137c0beb63c"
    "69042212083b3dfabefc49394a4cd62783b2a124fd293124fd124fd1286a68dca4ca4e"
)
"""One H.264 picture of 128x96 pixels with start codes, constrained baseline."""
