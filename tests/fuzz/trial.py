"""Read a mutant as the service would, and judge what comes of it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvpipe import errors
from cvpipe.errors import CvpipeError, TooLarge, VideoError
from cvpipe.frames import View
from cvpipe.video import Decoders, Limits, VideoIndex
from tests.fuzz.mutants import Corpus, Mutant
from tests.fuzz.seeds import corpus
from tests.video.reading import children, descriptors, different, eventually, is_alive, read

SECONDS = 40.0
MEMORY = 512 * 2**20
CODES = frozenset(
    cls.code
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, VideoError | TooLarge) and cls is not VideoError
)
"""What a file may end in, other than success."""

_LIMITS = Limits(memory_bytes=MEMORY, timeout_seconds=8, cpu_seconds=8)
_CENSUS_EVERY = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a mutant.

    end: "success", "success with damage", or a code. wrong: what must not be, None where all is well. peak_bytes: most
    memory of its decoders. inexact: whether frames read in chunks differ from all read at once; None where not tried.
    """

    seed: int
    source: str
    done: tuple[str, ...]
    end: str
    message: str
    seconds: float
    peak_bytes: int
    wrong: str | None = None
    inexact: bool | None = None


class Bench:
    """Decoders for many trials, watched for what they leave behind. folder: for the mutants."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"mutant-{os.getpid()}"
        self._decoders = Decoders(limits=_LIMITS)
        self._server = self._decoders.server_pid
        self._decoders.usage()
        self._descriptors = descriptors()
        self._tried = 0

    def close(self) -> None:
        """End the decoders."""
        self._decoders.close()

    def try_out(self, mutant: Mutant, *, compare: bool = False) -> Outcome:
        """Index a mutant and read all its frames. compare: also in chunks."""
        self._file.write_bytes(mutant.data)
        wrong = inexact = None
        message = ""
        began = time.monotonic()
        try:
            index = self._decoders.index(self._file)
            pictures = read(self._decoders, self._file, index, view=_small(index))
            end = "success with damage" if any(image is None for image in pictures.values()) else "success"
        except CvpipeError as error:
            end, message = error.code, str(error)
            if end not in CODES:
                wrong = f"{end} is no code for a file: {error}"
            elif not message.isprintable() or len(message) > 1500:
                wrong = f"its message can't be shown: {message!r}"
        except Exception as error:  # noqa: BLE001 - any other is what we look for
            end, wrong = "exception", f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - began
        if seconds > SECONDS:
            wrong = f"it took {seconds:.1f} s"
        peak = self._decoders.usage().peak_bytes
        if peak > MEMORY:
            wrong = f"it took {peak / 2**20:.0f} MB"
        if compare and message == "" and wrong is None:
            inexact, wrong = self._is_inexact(index, pictures)
        wrong = wrong or self._census()
        done = (mutant.seed, mutant.source, mutant.done)
        return Outcome(*done, end, message, seconds, peak, wrong, inexact)

    def _is_inexact(self, index: VideoIndex, whole: dict[int, np.ndarray | None]) -> tuple[bool | None, str | None]:
        try:
            for first, stop in index.chunks(0, len(index), 0.4)[:4]:
                part = read(self._decoders, self._file, index, range(first, stop), _small(index))
                if different(part, whole):
                    return True, None
        except CvpipeError as error:
            return True, None if error.code in CODES else str(error)
        return False, None

    def _census(self) -> str | None:
        """What is left behind, looked for every few trials."""
        if self._decoders.server_pid != self._server or not is_alive(self._server):
            return "the fork-server died"
        self._tried += 1
        if self._tried % _CENSUS_EVERY:
            return None
        if not eventually(lambda: not children(self._server)):
            return "decoders were left behind"
        if gained := descriptors() - self._descriptors:
            return f"descriptors were left behind: {sorted(gained)}"
        return None


def _small(index: VideoIndex) -> View:
    return View.of(index.facts.display_width, index.facts.display_height).resized(32, 24)


_mine: list[tuple[Corpus, Bench]] = []


def prepare(folder: Path, whole: bool) -> None:
    """Make this process ready for `try_out`; the corpus lies in `folder` already."""
    _mine.append((corpus(folder / "corpus", whole=whole), Bench(folder)))


def try_out(seeds: range, compare_every: int) -> list[Outcome]:
    """Try the mutants of some seeds, in a process made ready by `prepare`."""
    files, bench = _mine[0]
    return [bench.try_out(files.mutant(seed), compare=seed % compare_every == 0) for seed in seeds]
