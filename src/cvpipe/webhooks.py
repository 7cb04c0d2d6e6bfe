"""Webhooks as Standard Webhooks ask: signed, verified, delivered, and when to try again.

Specification: https://www.standardwebhooks.com (symmetric signatures, `v1`). What is signed is
`<message id>.<timestamp>.<body>`, by HMAC-SHA256; the id stays the same when a message is sent again, the
timestamp is that of the attempt.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import random
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpx

from cvpipe import __version__
from cvpipe.errors import InvalidRequest, InvalidWebhook
from cvpipe.loopback import is_loopback

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

SCHEDULE_SECONDS: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18000.0, 28800.0, 28800.0)
"""Waits between attempts: quick while a receiver restarts, about a day (23.7 h) in all."""

MAX_ATTEMPTS: Final = len(SCHEDULE_SECONDS) + 1

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - says what follows is a secret
_JITTER: Final = 0.1
_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_RETRY_AFTER_SECONDS: Final = 24 * 3600.0
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


def sign(secret: str, message_id: str, timestamp: float, body: bytes) -> dict[str, str]:
    """The three headers that prove who sent `body`.

    timestamp: of this attempt, seconds since the epoch; the fraction is dropped.
    Raises: InvalidRequest for an unusable secret or a message id that is empty or has a full stop, a space or
    anything but printable ASCII (the id is joined to the rest with full stops, and goes into a header).
    """
    _check_message_id(message_id)
    stamp = str(int(timestamp))
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: stamp,
        SIGNATURE_HEADER: "v1," + base64.b64encode(_digest(secret, message_id, stamp, body)).decode(),
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
    retry_after_seconds: the least wait that the receiver asked for, at most a day.
    """

    delivered: bool
    status: int | None = None
    error: str | None = None
    give_up: bool = False
    retry_after_seconds: float | None = None


def deliver(
    url: str,
    secret: str,
    message_id: str,
    body: bytes,
    *,
    timeout_seconds: float = 10,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Outcome:
    """POST `body` to `url`, signed with the time of now. Never raises for what the receiver or the network does.

    timeout_seconds: for the whole attempt, name lookup to answer, however slowly the bytes come. Redirects are not
    followed. Of the answer at most 64 KiB are read, and none of it is kept: what an internal address says must not
    become visible through a job. Not to be called from a running event loop.
    """
    try:
        headers = sign(secret, message_id, time.time(), body)
        scheme = httpx.URL(url).scheme
    except (InvalidRequest, httpx.InvalidURL) as error:
        return Outcome(delivered=False, error=_short(str(error)), give_up=True)
    if scheme not in ("http", "https"):
        return Outcome(
            delivered=False, error=f"only http and https, not {scheme or 'an address without scheme'}", give_up=True
        )
    headers |= {"content-type": "application/json", "user-agent": f"cvpipe/{__version__}"}
    # A coroutine, because only a cancelled one bounds an attempt as a whole: a socket timeout starts again with every
    # byte, and a receiver that sends one each second would hold a worker for hours.
    loop = asyncio.new_event_loop()
    try:
        outcome = loop.run_until_complete(_attempt(url, headers, body, timeout_seconds, transport))
        loop.run_until_complete(loop.shutdown_asyncgens())
        return outcome
    finally:
        loop.close()  # asyncio.run() would first wait for a name lookup that was given up


async def _attempt(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout_seconds: float,
    transport: httpx.AsyncBaseTransport | None,
) -> Outcome:
    answer: httpx.Response | None = None
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            httpx.AsyncClient(
                timeout=timeout_seconds, follow_redirects=False, transport=transport, trust_env=not is_loopback(url)
            ) as client,
            client.stream("POST", url, content=body, headers=dict(headers)) as answer,
        ):
            await _drain(answer)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        # The status line decides: a receiver that said 2xx and then broke off has taken the message.
        if answer is None:
            return Outcome(delivered=False, error=_describe(error, timeout_seconds))
    assert answer is not None
    return _judge(answer)


async def _drain(answer: httpx.Response) -> None:
    """Read a short answer to its end, so that a receiver still writing it sees no broken connection."""
    size = 0
    if answer.is_stream_consumed:  # a transport without a network has it whole
        return
    with suppress(httpx.HTTPError):
        async for part in answer.aiter_raw(8192):
            size += len(part)
            if size >= _MAX_ANSWER_BYTES:
                return


def _judge(answer: httpx.Response) -> Outcome:
    status = answer.status_code
    if 200 <= status < 300:
        return Outcome(delivered=True, status=status)
    error = f"HTTP {status} {answer.reason_phrase}".strip()
    if 300 <= status < 400:
        error += ": redirects are not followed, give the final address"
    return Outcome(
        delivered=False,
        status=status,
        error=_short(error),
        give_up=status == 410,
        retry_after_seconds=_retry_after(answer.headers.get("retry-after")),
    )


def backoff_seconds(attempt: int) -> float:
    """How long to wait after attempt number `attempt` (from 1) failed, with 10 % of jitter either way.

    After `MAX_ATTEMPTS` there is nothing left to wait for; the last wait repeats.
    Raises: ValueError for an attempt below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempts count from 1, got {attempt}")
    wait = SCHEDULE_SECONDS[min(attempt, len(SCHEDULE_SECONDS)) - 1]
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


def _retry_after(value: str | None) -> float | None:
    """Seconds form of Retry-After only; a date would need the receiver's clock to agree with ours."""
    if value is None or not (value.isascii() and value.isdecimal()):
        return None
    return min(float(value[:9]), _MAX_RETRY_AFTER_SECONDS)


def _describe(error: Exception, timeout_seconds: float) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"no answer within {timeout_seconds:g} s"
    if isinstance(error, httpx.ConnectError):
        what = "can't connect"
    elif isinstance(error, httpx.TransportError) and not isinstance(error, httpx.LocalProtocolError):
        what = "connection lost"
    else:
        what = "can't send"
    return _short(f"{what}: {error}" if str(error) else what)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_ERROR_CHARACTERS else text[: _MAX_ERROR_CHARACTERS - 1] + "…"
