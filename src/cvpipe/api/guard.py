"""What stands before every route: the limit of a request's body, headers that keep browsers from doing harm, and, under
`/v1`, a look at the names of query parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cvpipe.api import problems
from cvpipe.pipeline.spec import hint

SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer that does not set them itself."""
_RAW_HEADERS: Final = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


async def known_query(request: Request) -> None:
    """A dependency of every route under `/v1`: refuses query parameters that the route does not know.

    An option that is misspelt would otherwise be ignored in silence. Probes and pages take any: load balancers and
    browsers put their own there. Raises: RequestValidationError.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = set(_query_names(route.dependant))
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        raise RequestValidationError(
            [
                {"type": "value_error", "loc": ("query", name), "input": None, "msg": f"{_NO_SUCH}{hint(name, known)}"}
                for name in unknown
            ]
        )


_NO_SUCH: Final = "there is no such query parameter"


def _query_names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for inner in dependant.dependencies:
        yield from _query_names(inner)


class SecurityHeaders:
    """Puts SECURITY_HEADERS on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                message["headers"] = headers + [pair for pair in _RAW_HEADERS if pair[0] not in there]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses a request body over `limit` bytes, by its `Content-Length` or else while it arrives.

    FastAPI's own `max_body_size` answers in plain text where the length is declared, not with a problem document.
    exempt: (method, path) of routes that have a limit of their own; a path that ends with `/` stands for all below it.
    """

    def __init__(self, app: ASGIApp, *, limit: int, exempt: Collection[tuple[str, str]] = ()) -> None:
        self._app = app
        self._limit = limit
        self._exempt = frozenset(exempt)
        self._detail = f"the body is over the limit of {limit} bytes; the operator sets it with CVPIPE_MAX_BODY_BYTES"

    def _is_exempt(self, method: str, path: str) -> bool:
        return (method, path) in self._exempt or (method, path[: path.rfind("/") + 1]) in self._exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or self._is_exempt(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if declared.isdigit() and int(declared) > self._limit:
            response = problems.respond("too_large", self._detail, instance=scope["path"])
            await response(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit:
                    raise HTTPException(413, self._detail)
            return message

        await self._app(scope, receive_limited, send)
