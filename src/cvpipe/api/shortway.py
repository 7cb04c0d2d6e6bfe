"""The short way of `POST /v1/jobs`, the one request that must be answered a thousand times a second.

FastAPI finds the route, its dependencies and the body's fields anew with each request, which takes longer than all the
rest. A submission as they mostly are is read here, by the same model, and committed the same way; whatever is not one,
and whatever is wrong, goes on to FastAPI as it came, which says what is to be said.
"""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cvpipe.api import problems
from cvpipe.api.jobs import IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_CHARACTERS, accepted, router, submit_job
from cvpipe.api.resources import Resources
from cvpipe.errors import CvpipeError
from cvpipe.job import JobRequest
from cvpipe.scopes import Scope as Right

_KEY: Final = re.compile(IDEMPOTENCY_KEY)
_READ: Final = frozenset({b"content-type", b"content-length", b"idempotency-key"})


class ShortWay:
    """Answers submissions before FastAPI sees them. Stands behind the gate and the limit of a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # The ordinary way, under whose name requests are counted.
        routes = [route for route in router.routes if isinstance(route, APIRoute)]
        self._route = next(route for route in routes if route.endpoint is submit_job)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != self._route.path:
            await self._app(scope, receive, send)
            return
        headers = _plain_headers(scope)
        if headers is None:
            await self._app(scope, receive, send)
            return
        messages = [message := await receive()]
        while message["type"] == "http.request" and message.get("more_body"):
            messages.append(message := await receive())
        request = None if message["type"] != "http.request" else _read(messages)
        if request is None:
            await self._app(scope, _again(messages, receive), send)
            return
        scope["route"] = self._route
        resources: Resources = scope["app"].state.resources
        try:
            job, is_new = await resources.submissions.submit(
                request, by=scope["state"]["identity"], idempotency_key=headers.get(b"idempotency-key")
            )
        except CvpipeError as error:
            response: Response = await problems.on_cvpipe_error(Request(scope), error)
        else:
            response = accepted(job, is_new=is_new)
        await response(scope, receive, send)


def _plain_headers(scope: Scope) -> dict[bytes, str] | None:
    """What is to be read of a request's headers; None: it is to go the ordinary way."""
    identity = scope["state"]["identity"]
    if identity is None or not identity.may(Right.submit) or scope["query_string"]:
        return None
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in _READ:
            if name in found:
                return None
            found[name] = value.decode("latin-1")
    if found.get(b"content-type") != "application/json" or b"content-length" not in found:
        return None
    key = found.get(b"idempotency-key")
    if key is not None and (len(key) > IDEMPOTENCY_KEY_CHARACTERS or not _KEY.fullmatch(key)):
        return None
    return found


def _read(messages: list[Message]) -> JobRequest | None:
    """The request; None: something is wrong with it."""
    try:
        document: Any = from_json(b"".join(message.get("body", b"") for message in messages), allow_inf_nan=False)
        return JobRequest.model_validate(document)
    except (ValueError, ValidationError):
        return None


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Hands out the messages once more, then those that follow."""
    left = iter(messages)

    async def receive_again() -> Message:
        return next(left, None) or await receive()

    return receive_again
