"""What commands talk to: a running service, its store, its broker."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cvpipe.cli import output
from cvpipe.errors import InvalidRequest

if TYPE_CHECKING:
    from cvpipe.client import Client
    from cvpipe.settings import Settings
    from cvpipe.store import Store


def without_password(url: str) -> str:
    """An address as it may be shown."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def open_client(url: str) -> Client:
    """A client of the service at `url`, with the key of CVPIPE_API_KEY."""
    from cvpipe.client import Client

    return Client(url)


def find_store(settings: Settings) -> str | None:
    """Address of the store: CVPIPE_REDIS_URL, or that of the `cvpipe up` that runs on the data directory; else None."""
    if settings.redis_url:
        return settings.redis_url
    try:
        holder = json.loads((settings.data_dir.expanduser() / "run" / "up.lock").read_text())
        os.kill(holder["pid"], 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    store = holder.get("store")
    return store if isinstance(store, str) else None


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The service's store. Raises: InvalidRequest where there is none; StoreUnavailable."""
    from cvpipe.store import Store

    url = find_store(settings)
    if url is None:
        raise InvalidRequest("there is no store: set CVPIPE_REDIS_URL, or start the service first with `cvpipe up`")
    store = Store.connect(url)
    try:
        yield store
    finally:
        store.close()


def check_data_dir(settings: Settings) -> None:
    """Raises: InvalidRequest where the data directory can't be written."""
    folder = settings.data_dir.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidRequest(
            f"can't write to the data directory {folder}: {error.strerror}; give it to the user that cvpipe runs as, "
            "or name another in CVPIPE_DATA_DIR",
            field="data_dir",
        ) from None


def check_doors(settings: Settings) -> None:
    """Make sure that the store answers and keeps what it is told, and that the broker is as it should be.

    Raises: InvalidRequest, StoreUnavailable, Conflict; each says what to do.
    """
    from cvpipe.broker import DEFAULT_QUEUES, check_broker

    ping_store(settings)
    if not check_broker(settings.broker_url, (*DEFAULT_QUEUES, *settings.extra_queues.split())):
        output.note("cvpipe: the broker does not answer; jobs begin once it does, or the sweeper rings")


def ping_store(settings: Settings) -> None:
    """Make sure that the store answers, before anything is built on it.

    uvicorn and Dramatiq only log what fails while they start, and Dramatiq even goes on.
    Raises: InvalidRequest where no store is named; StoreUnavailable.
    """
    from cvpipe.store import Store

    if not settings.redis_url:
        raise InvalidRequest("there is no store: set CVPIPE_REDIS_URL, or start all of it with `cvpipe up`")
    store = Store.connect(settings.redis_url)
    try:
        store.ping()
    finally:
        store.close()
