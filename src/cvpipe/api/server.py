"""Runs the app on uvicorn."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from cvpipe.api.connections import Patience
from cvpipe.settings import Settings

GRACE_SECONDS = 5
"""When told to stop, requests being answered get so long."""


class Server(uvicorn.Server):
    """A server whose event streams end when it is told to stop; by itself uvicorn waits for their clients to go."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,  # the entry point has set up logging
                access_log=False,
                server_header=False,
                http=Patience,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking requests, end the streams, and answer what is being answered."""
        self._app.state.resources.stopping.set()
        await super().shutdown(sockets)
