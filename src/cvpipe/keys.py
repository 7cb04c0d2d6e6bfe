"""API keys: what one says of its holder, how it is made, read and compared.

A key is `cvp_<id>_<secret>`: 12 hexadecimal digits that are no secret, and 256 random bits. Only the sha256 of the
secret is kept. A slow hash would guard nothing more: random bits of that number are not guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cvpipe.errors import Forbidden, InvalidRequest
from cvpipe.loopback import is_loopback, is_loopback_host
from cvpipe.numbers import numbers
from cvpipe.quotas import NO_QUOTAS, Quotas
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from cvpipe.tenants import DEFAULT, PATTERN

_KEY: Final = re.compile(r"cvp_([0-9a-f]{12})_([0-9a-f]{64})")


class KeyRequest(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, description="Who or what uses it.", examples=["camera gateway"])
    tenant: str = Field(
        default=DEFAULT, pattern=PATTERN, description="Whose jobs and videos it is for; others are not there for it."
    )
    scopes: frozenset[Scope] = Field(
        default=frozenset({Scope.submit, Scope.read}), min_length=1, description="What it may do."
    )
    quotas: Quotas = Field(default=Quotas(), description="How much it may take.")
    expires_in_seconds: float | None = Field(
        default=None, gt=0, le=100 * 366 * 24 * 3600, description="Good for so long. Default: until it is revoked."
    )

    _numbers = numbers("expires_in_seconds")

    @field_validator("scopes", mode="before")
    @classmethod
    def _once(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and len({str(one) for one in value}) < len(value):
            raise ValueError("name each scope once")
        return value


class ApiKey(BaseModel):
    """A key as the service shows it: all but the secret, which it does not know."""

    id: str = Field(description="The part of the key that is no secret.", examples=["3f9a1c2b7d5e"])
    name: str
    tenant: str
    scopes: list[Scope]
    quotas: Quotas = Quotas()
    created_at: float = Field(description="Seconds since the epoch, as all times of a key.")
    expires_at: float | None = None
    last_used_at: float | None = Field(default=None, description="To the minute.")
    revoked_at: float | None = None

    def check(self, now: float) -> None:
        """Raises: ValueError, saying why the key is not good any more. now: seconds since the epoch."""
        if self.revoked_at is not None:
            raise ValueError("the key was revoked")
        if self.expires_at is not None and now >= self.expires_at:
            raise ValueError("the key has expired")


class MadeKey(ApiKey):
    """A key just made, with its secret."""

    key: str = Field(
        repr=False, description="All of it. Keep it: it is shown this once.", examples=["cvp_3f9a1c2b7d5e_..."]
    )


class NewKey(NamedTuple):
    """A key just made. text: all of it, to be shown once. digest: what is kept of its secret."""

    id: str
    text: str
    digest: str


def new_key() -> NewKey:
    """A fresh random key."""
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    return NewKey(key_id, f"cvp_{key_id}_{secret}", _digest(secret))


@dataclass(frozen=True, slots=True)
class Credential:
    """A key as a client presents it. secret: not shown by `repr`."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Credential | None:
        """None: `text` is no key at all."""
        found = _KEY.fullmatch(text)
        return None if found is None else cls(*found.groups())

    def matches(self, digest: str) -> bool:
        """Whether its secret is the one behind `digest`; takes as long whether it is or not."""
        return hmac.compare_digest(_digest(self.secret), digest)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


SUBJECT: Final = "sub_"
"""How the name begins under which is counted what the subject of a token takes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. key: id of the key, or SUBJECT and a digest of who a token is about; None: there are no keys."""

    tenant: str
    scopes: frozenset[Scope]
    key: str | None = None
    quotas: Quotas = NO_QUOTAS

    def may(self, scope: Scope) -> bool:
        """Whether it may do what the scope is for."""
        return scope in self.scopes or Scope.admin in self.scopes

    def check(self, wanted: Collection[str]) -> None:
        """Raises: Forbidden where one of the scopes is missing."""
        for scope in map(Scope, wanted):
            if not self.may(scope):
                has = ", ".join(sorted(self.scopes)) or "none"
                what = "token" if self.key is not None and self.key.startswith(SUBJECT) else "key"
                raise Forbidden(f"this needs a {what} with the scope `{scope}`; the {what} has: {has}")


ANYBODY: Final = Identity(DEFAULT, frozenset({Scope.admin}))
"""Whoever reaches a service without keys, which only this machine does."""


def keys_are_needed(settings: Settings) -> bool:
    """Whether requests must bring a key: CVPIPE_AUTH, or else wherever others could reach the service.

    Raises: InvalidRequest where it was told to run without keys although others could reach it.
    """
    far = None
    if not is_loopback_host(settings.host):
        far = f"it listens on {settings.host or 'all addresses'}, which others reach"
    elif settings.public_url is not None and not is_loopback(settings.public_url):
        far = "CVPIPE_PUBLIC_URL says that others reach it"
    elif settings.oidc_issuer is not None:
        far = "CVPIPE_OIDC_ISSUER says who is let in"
    if settings.auth == "none" and far is not None:
        raise InvalidRequest(
            f"the service does not run without keys: {far}; set CVPIPE_AUTH=keys, or listen on 127.0.0.1", field="auth"
        )
    return settings.auth == "keys" or far is not None
