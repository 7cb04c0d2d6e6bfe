"""Webhooks as Standard Webhooks ask: signed, verified, delivered, and when to try again.

Specification: https://www.standardwebhooks.com (symmetric signatures, `v1`). What is signed is
`<message id>.<timestamp>.<body>`, by HMAC-SHA256; the id stays the same when a message is sent again, the
timestamp is that of the attempt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import random
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from cvpipe import __version__
from cvpipe.errors import AddressRefused, InvalidRequest, InvalidWebhook, OutsideUnavailable

if TYPE_CHECKING:
    from cvpipe.outside import Answer, Caller

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

SCHEDULE_SECONDS: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18000.0, 28800.0, 28800.0)
"""Waits between attempts: quick while a receiver restarts, about a day (23.7 h) in all."""

MAX_ATTEMPTS: Final = len(SCHEDULE_SECONDS) + 1

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - says what follows is a secret
_JITTER: Final = 0.1
_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_RETRY_AFTER_SECONDS: Final = 8 * 3600.0  # the longest wait of the schedule
_MAX_ERROR_CHARACTERS: Final = 200


class Headers(Protocol):
    """Headers of a request, as a dictionary, `http.server`, and every web framework have them."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names, in any case, with their values."""
        ...


def new_secret() -> str:
    """A fresh random secret: `whsec_` and base64 of 32 bytes."""
    return _SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """The signing key of a secret: base64 after `whsec_`, any other secret as its own UTF-8 bytes.

    Raises: InvalidRequest where the secret is empty or the part after `whsec_` is not base64.
    """
    key = secret.encode()
    if secret.startswith(_SECRET_PREFIX):
        encoded = secret.removeprefix(_SECRET_PREFIX).rstrip("=")
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("a webhook secret is `whsec_` followed by base64; this one is not base64") from None
    if not key:
        raise InvalidRequest("a webhook secret can't be empty; cvpipe.webhooks.new_secret() makes one")
    return key


def secrets_of(secret: str | Sequence[str]) -> list[str]:
    """The secrets that a setting or a request holds: one, or several separated by spaces; each once."""
    if isinstance(secret, str):
        parts = secret.split()
        secret = parts if parts and all(part.startswith(_SECRET_PREFIX) for part in parts) else [secret]
    return list(dict.fromkeys(secret)) or [""]


def sign(secret: str | Sequence[str], message_id: str, timestamp: float, body: bytes) -> dict[str, str]:
    """The three headers that prove who sent `body`.

    secret: or several, while one takes over from another: there is a signature with each, and one that the receiver
    knows is enough for it. timestamp: of this attempt, seconds since the epoch; the fraction is dropped.
    Raises: InvalidRequest for an unusable secret or a message id that is empty or has a full stop, a space or
    anything but printable ASCII (the id is joined to the rest with full stops, and goes into a header).
    """
    _check_message_id(message_id)
    stamp = str(int(timestamp))
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: stamp,
        SIGNATURE_HEADER: " ".join(
            "v1," + base64.b64encode(_digest(one, message_id, stamp, body)).decode() for one in secrets_of(secret)
        ),
    }


