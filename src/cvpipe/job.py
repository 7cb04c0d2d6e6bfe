"""A job: one pipeline on one video, the request that makes it, its states and the transitions between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, model_validator

from cvpipe.errors import Conflict


class JobState(StrEnum):
    """Where a job is on its way."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    succeeded_with_gaps = "succeeded_with_gaps"
    failed = "failed"
    canceled = "canceled"

    @property
    def is_final(self) -> bool:
        """Nothing leads out of this state."""
        return not TRANSITIONS[self]


TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.queued: frozenset({JobState.running, JobState.failed, JobState.canceled}),
    JobState.running: frozenset({JobState.succeeded, JobState.succeeded_with_gaps, JobState.failed, JobState.canceled}),
    JobState.succeeded: frozenset(),
    JobState.succeeded_with_gaps: frozenset(),
    JobState.failed: frozenset(),
    JobState.canceled: frozenset(),
}


def check_transition(old: JobState, new: JobState) -> None:
    """Raises: Conflict where a job in state `old` can't become `new`."""
    if new not in TRANSITIONS[old]:
        raise Conflict(f"the job is {old}; it can't become {new}")


class TimeRange(BaseModel):
    """Part of a video, in seconds since its first frame: `from` <= time < `to`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    start: float = Field(default=0, ge=0, le=1e7, alias="from", description="Seconds since the first frame.")
    stop: float | None = Field(default=None, gt=0, le=1e7, alias="to", description="Seconds; default: the end.")

    @model_validator(mode="after")
    def _in_order(self) -> TimeRange:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError("`to` must be greater than `from`")
        return self


class WebhookTarget(BaseModel):
    """Where to tell of a job's end, signed as Standard Webhooks ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: AnyHttpUrl = Field(description="http or https; gets a POST when the job ends.")
    secret: str | None = Field(
        default=None,
        min_length=8,
        max_length=200,
        description="`whsec_` and base64 of 24 to 64 bytes. Default: CVPIPE_WEBHOOK_SECRET. Never shown.",
        json_schema_extra={"writeOnly": True, "example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    )


class JobRequest(BaseModel):
    """What a client posts to have a video understood."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Id (sha256) of an uploaded video. Give this or `path`."
    )
    path: str | None = Field(
        default=None, min_length=1, max_length=4096, description="File on the server, under a configured root."
    )
    pipeline: str | dict[str, Any] = Field(
        description="Name of a pipeline that the service has, or one itself: `{name, stages: [{type, ...options}]}`."
    )
    range: TimeRange | None = Field(default=None, description="Part of the video to look at. Default: all of it.")
    priority: int = Field(default=4, ge=0, le=9, description="9 goes first.")
    labels: dict[str, str] = Field(default_factory=dict, max_length=32, description="Your own words; kept, not read.")
    webhook: WebhookTarget | None = None
    annotate: bool = Field(default=False, description="Also make a copy of the video with the findings drawn on it.")
    chunk_seconds: float = Field(default=10, ge=0.2, le=120, description="Length of a unit of work and retry, about.")

    @model_validator(mode="after")
    def _one_source(self) -> JobRequest:
        if (self.video is None) == (self.path is None):
            raise ValueError("give either `video` or `path`")
        for key, value in self.labels.items():
            if not 1 <= len(key) <= 64 or len(value) > 256:
                raise ValueError("labels: keys have 1 to 64 characters, values at most 256")
        return self


class Progress(BaseModel):
    """How far a job is. Never goes back."""

    frames_done: int = 0
    frames_total: int | None = Field(default=None, description="Known once the video is indexed.")
    fraction: float = Field(default=0, ge=0, le=1)
    fps: float | None = Field(default=None, description="Frames done per second of run time.")
    eta_seconds: float | None = None
    chunks_done: int = 0
    chunks_total: int | None = None
    chunks_failed: int = 0


class JobError(BaseModel):
    """Why a job failed or has gaps."""

    code: str
    message: str


class Delivery(BaseModel):
    """One attempt to deliver a webhook."""

    event: str
    attempt: int
    at: float = Field(description="Seconds since the epoch.")
    status: int | None = Field(default=None, description="HTTP status of the receiver's answer.")
    error: str | None = None
    delivered: bool


class Job(BaseModel):
    """A job as the service shows it."""

    id: str
    state: JobState
    video: str | None = Field(default=None, description="sha256; known once a `path` has been read.")
    path: str | None = None
    pipeline: dict[str, Any] = Field(description="The pipeline as validated, with all defaults.")
    models: dict[str, str] = Field(default_factory=dict, description="sha256 of each model used, by `name@version`.")
    range: TimeRange | None = None
    priority: int
    labels: dict[str, str] = Field(default_factory=dict)
    webhook_url: str | None = None
    annotate: bool = False
    chunk_seconds: float
    progress: Progress
    error: JobError | None = None
    created_at: float = Field(description="Seconds since the epoch, as all times of a job.")
    started_at: float | None = None
    finished_at: float | None = None
    deliveries: list[Delivery] = Field(default_factory=list)
    exports: list[str] = Field(default_factory=list, description="Files at `/v1/jobs/{id}/exports/{name}`.")
    links: dict[str, str] = Field(default_factory=dict)


EventKind = Literal[
    "job.queued", "job.running", "job.succeeded", "job.succeeded_with_gaps", "job.failed", "job.canceled", "progress"
]
