"""The service's app: routes, what stands before them, and the resources that live as long as it does."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
from fastapi import Depends, FastAPI
from starlette.types import ASGIApp

from cvpipe.api import (
    calls,
    cameras,
    catalogue,
    deliveries,
    docs,
    document,
    eventlog,
    events,
    exports,
    frames,
    gate,
    guard,
    health,
    jobs,
    keys,
    media,
    metrics,
    models,
    problems,
    search,
    shortway,
    tracks,
    uploads,
    videos,
)
from cvpipe.api.resources import open_resources
from cvpipe.broker import Bell
from cvpipe.keys import keys_are_needed
from cvpipe.log import fields
from cvpipe.settings import Settings
from cvpipe.sources import upload
from cvpipe.store import Store

log = logging.getLogger(__name__)


class Api(FastAPI):
    """FastAPI with our OpenAPI document, and our headers on every answer, those to bugs included."""

    def build_middleware_stack(self) -> ASGIApp:
        """Everything that a request passes through."""
        return guard.SecurityHeaders(super().build_middleware_stack())

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, built once."""
        if self.openapi_schema is None:
            self.openapi_schema = document.build(self)
        return self.openapi_schema


def create_app(
    settings: Settings, *, store: Store | None = None, bell: Bell | None = None, process: int | None = None
) -> FastAPI:
    """The service's ASGI app.

    store, bell: handed in by tests, say; left open at the end. Otherwise both are opened from `settings.redis_url` and
    `settings.broker_url` when the app starts, which raises StoreUnavailable where Redis is away. process: which of
    several on one port this is.
    Raises: InvalidRequest where it is to run without keys although others could reach it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        removed = await anyio.to_thread.run_sync(upload.sweep, settings.data_dir)
        if removed:
            log.info("removed the remains of uploads %s", fields(files=removed))
        async with AsyncExitStack() as stack:
            opening = open_resources(settings, anyio.Event(), store=store, bell=bell)
            resources = await anyio.to_thread.run_sync(opening.__enter__)
            stack.push_async_callback(anyio.to_thread.run_sync, opening.__exit__, None, None, None)
            app.state.resources = resources
            yield
            resources.stopping.set()

    app = Api(
        title="cvpipe",
        version=document.VERSION,
        summary="Self-hosted video understanding.",
        description=document.DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=document.TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirected upload would be sent twice
        telemetry={"tracing": False, "metrics": False, "logs": False},  # else looked for with each request
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.metrics = metrics.HttpMetrics(process)
    modules = (
        videos,
        uploads,
        media,
        jobs,
        deliveries,
        calls,
        frames,
        eventlog,
        tracks,
        search,
        events,
        exports,
        cameras,
        catalogue,
        models,
        keys,
        health,
        metrics,
        docs,
        problems,
    )
    for module in modules:
        strict = [Depends(guard.known_query)] if module.router.prefix == "/v1" else []
        app.include_router(module.router, dependencies=strict)
    app.state.routes = [route for module in modules for route in module.router.routes]
    problems.install(app)
    # The last one added is the first one to see a request.
    app.add_middleware(shortway.ShortWay)
    app.add_middleware(
        guard.BodyLimit,
        limit=settings.max_body_bytes,
        exempt=[("PUT", "/v1/videos"), ("PATCH", "/v1/uploads/"), ("POST", "/v1/models")],
    )
    tokens = None
    if settings.oidc_issuer is not None:
        from cvpipe.api.tokens import Tokens  # with the cryptography that only tokens need

        tokens = Tokens.of(settings)
    app.add_middleware(gate.Gate, needs_keys=keys_are_needed(settings), tokens=tokens)
    app.add_middleware(metrics.CountRequests, metrics=app.state.metrics)
    return app
