"""From steps to httpx requests, alike for both clients."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Final

import httpx

from cvpipe import __version__
from cvpipe.client.steps import Ask, Fetch, Listen, Patch, Put
from cvpipe.errors import InvalidRequest
from cvpipe.loopback import is_loopback

DEFAULT_URL: Final = "http://127.0.0.1:8000"
KEY_VARIABLE: Final = "CVPIPE_API_KEY"

_CONNECT_SECONDS: Final = 5.0
_STORED_SECONDS: Final = 120.0
"""The last byte of an upload is sent long before a slow disk has it."""


def httpx_options(
    base_url: str, api_key: str | None, timeout: float | httpx.Timeout, headers: Mapping[str, str] | None
) -> dict[str, Any]:
    """Arguments of `httpx.Client` and `httpx.AsyncClient`.

    Raises: InvalidRequest where `base_url` is no address, or the key can't be sent in a header.
    """
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"{base_url!r} is no address: {error}", field="base_url") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidRequest(f"wanted an address like {DEFAULT_URL}, got {base_url!r}", field="base_url")
    if not isinstance(timeout, httpx.Timeout):
        timeout = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
    sent = httpx.Headers({"user-agent": f"cvpipe/{__version__}", "accept": "application/json"})
    if key := (os.environ.get(KEY_VARIABLE) if api_key is None else api_key):
        sent["authorization"] = f"Bearer {_checked(key.strip())}"
    sent.update(headers)
    is_here = is_loopback(base_url)
    options: dict[str, Any] = {"base_url": url, "timeout": timeout, "headers": sent, "trust_env": not is_here}
    if is_here and url.scheme == "http":
        # No TLS, not even to a proxy: a context that trusts nobody saves reading all authorities, some 30 ms.
        options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return options


def _checked(key: str) -> str:
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidRequest("an API key is one word of printable ASCII, such as cvp_...", field="api_key")
    return key


def asking(http: httpx.Client | httpx.AsyncClient, step: Ask) -> httpx.Request:
    """The request of an `Ask`."""
    return http.build_request(step.method, step.path, params=step.params, json=step.json, headers=step.headers)


def putting(
    http: httpx.Client | httpx.AsyncClient, step: Put, content: Iterable[bytes] | AsyncIterable[bytes]
) -> httpx.Request:
    """The request of a `Put`."""
    headers = {"content-type": "application/octet-stream", "content-length": str(step.transfer.size)}
    return http.build_request(
        "PUT", step.path, params=step.params, headers=headers, content=content, timeout=_stored(http)
    )


def patching(
    http: httpx.Client | httpx.AsyncClient, step: Patch, content: Iterable[bytes] | AsyncIterable[bytes]
) -> httpx.Request:
    """The request of a `Patch`."""
    headers = {**step.headers, "content-length": str(len(step.part))}
    return http.build_request("PATCH", step.path, headers=headers, content=content, timeout=_stored(http))


def _stored(http: httpx.Client | httpx.AsyncClient) -> httpx.Timeout:
    timeout = httpx.Timeout(http.timeout)
    timeout.read = None if timeout.read is None else max(timeout.read, _STORED_SECONDS)
    return timeout


def fetching(http: httpx.Client | httpx.AsyncClient, step: Fetch) -> httpx.Request:
    """The request of a `Fetch`. Files are compressed already; an identity body tells its size."""
    return http.build_request(
        "GET", step.path, params=step.params, headers={"accept": "*/*", "accept-encoding": "identity"}
    )


def listening(http: httpx.Client | httpx.AsyncClient, step: Listen) -> httpx.Request:
    """The request of a `Listen`."""
    headers = {"accept": "text/event-stream", "accept-encoding": "identity", "cache-control": "no-store"}
    if step.last_event_id is not None:
        headers["last-event-id"] = step.last_event_id
    timeout = httpx.Timeout(http.timeout)
    timeout.read = step.silence_seconds
    return http.build_request("GET", step.path, params=step.params, headers=headers, timeout=timeout)


def is_event_stream(response: httpx.Response) -> bool:
    """Whether the response is one to listen to."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return response.status_code == httpx.codes.OK and kind == "text/event-stream"
