"""Join videos that `Writer` made, one after another, without decoding them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cvpipe.errors import Conflict, ExtraMissing
from cvpipe.video.write import TIME_BASE

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream


def join(path: Path, parts: Sequence[tuple[Path, int]], *, alive: Callable[[], None] = lambda: None) -> int:
    """Put the pictures of all parts into one file at `path`, which appears when it is whole. Returns their number.

    parts: files made by `Writer` with the same settings, and where each begins, in ticks of `TIME_BASE`; in order.
    alive: called for each picture; may raise to stop. Memory: the times of all pictures.
    These are files of our own, and of nobody else: they are read in this process.
    Raises: Conflict where the parts were made with different settings; ExtraMissing.
    """
    try:
        import av
    except ImportError as error:
        raise ExtraMissing("writing videos needs PyAV: install cvpipe[cpu] or cvpipe[gpu]") from error
    decoded = [_times(file, begin, alive) for file, begin in parts]
    delay = max(map(_delay, decoded), default=0)
    times = sorted(chain.from_iterable(decoded))
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as output:
            stream: VideoStream | None = None
            count = 0
            for file, begin in parts:
                with _opened(file) as source:
                    if stream is None:
                        stream = output.add_stream_from_template(source.streams.video[0])
                        settings = source.streams.video[0].codec_context.extradata
                    elif source.streams.video[0].codec_context.extradata != settings:
                        raise Conflict(f"{file.name} was made with other settings than the parts before it")
                    for packet in _packets(source):
                        alive()
                        packet.pts = _ticks(packet) + begin
                        # When a picture is to be decoded, to be in time, follows from the times of all pictures.
                        early = count - delay
                        packet.dts = times[early] if early >= 0 else times[0] + early
                        packet.time_base = TIME_BASE
                        packet.stream = stream
                        output.mux_one(packet)
                        count += 1
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


@contextmanager
def _opened(file: Path) -> Iterator[InputContainer]:
    import av

    with av.open(str(file), format="mov") as source:
        yield source


def _packets(source: InputContainer) -> Iterator[Packet[VideoStream]]:
    return (packet for packet in source.demux(source.streams.video[0]) if packet.size)


def _ticks(packet: Packet[VideoStream]) -> int:
    assert packet.pts is not None
    assert packet.time_base == TIME_BASE
    return packet.pts


def _times(file: Path, begin: int, alive: Callable[[], None]) -> list[int]:
    """When the pictures of a part are shown, in the order of decoding."""
    times = []
    with _opened(file) as source:
        for packet in _packets(source):
            alive()
            times.append(_ticks(packet) + begin)
    return times


def _delay(times: Sequence[int]) -> int:
    """By how many pictures one is decoded later than it would be if they were decoded in the order of display."""
    place = {pts: n for n, pts in enumerate(sorted(times))}
    return max((n - place[pts] for n, pts in enumerate(times)), default=0)
