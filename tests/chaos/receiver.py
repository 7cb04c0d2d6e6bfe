"""A receiver of webhooks that fails some: what it takes is signed right, and noted in the history."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Self

from cvpipe import verify_webhook
from cvpipe.errors import InvalidWebhook
from tests.chaos.history import History

_FAILING = 0.2


class Receiver:
    """Listens on loopback. The first attempt at some messages is answered with 503, or not at all."""

    def __init__(self, history: History, secret: str, seed: int) -> None:
        self.secret = secret
        self.forged: list[str] = []
        self._history = history
        self._rng = Random(f"{seed} receiver")
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.take(dict(self.headers.items()), body)
                if status is not None:
                    self.send_response(status)
                    self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def take(self, headers: dict[str, str], body: bytes) -> int | None:
        """The status to answer with; None: hang up without one."""
        with self._lock:
            try:
                message = verify_webhook(body, headers, self.secret)
            except InvalidWebhook as error:
                self.forged.append(str(error))
                return 401
            name = headers["webhook-id"]
            is_first = name not in self._seen
            self._seen.add(name)
            if is_first and self._rng.random() < _FAILING:
                return self._rng.choice([503, None])
            self._history.add("receiver", "delivered", job=message["data"]["id"], event=message["type"], message=name)
            return 204

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
