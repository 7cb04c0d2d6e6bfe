"""A store for the tests of a module that share one deployment; and videos of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import RabbitMQServer, RedisServer


@pytest.fixture(scope="module")
def shared_redis_url(redis_server: RedisServer) -> str:
    """redis://... of a Redis that is emptied before the first test of a module, not before each."""
    if not redis_server.is_running:
        redis_server.start()
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="module")
def shared_rabbitmq(rabbitmq_server: RabbitMQServer) -> Iterator[RabbitMQServer]:
    """RabbitMQ with a virtual host that is empty before the first test of a module, not before each."""
    with rabbitmq_server.empty_vhost():
        yield rabbitmq_server


@pytest.fixture
def make_own(request: pytest.FixtureRequest) -> Callable[[Path, Path], Path]:
    """Copy a video, so that it is another one to the service: one more MP4 box, which readers pass by, has the test's
    name.
    """

    def make(video: Path, folder: Path) -> Path:
        name = request.node.name.encode()
        copy = folder / f"{request.node.name}.mp4"
        copy.write_bytes(video.read_bytes() + (8 + len(name)).to_bytes(4, "big") + b"free" + name)
        return copy

    return make
