"""Decoders: read videos in disposable processes. The process that calls never parses a file itself."""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from cvpipe.errors import (
    DecoderCrashed,
    DecoderUnavailable,
    InputChanged,
    MediaUnreadable,
    NotFound,
    TooLarge,
)
from cvpipe.frames import Image, View
from cvpipe.log import fields
from cvpipe.video import hardware, untrusted, wire
from cvpipe.video.cards import open_card
from cvpipe.video.hardware import Decode
from cvpipe.video.index import VideoFacts, VideoIndex
from cvpipe.video.limits import Limits
from cvpipe.video.spawning import ForkServer, Process, Usage
from cvpipe.video.talk import Talk

if TYPE_CHECKING:
    from cvpipe.settings import Settings

_log = logging.getLogger(__name__)

_MAX_HOLD: Final = 128
_INDEX_BYTES_A_FRAME: Final = 24
_AHEAD_BYTES: Final = 32 * 2**20
"""The socket holds about 250 messages; a release must not wait."""


@dataclass(slots=True)
class Decoded:
    """One frame of a reading.

    number: of the source frame. images: one uint8 array for each view asked for, of its shape, read-only, in shared
    memory; None where the frame is damaged; `error` says why. is_degraded: what is shown may be wrong in places, as
    what it is predicted from is damaged. Call `release` when done with the images: they are painted over then.
    """

    number: int
    images: tuple[Image, ...] | None
    error: str | None = None
    is_degraded: bool = False
    _release: Callable[[], None] | None = field(default=None, repr=False)

    def release(self) -> None:
        """Give the memory of the images back. Any thread may call it; a second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()


class Decoders:
    """Reads videos, each request in a process of its own that can do no harm and is ended when the request is.

    One of these per worker process serves all its threads. It owns a fork-server, so that a decoder is ready within
    milliseconds; `close` it, or use it as a context manager.

        with Decoders() as decoders:
            index = decoders.index(path)
            with decoders.read(path, index, np.arange(len(index)), [View.of(1280, 720)]) as frames:
                for frame in frames:
                    ...
                    frame.release()
    """

    def __init__(self, *, limits: Limits | None = None, decode: Decode = "cpu", card: int = 0) -> None:
        """decode: what decodes; a card (CUDA's number) is tried here, and then for each video that suits it.

        Raises: ExtraMissing where PyAV is not installed; DeviceUnavailable where `nvdec` does not work here.
        """
        self.limits = limits or Limits()
        self._server = ForkServer()
        self._counts: Counter[str] = Counter()
        self._mine = threading.local()
        self._lock = threading.Lock()
        try:
            self._card = None if decode == "cpu" else open_card(decode, card, self.limits)
        except BaseException:
            self._server.close()
            raise

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As an operator has set it. Raises: see above."""
        card = int(settings.device.partition(":")[2] or 0)
        return cls(limits=Limits.of(settings), decode=settings.decode, card=card)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the fork-server and all decoders that still run."""
        self._server.close()
        if self._card is not None:
            self._card.server.close()

    @property
    def is_on_card(self) -> bool:
        """Whether an NVIDIA card decodes what suits it."""
        return self._card is not None

    def decoded(self) -> dict[str, int]:
        """Frames that came, by what decoded them, since this was made: `cpu`, `nvdec`."""
        with self._lock:
            return dict(self._counts)

    def take_decoded(self) -> dict[str, int]:
        """Frames that this thread has read since it last asked, by what decoded them; empty where no card is asked.

        `nvdec`, or `cpu: WHY`: see `hardware.why_not` and `hardware.FAILURES`.
        """
        mine: dict[str, int] = getattr(self._mine, "counts", {})
        self._mine.counts = Counter()
        return dict(mine)

    def _count(self, decoder: str, why: str | None, frames: int) -> None:
        if not frames:
            return
        with self._lock:
            self._counts[decoder] += frames
        if self._card is not None:
            if not hasattr(self._mine, "counts"):
                self._mine.counts = Counter()
            self._mine.counts[decoder if why is None else f"{decoder}: {why}"] += frames

    @property
    def server_pid(self) -> int:
        """Of the fork-server, whose children the decoders are."""
        return self._server.pid

    @property
    def protection(self) -> tuple[str, ...]:
        """What protects against a video that takes its decoder over: names of `cvpipe.video.sandbox.MEASURES`.

        With a card, what protects there too; some of it means less there (`cvpipe.video.sandbox.WIDER`).
        Raises: DecoderUnavailable.
        """
        protection = self._server.protection
        if self._card is None:
            return protection
        return tuple(name for name in protection if name in self._card.server.protection)

    def usage(self) -> Usage:
        """Memory and processor time of the decoders that have ended since this was last asked.

        Raises: DecoderUnavailable.
        """
        return self._server.usage()

    def index(self, path: Path, *, stream: int | None = None) -> VideoIndex:
        """Facts, times and keyframes of a video, from its packets; one frame of it is decoded.

        stream: index of the video stream in the file; default: the one that a player would show.
        Raises: NotFound, TooLarge, VideoError, DecoderUnavailable.
        """
        order: dict[str, Any] = {"do": "index", "limits": self.limits.to_dict(), "stream": stream}
        packed = bytearray()
        most = _INDEX_BYTES_A_FRAME * self.limits.max_frames
        with self._order(path, order, (), (), 0) as (process, _, _):
            talk = Talk(process, self.limits)
            while (message := talk.receive())[0] != wire.END:
                if message[0] != wire.PART or len(message) == 1 or len(packed) > most:
                    raise talk.broken()
                packed += message[1:]
        return untrusted.index(bytes(packed), self.limits)

    def copy(
        self, path: Path, index: VideoIndex, first: int, stop: int, out: int, *, table_bytes: int, max_bytes: int
    ) -> None:
        """Write the packets of the frames first <= number < stop to the file `out` (a descriptor), as MP4.

        table_bytes: room for the tables, which come first. max_bytes: of the whole.
        Raises: VideoError, also where these packets alone don't make these frames, and no others.
        """
        order: dict[str, Any] = {
            "do": "copy",
            "limits": self.limits.to_dict(),
            "stream": index.facts.stream,
            "file_bytes": index.facts.file_bytes,
            "first_pts": int(index.pts[first]),
            "stop_pts": int(index.pts[stop - 1]) + 1,
            "frames": stop - first,
            "table_bytes": table_bytes,
        }
        with self._order(path, order, (), (), 0) as (process, _, _):
            talk = Talk(process, self.limits)
            while (message := talk.receive())[0] != wire.END:
                if message[0] != wire.WRITE or len(message) < wire.write_message.size:
                    raise talk.broken()
                _, offset = wire.write_message.unpack_from(message)
                if offset + len(message) > max_bytes:
                    raise DecoderCrashed(f"the decoder wanted to write more than {max_bytes} bytes and was ended")
                os.pwrite(out, message[wire.write_message.size :], offset)

    def read(
        self,
        path: Path,
        index: VideoIndex,
        numbers: npt.ArrayLike,
        views: Sequence[View],
        *,
        hold: int = 2,
    ) -> Reading:
        """Frames of a video as the views ask for them, in order; to be used as a context manager and iterated over.

        index: of this video. numbers: (k,) ints, of the frames wanted, ascending. views: what to make of each frame.
        hold: how many frames may be unreleased at once. The decoder works ahead by two to eight more.
        Exact: what is read of a frame does not depend on the other frames asked for. Every frame asked for comes;
        one that can't be decoded comes without images.
        Memory: (hold + 2) x the bytes of the views, shared with the decoder; up to 32 MiB more if they are small.
        Raises, when entered or iterated: NotFound, TooLarge, VideoError, DecoderUnavailable.
        """
        wanted = np.ascontiguousarray(numbers, np.int64)
        if wanted.ndim != 1 or (np.diff(wanted) <= 0).any():
            raise ValueError(f"numbers must be (k,) and ascend, got {wanted}")
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < len(index):
            raise ValueError(f"numbers must be from 0 to {len(index) - 1}, got {wanted[0]} to {wanted[-1]}")
        if not 1 <= hold <= _MAX_HOLD:
            raise ValueError(f"hold must be from 1 to {_MAX_HOLD}, got {hold}")
        if not views:
            raise ValueError("a reading needs at least one view")
        shown = (index.facts.display_width, index.facts.display_height)
        for view in views:
            if view.source != shown:
                raise ValueError(f"the video is shown as {shown[0]}x{shown[1]}, the view is of {view.source}")
        return Reading(self, path, index, numbers=wanted, views=tuple(views), hold=hold)

    def _chosen(self, facts: VideoFacts) -> tuple[str, str | None]:
        """What is to decode a video, and why it is not the card where there is one."""
        why = None if self._card is None else self._card.why_not(facts)
        return ("cpu" if self._card is None or why else "nvdec"), why

    @contextlib.contextmanager
    def _order(
        self,
        path: Path,
        order: dict[str, Any],
        arrays: Sequence[npt.NDArray[np.int64]],
        views: Sequence[View],
        slots: int,
        *,
        server: ForkServer | None = None,
    ) -> Iterator[tuple[Process, wire.Ring, mmap.mmap]]:
        """A process at work on an order; it is dead when the context ends."""
        video = _open(path, self.limits, file_bytes=order.get("file_bytes", 0))
        try:
            memory, ring = wire.share(order, arrays, views, slots)
            try:
                shared = mmap.mmap(memory, 0, mmap.MAP_SHARED, mmap.PROT_READ)
                process = (server or self._server).fork(video, memory)
            finally:
                os.close(memory)
        finally:
            os.close(video)
        try:
            yield process, ring, shared
        finally:
            process.end()


class Reading:
    """The frames of one `Decoders.read`: a context manager and an iterator of `Decoded`, for one thread.

    decoder: what decodes, `cpu` or `nvdec`. why: why it is the CPU where a card was to, None otherwise.
    """

    def __init__(
        self,
        decoders: Decoders,
        path: Path,
        index: VideoIndex,
        *,
        numbers: npt.NDArray[np.int64],
        views: tuple[View, ...],
        hold: int,
    ) -> None:
        self._decoders, self._path, self._index = decoders, path, index
        self._numbers, self._views, self._hold = numbers, views, hold
        self._next = 0
        self._lent: set[int] = set()
        self._ahead = _frames_ahead(sum(view.nbytes for view in views))
        self._returned: list[int] = []
        self._lock = threading.Lock()
        self._slots: list[tuple[Image, ...]] = []
        self._talk: Talk | None = None
        self.decoder, self.why = decoders._chosen(index.facts)
        self._uncounted = 0

    @property
    def pid(self) -> int | None:
        """Of the decoder process, while the context is entered."""
        return self._talk.process.pid if self._talk else None

    def __enter__(self) -> Self:
        index, numbers = self._index, self._numbers
        if not len(numbers):
            return self
        distinct = tuple(dict.fromkeys(self._views))
        keys = np.flatnonzero(index.keyframe)
        order: dict[str, Any] = {
            "do": "read",
            "limits": self._decoders.limits.to_dict(),
            "stream": index.facts.stream,
            "file_bytes": index.facts.file_bytes,
            "rotation": index.facts.rotation,
            "mirrored": index.facts.mirrored,
            "counted": index.facts.timing == "counted",
        }
        server = None
        if self.decoder == "nvdec" and (card := self._decoders._card) is not None:
            server = card.server
            order |= {"card": card.number, "format": index.facts.pixel_format}
        decoded = _with_neighbours(numbers, len(index)) if any(view.deinterlace for view in distinct) else numbers
        # The times of all frames from the first one that has to be decoded: what is not wanted can be left out.
        needed = int(keys[keys <= decoded[0]][-1:].sum())
        around = index.pts[needed : int(decoded[-1]) + 1]
        arrays = (decoded, index.pts[decoded], keys, index.pts[keys], np.searchsorted(decoded, numbers), around)
        slots = self._hold + self._ahead
        self._context = self._decoders._order(self._path, order, arrays, distinct, slots, server=server)
        process, ring, shared = self._context.__enter__()
        self._talk = Talk(process, self._decoders.limits)
        places = [distinct.index(view) for view in self._views]
        self._slots = [tuple(images[place] for place in places) for images in ring.arrays(shared)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._talk is not None:
            self._talk = None
            self._note_frames()
            self._slots = []  # so that the memory lives no longer than the pictures that are kept
            self._context.__exit__(None, None, None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Decoded:
        if self._next == len(self._numbers):
            raise StopIteration
        if self._talk is None:
            raise RuntimeError("a reading is a context manager: use it in a `with`")
        if len(self._lent) >= self._hold:
            raise RuntimeError(f"{self._hold} frames are unreleased; release one, or read with a larger `hold`")
        if not self._talk.has_message():
            self._return_slots(at_least=1)  # the decoder may be waiting for one
        message = self._talk.receive()
        while message[0] == wire.CARD:
            self._leave_card(message)
            message = self._talk.receive()
        at, number = self._next, int(self._numbers[self._next])
        if message[0] == wire.FRAME and len(message) == wire.frame_message.size:
            _, given, slot, degraded = wire.frame_message.unpack(message)
            if given == at and slot < len(self._slots) and slot not in self._lent:
                self._next += 1
                self._uncounted += 1
                self._lent.add(slot)
                return Decoded(number, self._slots[slot], None, degraded != 0, lambda: self._give_back(slot))
        elif message[0] == wire.DAMAGED and len(message) >= wire.damaged_message.size:
            _, given = wire.damaged_message.unpack_from(message)
            if given == at:
                self._next += 1
                self._uncounted += 1
                return Decoded(number, None, untrusted.words(message[wire.damaged_message.size :]))
        raise self._talk.broken()

    def _leave_card(self, message: bytes) -> None:
        """The CPU decodes from here on. Raises: DecoderCrashed where that can't be."""
        assert self._talk is not None
        known = len(message) >= wire.card_message.size and message[1] < len(hardware.FAILURES)
        if self.decoder != "nvdec" or not known:
            raise self._talk.broken()
        place = wire.card_message.unpack_from(message)[1]
        self._note_frames()
        if place == hardware.OPEN and (card := self._decoders._card) is not None:
            card.refused.note(self._index.facts)
        self.decoder, self.why = "cpu", hardware.FAILURES[place]
        words = untrusted.words(message[wire.card_message.size :])
        number = int(self._numbers[min(self._next, len(self._numbers) - 1)])
        _log.info("the CPU goes on %s", fields(frame=number, reason=repr(self.why), words=repr(words)))

    def _note_frames(self) -> None:
        frames, self._uncounted = self._uncounted, 0
        self._decoders._count(self.decoder, self.why, frames)

    def _give_back(self, slot: int) -> None:
        self._lent.discard(slot)
        with self._lock:
            self._returned.append(slot)
        self._return_slots(at_least=max(1, self._ahead // 2))

    def _return_slots(self, *, at_least: int) -> None:
        """Tell the decoder of free slots, several at once: each message wakes it and takes a core from the network."""
        with self._lock:
            if len(self._returned) < at_least:
                return
            slots, self._returned = self._returned, []
        talk = self._talk
        if talk is not None:
            talk.give_back(slots)


def _with_neighbours(numbers: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """The numbers of frames, of the ones before and of the ones after them, of a video of `length` frames."""
    near = np.unique(np.concatenate((numbers - 1, numbers, numbers + 1)))
    return near[(near >= 0) & (near < length)]


def _frames_ahead(frame_bytes: int) -> int:
    """How many frames a decoder works ahead: two, and up to eight where they are small."""
    return max(2, min(8, _AHEAD_BYTES // max(1, frame_bytes)))


def _open(path: Path, limits: Limits, *, file_bytes: int) -> int:
    """A descriptor of a regular file. file_bytes: its size when it was indexed, 0 where that is not known.

    Raises: NotFound, MediaUnreadable, TooLarge, InputChanged, DecoderUnavailable.
    """
    try:
        # Not to wait for ever for the other end of a FIFO.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path.name!r}") from None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise DecoderUnavailable(f"this machine can't open the video: {error.strerror}") from error
        raise MediaUnreadable(f"the file can't be opened: {error.strerror}") from error
    found = os.fstat(fd)
    has_changed = file_bytes not in (0, found.st_size)
    if stat.S_ISREG(found.st_mode) and found.st_size <= limits.max_file_bytes and not has_changed:
        return fd
    os.close(fd)
    if not stat.S_ISREG(found.st_mode):
        raise MediaUnreadable("the video is no regular file, but a folder, a pipe or a device")
    if has_changed:
        raise InputChanged(f"the file had {file_bytes} bytes when it was indexed, now {found.st_size}; index it again")
    allowed = limits.max_file_bytes
    raise TooLarge(f"the file has {found.st_size} bytes, {allowed} are allowed; CVPIPE_MAX_FILE_BYTES allows more")
