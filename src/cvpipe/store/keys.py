"""API keys, by their ids; of a secret only its digest. A revoked key stays, so that lists show what it was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from cvpipe.errors import NotFound
from cvpipe.keys import ApiKey, KeyRequest, NewKey, new_key
from cvpipe.scopes import Scope
from cvpipe.store.connection import PREFIX, Connection, guarded
from cvpipe.tenants import DEFAULT

_USE_SECONDS: Final = 60
"""The last use is noted at most so often."""


class Keys(Connection):
    """What the service asks about keys."""

    @guarded
    def make_key(self, request: KeyRequest) -> tuple[ApiKey, str]:
        """Make a key. Returns what is kept of it, and the key itself, which is told once and never again."""
        made = new_key()
        return self._put(made, request, only_first=False)[0], made.text

    @guarded
    def make_first_key(self) -> str | None:
        """The key of the first administrator, where there has never been any key; None where there has."""
        made = new_key()
        request = KeyRequest(name="first administrator", tenant=DEFAULT, scopes=frozenset({Scope.admin}))
        return made.text if self._put(made, request, only_first=True)[1] else None

    def _put(self, made: NewKey, request: KeyRequest, *, only_first: bool) -> tuple[ApiKey, bool]:
        now = round(time.time(), 3)
        key = ApiKey(
            id=made.id,
            name=request.name,
            tenant=request.tenant,
            scopes=sorted(request.scopes),
            quotas=request.quotas,
            created_at=now,
            expires_at=None if request.expires_in_seconds is None else round(now + request.expires_in_seconds, 3),
        )
        doc = key.model_dump_json(exclude={"last_used_at", "revoked_at"})
        return key, bool(self._commit("put_key", [made.id, doc, made.digest, int(only_first)]))

    @guarded
    def key(self, key_id: str) -> tuple[ApiKey, str]:
        """A key, and the digest of its secret. Raises: NotFound."""
        fields = self._redis.hgetall(_key(key_id))
        if b"doc" not in fields:
            raise NotFound(f"there is no key {key_id!r}")
        return _read(fields), fields[b"digest"].decode()

    @guarded
    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones too, in the order in which they were made."""
        pipe = self._redis.pipeline(transaction=False)
        for key_id in self._redis.smembers(PREFIX + "keys"):
            pipe.hgetall(_key(key_id.decode()))
        return sorted(map(_read, pipe.execute()), key=lambda key: (key.created_at, key.id))

    @guarded
    def revoke_key(self, key_id: str) -> ApiKey:
        """Have a key be good for nothing from now on. One that was revoked before stays as it is. Raises: NotFound."""
        self._commit("revoke_key", [key_id, round(time.time(), 3)])
        return self.key(key_id)[0]

    @guarded
    def note_use(self, key: ApiKey) -> None:
        """Note that a key was used just now."""
        now = time.time()
        if key.last_used_at is None or now - key.last_used_at >= _USE_SECONDS:
            self._redis.hset(_key(key.id), "used_at", round(now - now % _USE_SECONDS))


def _key(key_id: str) -> str:
    return f"{PREFIX}key:{key_id}"


def _read(fields: Mapping[bytes, bytes]) -> ApiKey:
    def seconds(name: bytes) -> float | None:
        return float(fields[name]) if name in fields else None

    told = {"last_used_at": seconds(b"used_at"), "revoked_at": seconds(b"revoked_at")}
    return ApiKey.model_validate_json(fields[b"doc"]).model_copy(update=told)
