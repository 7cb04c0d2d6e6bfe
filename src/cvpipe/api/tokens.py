"""Bearer tokens of an OpenID Connect provider: who they are about, and what that one may do.

Signed JWTs (RFC 7519) are verified here with the provider's public keys: nobody is asked about a single token. The
algorithm is one of ours, whatever a token says of itself (RFC 8725, 3.1); so neither `none` nor a shared secret can be.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import jwt
from jwt.algorithms import RSAAlgorithm

from cvpipe.errors import CvpipeError, Forbidden, InvalidRequest, Unauthenticated, Unavailable
from cvpipe.keys import SUBJECT, Identity
from cvpipe.log import fields
from cvpipe.loopback import is_loopback
from cvpipe.outside import Outside
from cvpipe.quotas import read_quotas
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from cvpipe.tenants import DEFAULT, is_tenant

log = logging.getLogger(__name__)

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
LEEWAY_SECONDS: Final = 30
"""How far the clocks of this machine and the provider's may be apart."""

_KEEP_SECONDS: Final = 3600
"""Keys are read again after so long, so that one taken back is good for no longer."""
_AGAIN_SECONDS: Final = 60
"""And where a token names another, at most so often: strangers' tokens must not have the provider called."""
_MAX_TOKEN_CHARACTERS: Final = 16_384
_MAX_KEYS_BYTES: Final = 2**20
_TIMEOUT_SECONDS: Final = 10
_MIN_RSA_BITS: Final = 2048
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})

KeySet = Mapping[str, jwt.PyJWK]
"""Public keys by their ids; "" is the only one, where it has none."""


class Tokens:
    """Reads tokens. One for each process: keys are kept, so that none is fetched for a token that names a known one."""

    def __init__(
        self, settings: Settings, read: Callable[[], KeySet], *, again_seconds: float = _AGAIN_SECONDS
    ) -> None:
        """read: the provider's keys as they are now; blocking. again_seconds: between two reads, at least."""
        self._settings = settings
        self._read = read
        self._again_seconds = again_seconds
        self._quotas = read_quotas(settings.oidc_quotas)
        self._scopes = [pair.rpartition("=")[::2] for pair in settings.oidc_scopes.split()]
        self._keys: KeySet = {}
        self._read_at = self._tried_at = -float("inf")
        self._reading = anyio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Tokens | None:
        """None: no provider was named. Raises: InvalidRequest where a file of keys can't be read."""
        if settings.oidc_issuer is None:
            return None
        if settings.oidc_jwks is not None:
            keys_of(settings)  # what is wrong with the file is told at the start
        return cls(settings, lambda: keys_of(settings))

    async def holder(self, token: str) -> Identity:
        """Who a token is about. Raises: Unauthenticated, Forbidden (no tenant), Unavailable (no keys to be had)."""
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise Unauthenticated(f"the token is longer than {_MAX_TOKEN_CHARACTERS} characters")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthenticated(
                "what came is neither an API key, `cvp_...`, nor a token: three parts in base64 with dots between them"
            ) from None
        algorithm, key_id = header.get("alg"), header.get("kid", "")
        if algorithm not in ALGORITHMS:
            raise Unauthenticated(f"the token is not signed by one of {', '.join(ALGORITHMS)}")
        key = await self._find(key_id)
        if key.algorithm_name != algorithm:
            raise Unauthenticated("the token is signed by another algorithm than its key is for")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.oidc_audience,
                issuer=self._settings.oidc_issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(_why(error)) from None
        return self._identity(claims)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        tenant: Any = DEFAULT
        if self._settings.oidc_tenant_claim is not None:
            tenant = _claim(claims, self._settings.oidc_tenant_claim)
            if not (isinstance(tenant, str) and is_tenant(tenant)):
                name = self._settings.oidc_tenant_claim
                raise Forbidden(f"the token names no tenant: its claim `{name}` is missing, or no tenant's name")
        told = _claim(claims, self._settings.oidc_scope_claim)
        words = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        scopes = frozenset(Scope(scope) for word, scope in self._scopes if word in words)
        subject = hashlib.sha256(json.dumps([claims["iss"], claims["sub"]]).encode()).hexdigest()[:24]
        return Identity(tenant, scopes, SUBJECT + subject, self._quotas)

    async def _find(self, key_id: str) -> jwt.PyJWK:
        """The key of that id, read anew where it is not known, or was read too long ago."""
        found, now = self._keys.get(key_id), time.monotonic()
        if found is not None and (now - self._read_at < _KEEP_SECONDS or self._reading.locked()):
            return found
        async with self._reading:
            now = time.monotonic()
            if now - self._tried_at >= self._again_seconds:
                self._tried_at = now
                try:
                    self._keys = await anyio.to_thread.run_sync(self._read)
                    self._read_at = time.monotonic()
                except CvpipeError as error:
                    log.warning("the identity provider's keys can't be read %s", fields(error=error))
        if not self._keys:
            raise Unavailable("the identity provider's keys can't be had; the service's log says why")
        found = self._keys.get(key_id)
        if found is None:
            raise Unauthenticated("the token is signed by a key that the identity provider does not show")
        return found


