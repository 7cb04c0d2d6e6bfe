"""A network between a client and a service that breaks connections."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on, and resets each connection after so many bytes of answers as `budgets` says; None: never.

    requests: the same for the bytes of requests. cut: how many connections were reset.
    """

    def __init__(
        self, target: str, budgets: Iterator[int | None], *, requests: Iterator[int | None] | None = None
    ) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._budgets = budgets
        self._requests = itertools.repeat(None) if requests is None else requests
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for held in list(self._open):
            _reset(held)
        for thread in self._threads:
            thread.join(60)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            service = socket.create_connection(self._target)
            self._open |= {client, service}
            self._start(self._pass_on, client, service, next(self._requests))
            self._start(self._pass_on, service, client, next(self._budgets))

    def _pass_on(self, source: socket.socket, sink: socket.socket, budget: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                if budget is not None and passed + len(data) >= budget:
                    sink.sendall(data[: budget - passed])
                    self.cut += 1
                    break
                sink.sendall(data)
                passed += len(data)
        _reset(source)
        _reset(sink)


def _reset(held: socket.socket) -> None:
    with suppress(OSError):
        held.shutdown(socket.SHUT_RDWR)
    held.close()
