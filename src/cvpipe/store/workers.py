"""Workers that live: each says now and then which queues it serves and what protects its decoders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cvpipe.store.connection import PREFIX, Connection, guarded

_NAMES: Final = PREFIX + "workers"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker says of itself. queues: their logical names. protection: see `Decoders.protection`; None where it
    has no decoders. engine: see `OnnxTools.state`; None where it has opened no network.
    threads: tasks that it does at once.
    """

    name: str
    queues: Sequence[str]
    protection: Sequence[str] | None
    engine: Mapping[str, Any] | None = None
    threads: int = 1


class Workers(Connection):
    """Who works."""

    @guarded
    def put_worker(self, state: WorkerState, *, keep_seconds: float) -> None:
        """A sign of life; forgotten after `keep_seconds` without another."""
        pipe = self._redis.pipeline()
        pipe.sadd(_NAMES, state.name)
        pipe.set(_key(state.name), json.dumps(asdict(state)), px=round(keep_seconds * 1000))
        pipe.execute()

    @guarded
    def remove_worker(self, name: str) -> None:
        """It has ended."""
        pipe = self._redis.pipeline()
        pipe.delete(_key(name))
        pipe.srem(_NAMES, name)
        pipe.execute()

    @guarded
    def workers(self) -> list[WorkerState]:
        """Those that have lately given a sign of life, by name."""
        names = sorted(name.decode() for name in self._redis.smembers(_NAMES))
        if not names:
            return []
        said = self._redis.mget([_key(name) for name in names])
        if silent := [name for name, state in zip(names, said, strict=True) if state is None]:
            self._redis.srem(_NAMES, *silent)  # one that was only slow adds itself again
        return [WorkerState(**json.loads(state)) for state in said if state is not None]


def _key(name: str) -> str:
    return f"{PREFIX}worker:{name}"
