"""A receiver of webhooks, as small as one can be: what your own service would do with them."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cvpipe import Client
from cvpipe.errors import InvalidWebhook

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook whose signature was right. id: the same again where one message is sent twice."""

    id: str
    message: dict[str, Any]


class Receiver:
    """Listens on this machine, on a free port. Takes only what is signed with `secret`."""

    def __init__(self, secret: str) -> None:
        self._taken: queue.Queue[Webhook] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(secret, self._taken))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks"

    def wait(self, timeout_seconds: float) -> Webhook | None:
        """The next webhook; None where none came in time."""
        try:
            return self._taken.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _handler(secret: str, taken: queue.Queue[Webhook]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(min(length, _MAX_BYTES))
            try:
                message = Client.verify_webhook(body, dict(self.headers.items()), secret)
            except InvalidWebhook:
                self._answer(401)
                return
            taken.put(Webhook(self.headers["webhook-id"], message))
            self._answer(204)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the terminal is the demo's."""

    return Handler
