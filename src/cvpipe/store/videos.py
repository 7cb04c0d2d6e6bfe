"""Videos: facts and index, by `<tenant>/<sha256>`: the same file of two tenants is two videos."""

from __future__ import annotations

import json
import time
from typing import Any

from cvpipe.errors import NotFound
from cvpipe.store.connection import PREFIX, Connection, guarded
from cvpipe.tenants import id_of


class Videos(Connection):
    """What is known of videos."""

    @guarded
    def put_video(self, video_id: str, **fields: str | bytes | float) -> None:
        """Set fields of a video: size, filename, state, facts (json), index (bytes), error (json), path."""
        pipe = self._redis.pipeline()
        pipe.hset(PREFIX + "video:" + video_id, mapping=fields)
        pipe.hsetnx(PREFIX + "video:" + video_id, "created_at", round(time.time(), 3))
        pipe.execute()

    @guarded
    def note_sender(self, video_id: str, key_id: str) -> None:
        """Note by which API key a video came; it counts as that key's until it is deleted. The first one counts."""
        if self._redis.hsetnx(PREFIX + "video:" + video_id, "key", key_id):
            self._redis.sadd(f"{PREFIX}videos:{key_id}", video_id)

    @guarded
    def delete_video(self, video_id: str) -> None:
        """Forget a video. Raises: NotFound."""
        if not self._scripts["delete_video"](args=[video_id]):
            raise _no_video(video_id)

    @guarded
    def video(self, video_id: str) -> dict[str, Any]:
        """What is known of a video, without its index. Raises: NotFound."""
        names = ("size", "state", "facts", "error", "created_at", "filename")
        values = self._redis.hmget(PREFIX + "video:" + video_id, *names)
        size, state, facts, error, created_at, filename = values
        if state is None:
            raise _no_video(video_id)
        return {
            "id": id_of(video_id),
            "size": int(size),
            "state": state.decode(),
            "facts": json.loads(facts) if facts else None,
            "error": json.loads(error) if error else None,
            "created_at": float(created_at),
            "filename": filename.decode() if filename else None,
        }

    @guarded
    def video_index(self, video_id: str) -> bytes | None:
        """The packed index of a video, where it is known."""
        raw: bytes | None = self._redis.hget(PREFIX + "video:" + video_id, "index")
        return raw

    @guarded
    def video_path(self, video_id: str) -> str | None:
        """Where on the server a video was found that a job named by its path."""
        raw = self._redis.hget(PREFIX + "video:" + video_id, "path")
        return None if raw is None else raw.decode()

    @guarded
    def remembered_sha256(self, file_key: str) -> str | None:
        """sha256 of a file on the server, remembered by path, size and time of change."""
        raw = self._redis.get(PREFIX + "file:" + file_key)
        return None if raw is None else raw.decode()

    @guarded
    def remember_sha256(self, file_key: str, sha256: str) -> None:
        """The inverse of `remembered_sha256`; forgotten after a month."""
        self._redis.set(PREFIX + "file:" + file_key, sha256, ex=30 * 24 * 3600)


def _no_video(video_id: str) -> NotFound:
    return NotFound(f"there is no video {id_of(video_id)!r}; upload it with PUT /v1/videos")
