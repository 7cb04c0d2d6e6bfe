"""Both clients behind one face, and time that does not pass."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import cvpipe
from cvpipe.client import asynchronous, blocking, following
from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.client.fake import BASE
from tests.client.server import Service
from tests.servers import RedisServer, free_port


class Naps(list[float]):
    """The seconds that a client slept; its clock goes on by them."""

    def monotonic(self) -> float:
        return sum(self)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    @classmethod
    def install(cls, patch: pytest.MonkeyPatch) -> Naps:
        """Have the clients sleep here."""
        naps = cls()
        anyio = SimpleNamespace(
            sleep=naps.sleep_async, open_file=asynchronous.anyio.open_file, to_thread=asynchronous.anyio.to_thread
        )
        patch.setattr(asynchronous, "anyio", anyio)
        patch.setattr(blocking, "time", SimpleNamespace(sleep=naps.sleep))
        patch.setattr(following, "time", SimpleNamespace(monotonic=naps.monotonic))
        return naps


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Naps:
    """What the client slept, without sleeping."""
    return Naps.install(monkeypatch)


Call = Callable[..., Any]


class OneClient:
    """`one.job("x")` is `client.job("x")` or `await client.job("x")`; what is iterated comes as a list."""

    def __init__(self, kind: str, base_url: str, handler: Callable[[httpx.Request], httpx.Response] | None) -> None:
        self._kind = kind
        self._base_url = base_url
        self._transport = None if handler is None else httpx.MockTransport(handler)

    def __getattr__(self, name: str) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._kind == "async":
                return asyncio.run(self._awaited(name, *args, **kwargs))
            with cvpipe.Client(self._base_url, transport=self._transport) as client:
                result = getattr(client, name)(*args, **kwargs)
                return list(result) if inspect.isgenerator(result) else result

        return call

    async def _awaited(self, name: str, *args: Any, **kwargs: Any) -> Any:
        async with cvpipe.AsyncClient(self._base_url, transport=self._transport) as client:
            result = getattr(client, name)(*args, **kwargs)
            return [item async for item in result] if inspect.isasyncgen(result) else await result


@pytest.fixture(params=["blocking", "async"])
def connect(request: pytest.FixtureRequest, naps: Naps) -> Callable[..., OneClient]:
    """`connect(handler)`: each client in turn, its requests answered by `handler`."""
    return lambda handler: OneClient(request.param, BASE, handler)


@pytest.fixture(params=["blocking", "async"])
def connect_to(request: pytest.FixtureRequest) -> Callable[..., OneClient]:
    """`connect_to(url)`: each client in turn, on a real network, in real time."""
    return lambda url: OneClient(request.param, url, None)


@pytest.fixture(scope="session")
def _running(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    service = Service(
        Settings(
            redis_url=redis_server.url,
            data_dir=folder,
            port=free_port(),
            max_upload_bytes=3_000_000,
            outside_loopback=True,
        )
    )
    yield service
    service.stop()


@pytest.fixture
def service(_running: Service, redis_url: str) -> Service:
    """The real API; its store is empty."""
    assert redis_url == _running.settings.redis_url
    return _running


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """The service's store, seen from a worker."""
    store = Store.connect(redis_url)
    yield store
    store.close()
