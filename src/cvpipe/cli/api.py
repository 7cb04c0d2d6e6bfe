"""`cvpipe api`: the HTTP service alone."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cvpipe.cli import extras, output
from cvpipe.cli.doors import check_data_dir, check_doors
from cvpipe.cli.options import Auth, Host, Port, load_settings
from cvpipe.errors import Unavailable

if TYPE_CHECKING:
    from cvpipe.settings import Settings

_STOP_SECONDS = 10
"""Longer than each process takes to answer what it has begun with (`cvpipe.api.server.GRACE_SECONDS`)."""


def api(  # noqa: PLR0917 - Typer hands them over by name
    host: Host = None,
    port: Port = None,
    auth: Auth = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Processes that answer, on one port. Default: 1.")] = 1,
    fd: Annotated[int | None, typer.Option(hidden=True, help="Serve on this open socket.")] = None,
    process: Annotated[int | None, typer.Option(hidden=True, help="Which of several processes this is.")] = None,
) -> None:
    """Serve the HTTP API. The store and the broker are where CVPIPE_REDIS_URL and CVPIPE_BROKER_URL say.

    Unless only this machine reaches it, requests need a key. The first start on a new store prints one on standard
    output, an administrator's; it is shown this once.
    """
    extras.require("api", what="cvpipe api")
    from cvpipe import log
    from cvpipe.embedded.alike import shared_socket
    from cvpipe.embedded.processes import say_ready
    from cvpipe.keys import keys_are_needed
    from cvpipe.stages import discover
    from cvpipe.store import make_first_key

    settings = load_settings(host=host, port=port, auth=auth)
    is_guarded = keys_are_needed(settings)
    discover()  # a stage file that is broken is told now, not with the first job
    check_data_dir(settings)
    check_doors(settings)
    if is_guarded and (key := make_first_key(str(settings.redis_url))) is not None:
        output.line(f"the first administrator's key, shown this once: {key}")
        output.flush()
    log.configure(settings.log_level)
    if processes > 1:
        _serve_by(processes, settings)
        return
    from cvpipe.api import create_app  # which the process that only starts others does without
    from cvpipe.api.server import Server

    class ToldServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                say_ready()

    # uvicorn raises the signal that ended it once more when all is closed; being asked to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = ToldServer(create_app(settings, process=process), settings)
    sockets = None
    if fd is not None:
        sockets = [socket.socket(fileno=fd)]
    elif process is not None:
        sockets = [shared_socket(settings.host, settings.port)]
    server.run(sockets=sockets)
    if not server.started:
        raise Unavailable("the API did not start; the log above says why")


def _serve_by(processes: int, settings: Settings) -> None:
    """Serve by several processes on one port, until told to stop."""
    from cvpipe.embedded.alike import keep_alike, shared_socket

    try:
        place = shared_socket(settings.host, settings.port)  # nobody listens on it: it keeps the port ours
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise Unavailable(f"the API can't listen on {where}: {error.strerror or error}") from None
    with place:
        port = place.getsockname()[1]
        keep_alike(
            lambda number: [sys.executable, "-P", "-m", "cvpipe", "api", "--process", str(number)],
            processes,
            environment={
                "CVPIPE_HOST": settings.host,
                "CVPIPE_PORT": str(port),
                **({"CVPIPE_AUTH": settings.auth} if settings.auth is not None else {}),
            },
            say=lambda text: output.note(f"cvpipe: {text}"),
            stop_seconds=_STOP_SECONDS,
        )
