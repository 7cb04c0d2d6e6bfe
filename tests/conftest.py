"""What all tests share: assets, servers, devices, and a guard against errors that only the log knows of."""

from __future__ import annotations

import gc
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import httpx
import hypothesis
import pytest

from tests.servers import RabbitMQServer, RedisServer, find_rabbitmq, find_redis

ROOT = Path(__file__).resolve().parent.parent
KEPT_SETTINGS = ("CVPIPE_ASSETS", "CVPIPE_CHAOS_SECONDS", "CVPIPE_REQUIRE_GPU")

# In CI the same examples each time; no deadline, because a busy machine is not a defect.
hypothesis.settings.register_profile("cvpipe", deadline=None, derandomize="CI" in os.environ, print_blob=True)
hypothesis.settings.load_profile("cvpipe")

# Nearly every test makes clients, and each would read all certificate authorities anew, which takes 30 ms.
httpx._transports.default.create_ssl_context = cache(httpx.create_ssl_context)


def missing(what: str, *, promised: bool) -> NoReturn:
    """Skip the test, or fail it where `what` was promised to be there."""
    if promised:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def assets() -> Path:
    """Folder of real models and videos made by others (CVPIPE_ASSETS, or shared/assets beside the repository)."""
    folder = Path(os.environ.get("CVPIPE_ASSETS") or ROOT.parent / "shared" / "assets")
    if not folder.is_dir():
        missing(f"no test assets in {folder}; name their folder in CVPIPE_ASSETS", promised="CI" in os.environ)
    return folder


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this run; `redis_url` is what most tests want."""
    if find_redis() is None:
        missing("redis-server is not installed", promised="CI" in os.environ)
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("redis")
        if Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 2**30:
            # Each write is flushed. Where that is the disk's affair, it takes most of the time of tests of the store.
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="cvpipe-redis-", dir="/dev/shm")))
        server = RedisServer(folder)
        server.start()
        stack.callback(server.kill)
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """redis://... of an empty Redis: append-only file, fsync on each write, no eviction."""
    if not redis_server.is_running:
        redis_server.start()
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    """A RabbitMQ of this run; `rabbitmq` is what tests want."""
    if find_rabbitmq() is None:
        missing("rabbitmq-server is not installed", promised="CI" in os.environ)
    server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def rabbitmq(rabbitmq_server: RabbitMQServer) -> Iterator[RabbitMQServer]:
    """RabbitMQ with an empty virtual host; `.restart()`, `.stop()`, `.start()`, `.ctl(...)`."""
    with rabbitmq_server.empty_vhost():
        yield rabbitmq_server


@pytest.fixture
def rabbitmq_url(rabbitmq: RabbitMQServer) -> str:
    """amqp://... of an empty virtual host."""
    return rabbitmq.url


@cache
def no_gpu(device: str = "cuda:0") -> str | None:
    """Why tests can't use an NVIDIA GPU; None where a network really runs on it."""
    from cvpipe.errors import DeviceUnavailable
    from cvpipe.video.hardware import no_driver

    if (reason := no_driver()) is not None:
        return reason
    from cvpipe.inference import devices

    try:
        devices.choose(device)
    except DeviceUnavailable as error:
        return str(error)
    return None


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that a stage must run on."""
    return str(request.param)


def pytest_collection_finish() -> None:
    """What was imported and collected stays. Each model that is loaded has all objects looked through twice."""
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` skip without a GPU, and fail without one where it is promised."""
    if item.get_closest_marker("gpu") and (reason := no_gpu()):
        missing(reason, promised=os.environ.get("CVPIPE_REQUIRE_GPU") == "1")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CVPIPE_") and name not in KEPT_SETTINGS]:
        monkeypatch.delenv(name)


class _Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def _no_errors_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test during which cvpipe logs an error fails, unless it is marked `expects_errors`."""
    errors = _Errors()
    errors.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("cvpipe", "actors")]
    for logger in loggers:
        logger.addHandler(errors)
    yield
    for logger in loggers:
        logger.removeHandler(errors)
    if errors.lines and not request.node.get_closest_marker("expects_errors"):
        pytest.fail("errors were logged:\n" + "\n".join(errors.lines), pytrace=False)
