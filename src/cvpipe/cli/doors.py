"""What commands talk to: a running service, its store, its broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cvpipe.errors import InvalidRequest

if TYPE_CHECKING:
    from cvpipe.client import Client
    from cvpipe.settings import Settings


def without_password(url: str) -> str:
    """An address as it may be shown."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def open_client(url: str) -> Client:
    """A client of the service at `url`."""
    from cvpipe.client import Client

    return Client(url)


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
