"""A service of the test's own: the real app on a real server, store and bell."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from cvpipe.api import create_app
from cvpipe.api.server import Server
from cvpipe.settings import Settings
from cvpipe.stages import discover
from cvpipe.store import Store
from tests.servers import RedisServer


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """The service's store, seen from a worker."""
    store = Store.connect(redis_url)
    yield store
    store.close()


class Service:
    """A running service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self.server = Server(self.app, settings)
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        until = time.monotonic() + 60
        while not self.server.started:
            assert self._thread.is_alive(), "the service did not start"
            assert time.monotonic() < until, "the service did not start within 60 s"
            time.sleep(0.005)

    @property
    def url(self) -> str:
        host, port = self.server.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    def stop(self) -> float:
        """Stop the service; returns how many seconds it took."""
        began = time.monotonic()
        self.server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive(), "the service did not stop"
        return time.monotonic() - began


@pytest.fixture(scope="session")
def _running(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "root").mkdir()
    service = Service(
        Settings(
            redis_url=redis_server.url,
            data_dir=folder / "data",
            path_roots=str(folder / "root"),
            port=0,
            max_upload_bytes=3_000_000,
            max_body_bytes=300_000,
        )
    )
    discover()  # as the command does: the first job need not wait for it
    service.start()
    yield service
    service.stop()


@pytest.fixture
def service(_running: Service, redis_url: str) -> Service:
    """The service, knowing nothing and holding no files."""
    assert redis_url == _running.settings.redis_url
    shutil.rmtree(_running.settings.data_dir, ignore_errors=True)
    for left in _running.settings.roots_of("default")[0].iterdir():
        left.unlink()
    return _running


@pytest.fixture
def settings(service: Service) -> Settings:
    """The service's settings."""
    return service.settings


@pytest.fixture
def api(service: Service) -> Iterator[httpx.Client]:
    """A client of the service."""
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        yield client
