"""What routes work with: opened when the service starts, closed when it stops, handed to routes by FastAPI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends, Request

from cvpipe.api.groupcommit import GroupCommit
from cvpipe.broker import Bell, make_broker
from cvpipe.errors import InvalidRequest
from cvpipe.lifecycle import Lifecycle
from cvpipe.settings import Settings
from cvpipe.store import Store


@dataclass(frozen=True, slots=True)
class Resources:
    """The settings, the doors, and the verbs of one running service.

    stopping: set when the service is told to stop, so that answers without an end (event streams) end.
    streams: how many more event streams may be opened.
    """

    settings: Settings
    store: Store
    bell: Bell
    lifecycle: Lifecycle
    submissions: GroupCommit
    stopping: anyio.Event
    streams: anyio.Semaphore


@contextmanager
def open_resources(
    settings: Settings, stopping: anyio.Event, *, store: Store | None = None, bell: Bell | None = None
) -> Iterator[Resources]:
    """The service's resources; what was handed in is left open at the end. Blocking: it connects.

    Raises: InvalidRequest (no store to connect to), StoreUnavailable.
    """
    if settings.redis_url is None and (store is None or bell is None):
        raise InvalidRequest("there is no store: set CVPIPE_REDIS_URL, or start the service with `cvpipe up`")
    own_store = Store.connect(str(settings.redis_url)) if store is None else None
    broker = None
    own_bell = None
    submissions = None
    try:
        if bell is None:
            broker = make_broker(broker_url=settings.broker_url, redis_url=str(settings.redis_url))
            own_bell = Bell(broker)
        used_store, used_bell = store or own_store, bell or own_bell
        assert used_store is not None
        assert used_bell is not None
        lifecycle = Lifecycle(used_store, used_bell, settings)
        submissions = GroupCommit(lifecycle)
        yield Resources(
            settings,
            used_store,
            used_bell,
            lifecycle,
            submissions,
            stopping,
            anyio.Semaphore(settings.max_streams),
        )
    finally:
        if submissions is not None:
            submissions.close()
        if own_bell is not None:
            own_bell.close()
        if broker is not None:
            broker.close()
        if own_store is not None:
            own_store.close()


async def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


async def _store(request: Request) -> Store:
    return (await _resources(request)).store


async def _lifecycle(request: Request) -> Lifecycle:
    return (await _resources(request)).lifecycle


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


ResourcesDep = Annotated[Resources, Depends(_resources)]
StoreDep = Annotated[Store, Depends(_store)]
LifecycleDep = Annotated[Lifecycle, Depends(_lifecycle)]
SettingsDep = Annotated[Settings, Depends(_settings)]
