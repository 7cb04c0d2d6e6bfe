"""`/v1/jobs`: have a video understood, see how far it is, stop it, remove it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from cvpipe.api.identity import READ, SUBMIT, IdentityDep, JobName, TenantDep
from cvpipe.api.problems import responses
from cvpipe.api.resources import LifecycleDep, ResourcesDep, StoreDep
from cvpipe.api.strict import StrictRoute
from cvpipe.job import Job, JobRequest, JobState

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=StrictRoute)


_VERBS: Final = {
    JobState.queued: ("cancel", "pause"),
    JobState.running: ("cancel", "pause"),
    JobState.paused: ("cancel", "resume"),
    JobState.succeeded_with_gaps: ("repair",),
    JobState.failed: ("retry",),
}
"""What can be done with a job beside reading and, at its end, removing it."""


IDEMPOTENCY_KEY: Final = r"^[\x21-\x7e]+$"
IDEMPOTENCY_KEY_CHARACTERS: Final = 255


class JobPage(BaseModel):
    """Some jobs, newest first."""

    jobs: list[Job]
    next: str | None = Field(description="Hand it back as `cursor` for the next page; null: there is none.")


def shown(job: Job) -> Job:
    """The job with links to all that belongs to it."""
    here = f"/v1/jobs/{job.id}"
    links = {"self": here, "frames": f"{here}/frames", "events": f"{here}/events"}
    verbs = (verb for verb in _VERBS.get(job.state, ()) if verb != "repair" or not (job.stop_when and job.gaps_total))
    links |= {verb: f"{here}/{verb}" for verb in verbs}
    if job.webhook_url is not None:
        links["deliveries"] = f"{here}/deliveries"
    if job.video is not None and job.path is None:
        links["video"] = f"/v1/videos/{job.video}"
    links |= {name: f"{here}/exports/{name}" for name in job.exports}
    return job.model_copy(update={"links": links})


def accepted(job: Job, *, is_new: bool) -> Response:
    """The answer to a submission."""
    headers = {"Location": f"/v1/jobs/{job.id}"}
    if not is_new:
        headers["Idempotent-Replayed"] = "true"
    document = shown(job).model_dump_json(by_alias=True)
    return Response(document, status_code=202, headers=headers, media_type="application/json")


@router.post(
    "/jobs",
    operation_id="submitJob",
    dependencies=[SUBMIT],
    summary="Submit a job",
    status_code=202,
    response_model=Job,
    response_description="The job is on disk and will run. `Location` leads to it.",
    responses=responses(
        "malformed_body", "not_found", "conflict", "too_large", "quota_exceeded", "unsupported_media_type",
        "invalid_request", "invalid_pipeline", "invalid_model", "address_refused", "internal", "unavailable",
        "store_unavailable",
    ),
)  # fmt: skip
async def submit_job(
    request: JobRequest,
    resources: ResourcesDep,
    identity: IdentityDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=IDEMPOTENCY_KEY_CHARACTERS,
            pattern=IDEMPOTENCY_KEY,
            description="Your own word for this request. Sent again within a day, it gets the same job; "
            "with another body, a 409.",
            examples=["camera-3-2026-01-01"],
        ),
    ] = None,
) -> Response:
    """Have a pipeline look at a video: at an uploaded one (`video`), or at a file on the server (`path`).

    The pipeline is the name of one that `GET /v1/pipelines` lists, or is written out in the request. Its stages, their
    options and the models they need are checked before the answer.
    """
    job, is_new = await resources.submissions.submit(request, by=identity, idempotency_key=idempotency_key)
    return accepted(job, is_new=is_new)


@router.get(
    "/jobs",
    operation_id="listJobs",
    dependencies=[READ],
    summary="List jobs",
    response_model=JobPage,
    response_description="A page of jobs.",
    responses=responses("invalid_request", "internal", "store_unavailable"),
)
def list_jobs(  # noqa: PLR0917 - FastAPI hands them over by name
    store: StoreDep,
    tenant: TenantDep,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    label: Annotated[
        str | None,
        Query(
            max_length=321,
            pattern=r"^[^=]{1,64}=",
            description="Only jobs with this label, `key=value`.",
            examples=["camera=3"],
        ),
    ] = None,
    cursor: Annotated[
        str | None, Query(pattern=r"^[0-9]{1,15}-[A-Za-z0-9_-]{1,64}$", description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Jobs on a page, at most.")] = 50,
) -> dict[str, Any]:
    """Jobs, newest first. Jobs that come or go between two pages make no other job appear twice or be left out."""
    pair = None
    if label is not None:
        key, _, value = label.partition("=")
        pair = (key, value)
    jobs, following = store.jobs(tenant, state=state, label=pair, cursor=cursor, limit=limit)
    return {"jobs": [shown(job) for job in jobs], "next": following}


@router.get(
    "/jobs/{job_id}",
    operation_id="getJob",
    dependencies=[READ],
    summary="A job: state, progress, error, links",
    response_model=Job,
    response_description="The job.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def get_job(job_id: JobName, store: StoreDep) -> Job:
    """The job as it is now. To follow it, use its event stream instead of asking again and again."""
    return shown(store.job(job_id))


@router.post(
    "/jobs/{job_id}/cancel",
    operation_id="cancelJob",
    dependencies=[SUBMIT],
    summary="Stop a job",
    response_model=Job,
    response_description="The job, which is `canceled`, or `canceling` until its workers have left it.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def cancel_job(job_id: JobName, lifecycle: LifecycleDep) -> Job:
    """Stop the job: from now on nobody can write to it; what it has found so far stays.

    Its workers leave it in the middle of a chunk, within two seconds; then it is `canceled`. A job that is over stays
    as it is.
    """
    return shown(lifecycle.cancel(job_id))


@router.post(
    "/jobs/{job_id}/pause",
    operation_id="pauseJob",
    dependencies=[SUBMIT],
    summary="Have a job wait",
    response_model=Job,
    response_description="The job, which is paused.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "store_unavailable"),
)
def pause_job(job_id: JobName, lifecycle: LifecycleDep) -> Job:
    """Have nobody work on the job until it is resumed. What it has found stays, and can be read."""
    return shown(lifecycle.pause(job_id))


@router.post(
    "/jobs/{job_id}/resume",
    operation_id="resumeJob",
    dependencies=[SUBMIT],
    summary="Have a paused job go on",
    response_model=Job,
    response_description="The job, which is queued.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "store_unavailable"),
)
def resume_job(job_id: JobName, lifecycle: LifecycleDep) -> Job:
    """Have the job go on behind the last record it wrote. One that is not paused and not over stays as it is."""
    return shown(lifecycle.resume(job_id))


@router.post(
    "/jobs/{job_id}/retry",
    operation_id="retryJob",
    dependencies=[SUBMIT],
    summary="Try a failed job again",
    status_code=202,
    response_model=Job,
    response_description="The job, which is queued again.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "store_unavailable"),
)
def retry_job(job_id: JobName, lifecycle: LifecycleDep) -> Job:
    """Have a job that failed go on from what is done: with its plan, the rest of its chunks, or its files.

    Where it failed because all of its chunks were given up, those are run again, as a repair does it. Its webhook tells
    of the new end.
    """
    return shown(lifecycle.retry(job_id))


@router.post(
    "/jobs/{job_id}/repair",
    operation_id="repairJob",
    dependencies=[SUBMIT],
    summary="Try the frames without results again",
    status_code=202,
    response_model=Job,
    response_description="The job, which is queued again.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "store_unavailable"),
)
def repair_job(job_id: JobName, lifecycle: LifecycleDep) -> Job:
    """Look again at the frames of a job that ended with gaps, or failed because its chunks were given up.

    Records that are good stay as they are; where stages need the whole sequence, those run anew over all records. The
    job's files are made again, and its webhook tells of the new end. Canceled, the job is what it was before.
    """
    return shown(lifecycle.repair(job_id))


@router.delete(
    "/jobs/{job_id}",
    operation_id="deleteJob",
    dependencies=[SUBMIT],
    summary="Remove a job",
    status_code=204,
    response_model=None,
    response_description="Nothing of the job is left.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "store_unavailable"),
)
def delete_job(job_id: JobName, lifecycle: LifecycleDep) -> None:
    """Remove a job that is over, with its records, events and exports. The video stays."""
    lifecycle.delete(job_id)