def keys_of(settings: Settings) -> KeySet:
    """The provider's keys as they are now: of the file, or fetched. Blocking.

    Raises: InvalidRequest (the file), Unavailable, AddressRefused.
    """
    if settings.oidc_jwks is None:
        return fetch_keys(str(settings.oidc_issuer), Outside.of(settings))
    try:
        return parse_keys(settings.oidc_jwks.read_bytes())
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InvalidRequest(f"can't read {settings.oidc_jwks}: {said}", field="CVPIPE_OIDC_JWKS") from None


def fetch_keys(issuer: str, outside: Outside) -> KeySet:
    """The keys that a provider shows (OpenID Connect Discovery 1.0, 4). Raises: Unavailable, AddressRefused."""
    about = _fetch(outside, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    try:
        known = json.loads(about)
        address, told = known["jwks_uri"], known["issuer"]
        if told != issuer:
            raise ValueError(f"it says that it is {told!r}, not {issuer!r}")
        if urlsplit(address).scheme != "https" and not is_loopback(issuer):
            raise ValueError("its keys are not behind https")
        return parse_keys(_fetch(outside, address))
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"{issuer} does not answer as an OpenID Connect provider: {error}") from None


def parse_keys(document: bytes) -> KeySet:
    """The keys of a JWKS that can be used: public ones, for signatures by ALGORITHMS. Raises: ValueError."""
    try:
        told = json.loads(document)["keys"]
        suitable = [one for one in told if one.get("use", "sig") == "sig" and one.get("kty") in {"RSA", "EC", "OKP"}]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("it is no JWKS: wanted a JSON object with a list `keys`") from None
    keys: dict[str, jwt.PyJWK] = {}
    for one in suitable:
        try:
            key = jwt.PyJWK({name: value for name, value in one.items() if name not in _PRIVATE})
        except jwt.PyJWTError:
            continue  # for something else: a set may have keys of kinds that are not known here
        is_weak = isinstance(key.Algorithm, RSAAlgorithm) and key.key.key_size < _MIN_RSA_BITS
        if key.algorithm_name in ALGORITHMS and not is_weak:
            keys[str(one.get("kid", ""))] = key
    if not keys:
        raise ValueError(f"it has no key for {', '.join(ALGORITHMS)}")
    if len(keys) == 1:
        keys[""] = next(iter(keys.values()))
    return keys


def _fetch(outside: Outside, url: str) -> bytes:
    answer = outside.call(
        "GET",
        url,
        headers={"accept": "application/json"},
        timeout_seconds=_TIMEOUT_SECONDS,
        max_answer_bytes=_MAX_KEYS_BYTES,
    )
    if answer.status != 200 or answer.problem:
        raise Unavailable(f"{url} answered {answer.status} {answer.problem or ''}".strip())
    return answer.body


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the way to it: `realm_access.roles`."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _why(error: jwt.PyJWTError) -> str:
    for kind, words in _WHY.items():
        if isinstance(error, kind):
            return words
    return "the token is not good"


_WHY: Final = {
    jwt.ExpiredSignatureError: "the token has expired; get another",
    jwt.ImmatureSignatureError: "the token is not good yet",
    jwt.InvalidAudienceError: "the token was made for another audience",
    jwt.InvalidIssuerError: "the token is from another issuer",
    jwt.MissingRequiredClaimError: "the token lacks one of the claims exp, iss, aud and sub",
    jwt.InvalidSignatureError: "the token's signature does not fit",
}
