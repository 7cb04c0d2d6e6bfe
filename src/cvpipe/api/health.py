"""`/healthz` and `/readyz`: whether the process lives, and whether it can do its work."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

import anyio
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from cvpipe.api.problems import responses
from cvpipe.api.resources import ResourcesDep
from cvpipe.errors import StoreUnavailable
from cvpipe.keys import Identity
from cvpipe.scopes import Scope

router = APIRouter(tags=["health"])

_STORE_SECONDS = 3.0
_WORKERS_SECONDS = 0.5


class WorkerHealth(BaseModel):
    """A worker that has lately given a sign of life."""

    name: str = Field(description="Host and process.")
    queues: list[str]
    protection: list[str] | None = Field(
        description="What protects it against the videos that its decoders open; null where it has opened none yet."
    )


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"
    workers: list[WorkerHealth] | None = Field(
        default=None,
        description="Who works; null where the store does not answer at once, or the key lacks `metrics`.",
    )
    protection: list[str] | None = Field(
        default=None, description="What protects all workers that open videos; null where none is known."
    )


class Readiness(BaseModel):
    """The service can take requests."""

    status: Literal["ready"] = "ready"
    store: Literal["up"] = "up"
    broker: Literal["up", "down"] = Field(
        description="`down`: jobs are taken, and begin once the broker is back or the sweeper rings."
    )


@router.get(
    "/healthz",
    operation_id="getHealth",
    summary="Does the process live?",
    response_model=Health,
    response_description="It does.",
    responses=responses("forbidden", "internal"),
)
async def get_health(request: Request, resources: ResourcesDep) -> Health:
    """For a supervisor that restarts what hangs: always 200. The store is asked who works, for half a second at most.

    `protection` has the measures that hold in every worker; `cvpipe doctor` says what each is good for. Where the
    service has keys, who works is told to those with the scope `metrics`.
    """
    identity: Identity | None = request.state.identity
    if identity is None or not identity.may(Scope.metrics):
        return Health()
    try:
        with anyio.fail_after(_WORKERS_SECONDS):
            found = await anyio.to_thread.run_sync(resources.store.workers, abandon_on_cancel=True)
    except (TimeoutError, StoreUnavailable):
        return Health()
    protected = [worker.protection for worker in found if worker.protection is not None]
    everywhere = [name for name in protected[0] if all(name in other for other in protected)] if protected else None
    return Health(workers=[WorkerHealth(**asdict(worker)) for worker in found], protection=everywhere)


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can it do its work?",
    response_model=Readiness,
    response_description="It can.",
    responses=responses("forbidden", "internal", "store_unavailable"),
)
async def get_readiness(resources: ResourcesDep) -> Readiness:
    """Asks the store, for at most 3 seconds. For a load balancer. A broker that is down changes nothing."""
    try:
        with anyio.fail_after(_STORE_SECONDS):
            await anyio.to_thread.run_sync(resources.store.ping, abandon_on_cancel=True)
    except TimeoutError:
        raise StoreUnavailable(f"Redis did not answer within {_STORE_SECONDS:g} s") from None
    return Readiness(broker="up" if resources.bell.healthy else "down")
