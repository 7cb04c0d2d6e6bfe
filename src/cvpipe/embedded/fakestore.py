"""fakeredis as a server on a socket that the parent has bound: `python -m cvpipe.embedded.fakestore FD`."""

from __future__ import annotations

import signal
import socket
import sys

from fakeredis import TcpFakeServer


def main(fd: int) -> None:
    """Serve until SIGTERM."""
    server = TcpFakeServer(("127.0.0.1", 0), bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=fd)
    server.server_address = server.socket.getsockname()
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
