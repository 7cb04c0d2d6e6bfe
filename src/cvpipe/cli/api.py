"""`cvpipe api`: the HTTP service alone."""

from __future__ import annotations

import signal
import socket
from typing import Annotated

import typer

from cvpipe.cli import extras, output
from cvpipe.cli.doors import check_data_dir, check_doors
from cvpipe.cli.options import Auth, Host, Port, load_settings
from cvpipe.errors import Unavailable


def api(
    host: Host = None,
    port: Port = None,
    auth: Auth = None,
    fd: Annotated[int | None, typer.Option(hidden=True, help="Serve on this open socket.")] = None,
) -> None:
    """Serve the HTTP API. The store and the broker are where CVPIPE_REDIS_URL and CVPIPE_BROKER_URL say.

    Unless only this machine reaches it, requests need a key. The first start on a new store prints one on standard
    output, an administrator's; it is shown this once.
    """
    extras.require("api", what="cvpipe api")
    from cvpipe import log
    from cvpipe.api import create_app
    from cvpipe.api.server import Server
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

    class ToldServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                say_ready()

    # uvicorn raises the signal that ended it once more when all is closed; being asked to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = ToldServer(create_app(settings), settings)
    server.run(sockets=None if fd is None else [socket.socket(fileno=fd)])
    if not server.started:
        raise Unavailable("the API did not start; the log above says why")
