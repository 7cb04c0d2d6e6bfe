"""`/healthz` and `/readyz`: whether the process lives, and whether it can do its work."""

from __future__ import annotations

from typing import Literal

import anyio
from fastapi import APIRouter
from pydantic import BaseModel, Field

from cvpipe.api.problems import responses
from cvpipe.api.resources import ResourcesDep
from cvpipe.errors import StoreUnavailable

router = APIRouter(tags=["health"])

_STORE_SECONDS = 3.0


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


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
    responses=responses("internal"),
)
async def get_health() -> Health:
    """Answers without asking anything else. For a supervisor that restarts what hangs."""
    return Health()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can it do its work?",
    response_model=Readiness,
    response_description="It can.",
    responses=responses("internal", "store_unavailable"),
)
async def get_readiness(resources: ResourcesDep) -> Readiness:
    """Asks the store, for at most 3 seconds. For a load balancer. A broker that is down changes nothing."""
    try:
        with anyio.fail_after(_STORE_SECONDS):
            await anyio.to_thread.run_sync(resources.store.ping, abandon_on_cancel=True)
    except TimeoutError:
        raise StoreUnavailable(f"Redis did not answer within {_STORE_SECONDS:g} s") from None
    return Readiness(broker="up" if resources.bell.healthy else "down")
