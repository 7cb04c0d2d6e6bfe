"""Memory for models: who may be loaded, who has to go, and what a job waits for."""

from __future__ import annotations

import ctypes
import gc
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from cvpipe.errors import NoRoomForModels
from cvpipe.inference.devices import Device, is_gpu
from cvpipe.inference.shares import Share, current
from cvpipe.log import fields

logger = logging.getLogger(__name__)

T = TypeVar("T", bound="Resident")

_LOOK_UP_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 5.0
"""Who has waited for so long goes before others that would take its room; less would load models all the time."""
_holds: ContextVar[bool] = ContextVar("holds", default=False)


class Resident(Protocol):
    """What takes memory of the device, and can give it back."""

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory now."""
        ...

    def load(self) -> None:
        """Take it."""
        ...

    def unload(self) -> None:
        """Give it back."""
        ...


@dataclass(slots=True)
class _Entry:
    """A model that is known. bytes: measured, or expected. holders: jobs at work with it."""

    name: str
    bytes: int
    resident: Resident | None = None
    holders: int = 0
    used_at: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it takes memory, or is about to."""
        return self.resident is None or self.holders > 0 or self.resident.is_loaded


@dataclass(slots=True, eq=False)
class _Waiting:
    """Who waits for room. wanted: bytes of each model. since: on the monotonic clock."""

    wanted: Mapping[str, int]
    priority: int
    since: float


