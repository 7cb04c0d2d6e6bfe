"""Lines between processes and servers: TCP proxies that cut, delay, and lose what is said in one direction or in both.

One thread with an event loop serves all of them. A line is what one process has to one server, so that a fault can
meet one worker and leave the others alone.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Direction = Literal["requests", "answers"]
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to a line's traffic.

    delay_seconds: each block arrives so much later. lost: what is said in these directions never arrives, and nobody is
    told (half-open). cut: connections are reset, new ones at once.
    """

    delay_seconds: float = 0.0
    lost: frozenset[Direction] = frozenset()
    cut: bool = False


FAIR = Weather()


@dataclass(eq=False, slots=True)
class _Link:
    """One connection: of the process, and the one made for it to the server."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    lossy: bool = False

    def reset(self) -> None:
        for writer in (self.near, self.far):
            with suppress(OSError):
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # RST, no FIN
            writer.transport.abort()


@dataclass(eq=False)
class Line:
    """A port of this machine that leads to a server's port, in all weathers. Made by `Network.line`."""

    target_port: int
    port: int = 0
    weather: Weather = FAIR
    _links: set[_Link] = field(default_factory=set)

    async def open(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def set(self, weather: Weather) -> None:
        self.weather = weather
        for link in list(self._links):
            # A connection that has lost bytes would go on with half a message.
            if weather.cut or link.lossy:
                link.reset()

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self.weather.cut:
            await _refuse(near)
            return
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:  # the server is down: so is the line
            await _refuse(near)
            return
        link = _Link(near, far)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._carry(link, reader, far, "requests"), self._carry(link, far_reader, near, "answers")
            )
        except OSError:
            link.reset()
        finally:
            self._links.discard(link)
            for writer in (near, far):
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _carry(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        while block := await reader.read(_BLOCK_BYTES):
            if self.weather.delay_seconds:
                await asyncio.sleep(self.weather.delay_seconds)
            if direction in self.weather.lost:
                link.lossy = True
                continue
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            with suppress(OSError):
                writer.write_eof()


async def _refuse(near: asyncio.StreamWriter) -> None:
    near.transport.abort()
    with suppress(OSError):
        await near.wait_closed()


class Network:
    """All lines, on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lines: list[Line] = []
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def line(self, target_port: int) -> Line:
        """A new line to a port of this machine."""
        line = Line(target_port)
        self._servers.append(self._run(line.open()))
        self._lines.append(line)
        return line

    def set(self, line: Line, weather: Weather) -> None:
        """Change the weather of a line, for the connections that there are and those to come."""
        self._run(line.set(weather))

    def close(self) -> None:
        """Close all lines."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for line in self._lines:
            await line.set(Weather(cut=True))
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
