"""What a key has taken: counted where all API processes see it, from what is there wherever that can be counted."""

from __future__ import annotations

import time

from cvpipe.quotas import DAY_SECONDS
from cvpipe.store.connection import PREFIX, Connection, guarded, seconds_key


class Counts(Connection):
    """What the API asks before it gives a key more."""

    @guarded
    def take_request(self, key_id: str, per_minute: int) -> float:
        """Count a request. Returns 0, or the seconds to wait where there have been too many; then it does not count."""
        return int(self._scripts["take_request"](args=[key_id, per_minute])) / 1000

    @guarded
    def hold_stream(self, key_id: str, stream: str, limit: int, *, seconds: float) -> bool:
        """Take one of the `limit` streams of a key, or go on holding it, for so many seconds. False: none is left."""
        return bool(self._scripts["hold_stream"](args=[key_id, stream, limit, int(seconds * 1000)]))

    @guarded
    def release_stream(self, key_id: str, stream: str) -> None:
        """The stream has ended."""
        self._redis.zrem(f"{PREFIX}streams:{key_id}", stream)

    @guarded
    def stored_bytes(self, key_id: str) -> int:
        """Bytes of the videos that a key has sent and that are still there."""
        pipe = self._redis.pipeline(transaction=False)
        for video in self._redis.smembers(f"{PREFIX}videos:{key_id}"):
            pipe.hget(f"{PREFIX}video:{video.decode()}", "size")
        return sum(int(size) for size in pipe.execute() if size is not None)

    @guarded
    def video_seconds_today(self, key_id: str) -> float:
        """Seconds of video that a key's jobs have been planned for since midnight, UTC."""
        return float(self._redis.get(seconds_key(key_id, int(time.time() // DAY_SECONDS))) or 0)
