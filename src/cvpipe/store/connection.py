"""The connection: one door for every command, Lua scripts ready to run, and the names of all keys."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Any, Final, TypeVar, cast

import redis
import redis.exceptions

from cvpipe.errors import StoreUnavailable
from cvpipe.job import FINAL, TRANSITIONS

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

PREFIX: Final = "cvpipe:"
_SCRIPTS: Final = (
    "submit",
    "put_task",
    "claim",
    "take",
    "waits",
    "renew",
    "release",
    "drop",
    "plan",
    "append",
    "append_events",
    "keep_picks",
    "finish_chunk",
    "end_job",
    "cancel",
    "leave",
    "pause",
    "resume",
    "repair",
    "retry",
    "delete_job",
    "stop_at",
    "sweep",
    "note",
    "note_memory",
    "put_camera",
    "end_camera",
    "add_use",
    "put_key",
    "revoke_key",
    "announce",
    "put_call",
    "delivered",
    "redeliver",
    "receiver_enter",
    "receiver_leave",
    "take_request",
    "hold_stream",
    "delete_video",
)
_REFUSALS: Final = (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError)
_UNKNOWN: Final = redis.exceptions.NoScriptError

#: What is put between the prelude and a script.
_SHARED: Final = {"repair": "redo", "retry": "redo", "submit": "wait", "waits": "wait"}


def guarded(method: F) -> F:
    """Convert redis-py's errors at the door. Raises: StoreUnavailable."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except redis.RedisError as error:
            converted = as_ours(error)
            if converted is error:
                raise
            raise converted from error

    return cast(F, call)


def as_ours(error: Exception) -> Exception:
    """Our error for one of redis-py's; itself where there is none: a bug."""
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return StoreUnavailable(f"Redis does not answer ({error}); is it running?")
    if isinstance(error, _UNKNOWN):
        # A script that is unknown is loaded and run again; this is a second restart in between.
        return StoreUnavailable("Redis was started again just now; is it running?")
    # Where redis-py has a class for it, the word is left out of the message.
    if isinstance(error, _REFUSALS) or (isinstance(error, redis.ResponseError) and "MISCONF" in str(error)):
        return StoreUnavailable(f"Redis refuses to write: {error}")
    return error


class Connection:
    """A pool of connections with the scripts registered. Thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        # redis-py types every answer as what a blocking or an asynchronous client, of text or of bytes, might give.
        self._redis: Any = client
        folder = resources.files(__package__) / "lua"

        def source(name: str) -> str:
            parts = ["keys", "lines", "prelude", *([_SHARED[name]] if name in _SHARED else []), name]
            return "".join([_tables(), *((folder / f"{part}.lua").read_text() for part in parts)])

        self._scripts: dict[str, Any] = {name: client.register_script(source(name)) for name in _SCRIPTS}
        self._settle = False

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    @property
    def client(self) -> redis.Redis:
        """The connection pool, for the embedded broker, which rings over the same server."""
        return cast(redis.Redis, self._redis)

    @guarded
    def ping(self) -> None:
        """Raises: StoreUnavailable where Redis does not answer."""
        self._redis.ping()

    @guarded
    def _check_durability(self) -> None:
        try:
            config = self._redis.config_get("append*", "maxmemory-policy")
        except redis.ResponseError:
            log.warning("the store does not tell its configuration; check `appendfsync always` and `noeviction`")
            return
        if config.get("maxmemory-policy", "noeviction") != "noeviction":
            raise StoreUnavailable(
                "Redis may evict records: `redis-cli CONFIG SET maxmemory-policy noeviction`, and the same in its "
                "configuration"
            )
        if config.get("appendonly") == "yes" and config.get("appendfsync") != "always":
            self._settle = True
        elif config.get("appendonly") != "yes":
            raise StoreUnavailable(
                "Redis runs without an append-only file, and its end would lose jobs: `redis-cli CONFIG SET appendonly "
                "yes`, and the same in its configuration"
            )

    def _commit(self, script: str, args: Sequence[Any]) -> Any:
        """Run a script whose effect will be told to the outside: come back only when it is on disk."""
        try:
            return self._run(script, args)
        except _UNKNOWN:  # Redis was started again, and has forgotten it
            self._redis.script_load(self._scripts[script].script)
            return self._run(script, args)

    def _run(self, script: str, args: Sequence[Any]) -> Any:
        if not self._settle:
            return self._redis.evalsha(self._scripts[script].sha, 0, *args)
        pipe = self._redis.pipeline(transaction=False)
        pipe.evalsha(self._scripts[script].sha, 0, *args)
        pipe.execute_command("WAITAOF", 1, 0, 2000)  # which waits for the writes of its own connection
        result, waited = pipe.execute(raise_on_error=False)
        if isinstance(result, Exception):
            raise result
        if isinstance(waited, redis.ResponseError):
            self._settle = False
            log.warning("this Redis has no WAITAOF: set `appendfsync always`, or a crash may lose acknowledged jobs")
        elif isinstance(waited, Exception):
            raise waited
        elif waited[0] < 1:
            raise StoreUnavailable("Redis did not write to disk within 2 s")
        return result


def _tables() -> str:
    """The tables of a job's states, as the scripts read them."""

    def table(names: Iterable[str]) -> str:
        return "{ " + ", ".join(f"{name} = true" for name in sorted(names)) + " }"

    follows = ", ".join(f"{state} = {table(after)}" for state, after in TRANSITIONS.items())
    return f"local TRANSITIONS = {{ {follows} }}\nlocal FINAL = {table(FINAL)}\n"


def jobs_key(tenant: str) -> str:
    """Sorted set: names of a tenant's jobs by the time they were made."""
    return f"{PREFIX}jobs:{tenant}"


def job_key(job_id: str) -> str:
    """Hash: what was committed with a job, its state and counters. job_id: `<tenant>/<id>`."""
    return f"{PREFIX}job:{job_id}"


def seconds_key(key_id: str, day: int) -> str:
    """String: seconds of video that an API key's jobs were planned for, on a day since the epoch."""
    return f"{PREFIX}seconds:{key_id}:{day}"


def frames_key(job_id: str) -> str:
    """Stream: all records of a job with a sequence segment, in order."""
    return f"{job_key(job_id)}:frames"


def log_key(job_id: str) -> str:
    """Stream: the events that sequence stages tell of, in the order in which they were told."""
    return f"{job_key(job_id)}:log"


def chunk_key(job_id: str, segment: int, chunk: int) -> str:
    """Stream: the records that a segment has written of a chunk."""
    return f"{job_key(job_id)}:c:{segment}:{chunk}"


def picks_key(job_id: str, segment: int, chunk: int) -> str:
    """String: what a segment of crops is to make of a chunk (MessagePack)."""
    return f"{job_key(job_id)}:picks:{segment}:{chunk}"


def tracks_key(job_id: str) -> str:
    """Stream: what a job says of its tracks, in the order in which they begin."""
    return f"{job_key(job_id)}:tracks"


def old_key(key: str) -> str:
    """What a repair goes on from: what was at `key` before."""
    return f"{key}:old"
