"""`/v1/jobs/{id}/calls`: what a job asked of servers outside, and what they said."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from cvpipe.api.identity import READ, JobName
from cvpipe.api.problems import responses
from cvpipe.api.resources import StoreDep
from cvpipe.calls import CallRecord

router = APIRouter(prefix="/v1", tags=["results"])


class CallPage(BaseModel):
    """Some calls, in order."""

    calls: list[CallRecord]
    next: int | None = Field(description="Hand it back as `after` for the next page; null: there is none.")


@router.get(
    "/jobs/{job_id}/calls",
    dependencies=[READ],
    operation_id="listCalls",
    summary="What a job asked of servers outside",
    response_model=CallPage,
    response_description="A page of the job's ledger.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def list_calls(
    job_id: JobName,
    store: StoreDep,
    after: Annotated[int, Query(ge=0, le=10**12, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Calls on a page, at most.")] = 200,
) -> dict[str, Any]:
    """Every call of the `external` stages: what it is about, and what was read back, or what went wrong.

    A call is written down before it is made, and after.
    """
    calls, following = store.calls(job_id, after=after, limit=limit)
    return {"calls": calls, "next": following}