def verify_webhook(
    body: bytes | str,
    headers: Headers,
    secret: str,
    *,
    tolerance_seconds: float = 300,
    now: float | None = None,
) -> dict[str, Any]:
    """The message in `body`, once it is certain that the holder of `secret` sent it, unaltered and just now.

    body: exactly as received; JSON parsed and written again will not verify. headers: names in any case.
    tolerance_seconds: how far the sender's clock may be from ours, either way, which also bounds replays;
    within it, drop messages whose `webhook-id` was seen before. now: seconds since the epoch, default: the clock.

    Raises: InvalidWebhook, saying which check failed; InvalidRequest where `secret` itself is unusable.

    >>> from cvpipe.webhooks import new_secret, sign, verify_webhook
    >>> secret, body = new_secret(), b'{"type":"job.succeeded"}'
    >>> verify_webhook(body, sign(secret, "msg_1", 1e9, body), secret, now=1e9)
    {'type': 'job.succeeded'}
    """
    raw = body.encode() if isinstance(body, str) else bytes(body)
    found = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER) if not found.get(name)]
    if missing:
        raise InvalidWebhook(f"header missing: {', '.join(missing)}")
    message_id, stamp = found[ID_HEADER], found[TIMESTAMP_HEADER]
    if "." in message_id:
        raise InvalidWebhook(f"{ID_HEADER} has a full stop, which the signature scheme forbids")
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12):
        raise InvalidWebhook(f"{TIMESTAMP_HEADER}: wanted seconds since the epoch, got {stamp[:40]!r}")
    expected = _digest(secret, message_id, stamp, raw)
    # Every signature is compared, so that the time taken says nothing about which one matched.
    matches = [hmac.compare_digest(expected, given) for given in _signatures(found[SIGNATURE_HEADER])]
    if not any(matches):
        raise InvalidWebhook("no signature matches: another secret, or the body is not byte for byte what was sent")
    age = (time.time() if now is None else now) - int(stamp)
    if abs(age) > tolerance_seconds:
        when = "ago" if age > 0 else "in the future"
        raise InvalidWebhook(f"sent {abs(age):.0f} s {when}; more than {tolerance_seconds:g} s is refused")
    try:
        message = json.loads(raw)
    except ValueError:
        raise InvalidWebhook("the signature is right, but the body is not JSON") from None
    if not isinstance(message, dict):
        raise InvalidWebhook(f"the signature is right, but the body is a JSON {type(message).__name__}, not an object")
    return message


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt to deliver.

    delivered: the receiver answered 2xx. status: HTTP status of its answer; None where there was none.
    error: short text where not delivered. give_up: trying again can't help (410 Gone, or nothing that can be sent).
    retry_after_seconds: the least wait that the receiver asked for, at most eight hours.
    """

    delivered: bool
    status: int | None = None
    error: str | None = None
    give_up: bool = False
    retry_after_seconds: float | None = None


def deliver(
    way: Caller,
    url: str,
    secret: str | Sequence[str],
    message_id: str,
    body: bytes,
    *,
    timeout_seconds: float = 10,
) -> Outcome:
    """POST `body` to `url`, signed with the time of now. Never raises for what the receiver or the network does.

    timeout_seconds: for the whole attempt, name lookup to answer, however slowly the bytes come. Redirects are not
    followed. Of the answer at most 64 KiB are read, so that a receiver still writing it sees no broken connection, and
    none of it is kept: what an internal address says must not become visible through a job.
    Not to be called from a running event loop.
    """
    try:
        headers = sign(secret, message_id, time.time(), body)
        way.check(url)
    except InvalidRequest as error:
        return Outcome(delivered=False, error=_short(str(error)), give_up=True)
    headers |= {"content-type": "application/json", "user-agent": f"cvpipe/{__version__}"}
    try:
        answer = way.call(
            "POST", url, headers=headers, body=body, timeout_seconds=timeout_seconds, max_answer_bytes=_MAX_ANSWER_BYTES
        )
    except (AddressRefused, OutsideUnavailable) as error:  # where its name leads can change
        return Outcome(delivered=False, error=_short(str(error)))
    return _judge(answer)


def _judge(answer: Answer) -> Outcome:
    """The status line decides: a receiver that said 2xx and then broke off has taken the message."""
    status = answer.status
    if 200 <= status < 300:
        return Outcome(delivered=True, status=status)
    error, wait = f"HTTP {status} {answer.reason}".strip(), answer.retry_after_seconds
    if 300 <= status < 400:
        error += ": redirects are not followed, give the final address"
    return Outcome(
        delivered=False,
        status=status,
        error=_short(error),
        give_up=status == 410,
        retry_after_seconds=None if wait is None else min(wait, _MAX_RETRY_AFTER_SECONDS),
    )


def backoff_seconds(attempt: int, schedule: Sequence[float] = SCHEDULE_SECONDS) -> float:
    """How long to wait after attempt number `attempt` (from 1) failed, with 10 % of jitter either way.

    Behind the end of the schedule there is nothing left to wait for; the last wait repeats.
    Raises: ValueError for an attempt below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempts count from 1, got {attempt}")
    wait = schedule[min(attempt, len(schedule)) - 1]
    return wait * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, guards nothing


def _digest(secret: str, message_id: str, stamp: str, body: bytes) -> bytes:
    return hmac.digest(secret_bytes(secret), f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)


def _check_message_id(message_id: str) -> None:
    printable = message_id.isascii() and message_id.isprintable() and not set(message_id) & {".", " "}
    if not message_id or not printable:
        raise InvalidRequest(f"a message id is printable ASCII without full stops or spaces, got {message_id!r}")


def _signatures(header: str) -> list[bytes]:
    """The `v1` signatures of the header; other versions and what is no base64 are passed over."""
    found = []
    for entry in header.split():
        version, _, encoded = entry.partition(",")
        if version == "v1":
            with suppress(binascii.Error, ValueError):
                found.append(base64.b64decode(encoded, validate=True))
    return found


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_ERROR_CHARACTERS else text[: _MAX_ERROR_CHARACTERS - 1] + "…"