class Budget:
    """Keeps the models that are loaded on one device within a limit, by unloading idle ones, least recently used first.

    A model that somebody holds is never unloaded. Jobs take all models that they need at once, so none waits for
    another with models in its hands. Who waits for room is passed by those whose models are there, but not for ever:
    higher priorities go first, and so does who has waited long.
    """

    def __init__(self, limit: int | None, *, device: Device = "cpu", taken: Callable[[], int] | None = None) -> None:
        """limit: bytes; None: no limit. taken: bytes taken now, of this process or of the GPU."""
        self.limit, self.device = limit, device
        self._taken = taken or (lambda: taken_bytes(device))
        self._entries: dict[str, _Entry] = {}
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._loading = threading.Lock()

    def open(
        self,
        key: str,
        name: str,
        make: Callable[[], T],
        *,
        expected: int,
        least: int = 1,
        measured: Callable[[int], None] | None = None,
    ) -> T:
        """Make a model that is not there yet, once there is room for it. Waits, and tells the job for what.

        expected: bytes that it takes, as far as is known. least: what it surely takes; the measure sees nothing of what
        fills memory that others have just left. measured: told what it really takes.
        Raises: NoRoomForModels, and what `make` raises.
        """
        share = current()
        with self._changed:
            self._make_room({key: expected}, {key: name}, share)
            entry = self._entries[key] = _Entry(name, expected, holders=1)
        try:
            with self._loading:
                before = self._taken()
                made = make()
                size = max(self._taken() - before, least)
        except BaseException:
            with self._changed:
                del self._entries[key]
                self._changed.notify_all()
            raise
        if measured is not None:
            measured(size)
        with self._changed:
            entry.bytes, entry.resident = size, made
            entry.holders, entry.used_at = entry.holders - 1, time.monotonic()
            try:
                self._make_room({key: entry.bytes}, {key: name}, share)
            except NoRoomForModels:
                self._unload(entry)
                raise
            finally:
                self._changed.notify_all()
        logger.info("model loaded %s", fields(model=name, device=self.device, mib=round(size / 2**20)))
        return made

    @contextmanager
    def holding(self, keys: Sequence[str]) -> Iterator[None]:
        """All of these models, loaded for the length of the block. Waits for room, and tells the job for what.

        Raises: NoRoomForModels; what loading raises.
        """
        share = current()
        with self._changed:
            entries = {key: self._entries[key] for key in dict.fromkeys(keys) if key in self._entries}
            sizes = {key: entry.bytes for key, entry in entries.items()}
            self._make_room(sizes, {key: entry.name for key, entry in entries.items()}, share)
            for entry in entries.values():
                entry.holders += 1
        token = _holds.set(True)
        try:
            for entry in entries.values():
                if entry.resident is not None and not entry.resident.is_loaded:
                    entry.resident.load()
            yield
        finally:
            _holds.reset(token)
            with self._changed:
                for entry in entries.values():
                    entry.holders -= 1
                    entry.used_at = time.monotonic()
                self._changed.notify_all()

    def loaded(self) -> dict[str, int]:
        """Bytes of each model that is loaded, by name; of all its networks, where it has several."""
        sizes: dict[str, int] = {}
        with self._changed:
            for entry in self._entries.values():
                if entry.counts:
                    sizes[entry.name] = sizes.get(entry.name, 0) + entry.bytes
        return sizes

    def _make_room(self, wanted: Mapping[str, int], names: Mapping[str, str], share: Share) -> None:
        """Unload idle models until `wanted` fit, or wait until they are idle. The lock is held, but not while waiting.

        Raises: NoRoomForModels.
        """
        if self.limit is None:
            return
        need = sum(wanted.values())
        told = list(dict.fromkeys(names.values()))
        words = f"{' and '.join(told)} {'need' if len(told) > 1 else 'needs'} {_gib(need)}"
        if need > self.limit:
            raise NoRoomForModels(f"{words}; models may take {_gib(self.limit)} of {self.device}")
        said = ""
        mine = _Waiting(wanted, share.priority, time.monotonic())
        try:
            while True:
                others = {key: entry for key, entry in self._entries.items() if key not in wanted and entry.counts}
                free = self.limit - sum(entry.bytes for entry in others.values())
                idle = [entry for entry in others.values() if entry.holders == 0 and entry.resident is not None]
                if _holds.get() or not self._is_behind(mine):
                    if need <= free:
                        return
                    if idle:
                        self._unload(min(idle, key=lambda entry: entry.used_at))
                        continue
                if _holds.get():
                    # It is in the middle of its work: to wait now, with models in its hands, could be for ever.
                    logger.warning("more models than there is room for %s", fields(what=repr(words)))
                    return
                if mine not in self._waiting:
                    self._waiting.append(mine)
                reason = f"model {words}, {_gib(max(0, free))} free on {self.device}"
                if reason != said:
                    said = reason
                    share.say(reason)
                self._changed.wait(_LOOK_UP_SECONDS)
                share.look_up()
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
                self._changed.notify_all()
            if said:
                share.say(None)

    def _is_behind(self, mine: _Waiting) -> bool:
        """Whether somebody else who waits goes first, and what `mine` wants does not fit beside."""
        assert self.limit is not None
        patient = time.monotonic() - _PATIENCE_SECONDS
        return any(
            sum({**other.wanted, **mine.wanted}.values()) > self.limit
            for other in self._waiting
            if other.priority > mine.priority
            or (other.priority == mine.priority and other.since < mine.since and other.since <= patient)
        )

    def _unload(self, entry: _Entry) -> None:
        assert entry.resident is not None
        entry.resident.unload()
        gc.collect()
        _trim()
        logger.info("model unloaded %s", fields(model=entry.name, device=self.device, mib=round(entry.bytes / 2**20)))


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def taken_bytes(device: Device) -> int:
    """Memory taken now: of a GPU, by all that use it; else by this process."""
    if is_gpu(device):
        from cvpipe.inference.bound import free_bytes

        free = free_bytes(device)
        return free[1] - free[0] if free else 0
    _trim()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def _trim() -> None:
    """Give memory that was freed back to the machine: the C library keeps it otherwise."""
    trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def default_limit(device: Device) -> int | None:
    """Half of the memory of this machine or container; 0.9 of a GPU's; None where that is not known."""
    if is_gpu(device):
        from cvpipe.inference.bound import free_bytes

        free = free_bytes(device)
        return None if free is None else int(0.9 * free[1])
    sizes = []
    for path, read in (("/proc/meminfo", _meminfo), ("/sys/fs/cgroup/memory.max", int)):
        try:
            sizes.append(read(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # a cgroup without a limit says `max`
            continue
    return min(sizes) // 2 if sizes else None


def _meminfo(text: str) -> int:
    return int(re.findall(r"MemTotal:\s+(\d+)", text)[0]) * 1024
