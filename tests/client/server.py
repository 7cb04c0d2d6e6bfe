"""The real API on a socket of its own, which can be restarted at the same address."""

from __future__ import annotations

import threading
import time

from cvpipe.api import create_app
from cvpipe.api.server import Server
from cvpipe.settings import Settings


class Service:
    """A running service; `settings` says where its files are."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self) -> None:
        self._server = Server(create_app(self.settings), self.settings)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until = time.monotonic() + 60
        while not self._server.started:
            assert self._thread.is_alive(), "the service did not start"
            assert time.monotonic() < until, "the service did not start within 60 s"
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive(), "the service did not stop"

    def restart(self) -> None:
        self.stop()
        self.start()
