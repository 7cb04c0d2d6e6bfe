"""Videos that are made part by part, so that no work is long, and a crash costs one part."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from cvpipe.frames import View
from cvpipe.video import Decoders, VideoIndex, Writer
from cvpipe.video.join import join
from cvpipe.video.write import TIME_BASE

FRAMES_A_PART: Final = 600
_LOOK_BACK: Final = (1, 64, 4096, 2**40)
_NAME: Final = re.compile(r"part-(\d{6})-(\d+)\.mp4")


class Sink(Protocol):
    """Takes pictures in order. `frames`: how many it has, of earlier runs too: what comes next is to be that one."""

    frames: int

    def write(self, image: npt.NDArray[np.uint8], time_seconds: float) -> None:
        """Append a picture that is shown from that time on, uint8 of the sink's size."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of one video lie until they are joined, and how long they are.

    folder: for this video alone. alive: called often; may raise to stop, and leaves the parts made. on_part: called
    when one is on disk and there are more to come; may raise to stop, too.
    """

    folder: Path
    frames: int = FRAMES_A_PART
    alive: Callable[[], None] = lambda: None
    on_part: Callable[[], None] = lambda: None


@contextmanager
def open_sink(path: Path, *, total: int, parts: Parts | None, **settings: Any) -> Iterator[Sink]:
    """A sink for the video at `path`, of `total` pictures; it appears when the context ends well.

    parts: make it so; None: in one go. settings: of the `Writer`.
    """
    if parts is None:
        with Writer(path, **settings) as writer:
            yield writer
        return
    with _PartWriter(path, total, parts, settings) as sink:
        yield sink


def last_picture(
    decoders: Decoders, video: Path, index: VideoIndex, view: View, numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8] | None:
    """A copy of the picture of the last of these frames that can be decoded, None where there is none.

    numbers: ascending. This is what a damaged frame behind them shows. Raises: as `Decoders.read` does.
    """
    picture: npt.NDArray[np.uint8] | None = None
    stop = len(numbers)
    for count in _LOOK_BACK if stop else ():
        first = max(0, stop - count)
        with decoders.read(video, index, numbers[first:stop], [view]) as frames:
            for frame in frames:
                if frame.images is not None:
                    picture = frame.images[0].copy()
                    frame.release()
        if picture is not None or first == 0:
            break
        stop = first
    return picture


class _PartWriter:
    """Goes on behind the parts that are there; joins all at the end, and removes them."""

    def __init__(self, path: Path, total: int, parts: Parts, settings: dict[str, Any]) -> None:
        self._path, self._total, self._parts, self._settings = path, total, parts, settings
        parts.folder.mkdir(parents=True, exist_ok=True)
        self._made = _whole_parts(parts.folder)
        whole = [entry for entry, _ in self._made]
        for entry in parts.folder.iterdir():  # half of one, of a worker that died
            if entry not in whole:
                entry.unlink()
        self.frames = min(total, len(self._made) * parts.frames)
        self._writer: Writer | None = None
        self._begin = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close_part()
            count = join(self._path, self._made, alive=self._parts.alive)
            assert count == self.frames == self._total
            shutil.rmtree(self._parts.folder)
        elif self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def write(self, image: npt.NDArray[np.uint8], time_seconds: float) -> None:
        self._parts.alive()
        ticks = round(time_seconds / TIME_BASE)
        if self._writer is None:
            self._begin = ticks
            name = f"part-{len(self._made):06d}-{ticks}.mp4"
            self._writer = Writer(self._parts.folder / name, **self._settings)
        self._writer.write(image, float((ticks - self._begin) * TIME_BASE))
        self.frames += 1
        if self._writer.frames == self._parts.frames:
            self._close_part()
            if self.frames < self._total:
                self._parts.on_part()

    def _close_part(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            self._made = _whole_parts(self._parts.folder)


def _whole_parts(folder: Path) -> list[tuple[Path, int]]:
    """The parts on disk without a hole before them, and the ticks at which each begins."""
    found = {}
    for entry in folder.iterdir():
        if match := _NAME.fullmatch(entry.name):
            found[int(match[1])] = (entry, int(match[2]))
    whole: list[tuple[Path, int]] = []
    while len(whole) in found:
        whole.append(found[len(whole)])
    return whole
