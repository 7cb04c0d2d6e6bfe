"""A job: one pipeline on one video, the request that makes it, its states and the transitions between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AnyHttpUrl,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from cvpipe.camera import CameraRef
from cvpipe.expressions import MAX_LENGTH
from cvpipe.gaps import Gap
from cvpipe.numbers import numbers


class JobState(StrEnum):
    """Where a job is on its way."""

    queued = "queued"
    running = "running"
    paused = "paused"
    canceling = "canceling"
    succeeded = "succeeded"
    succeeded_with_gaps = "succeeded_with_gaps"
    failed = "failed"
    canceled = "canceled"

    @property
    def is_final(self) -> bool:
        """The job is over: nothing works on it, unless somebody has it repaired or tried again."""
        return self in FINAL


# What a cancel leads to: a repair that is canceled leaves the job as it was before.
_CANCELED: Final = frozenset({JobState.canceled, JobState.succeeded_with_gaps, JobState.failed})
_RUNNING: Final = frozenset({JobState.paused, JobState.canceling, JobState.succeeded})

TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.queued: frozenset({JobState.running, JobState.paused}) | _CANCELED,
    JobState.running: _RUNNING | _CANCELED,
    JobState.paused: frozenset({JobState.queued}) | _CANCELED,
    JobState.canceling: _CANCELED,
    JobState.succeeded: frozenset(),
    JobState.succeeded_with_gaps: frozenset({JobState.queued}),  # repair
    JobState.failed: frozenset({JobState.queued}),  # repair, retry
    JobState.canceled: frozenset(),
}
"""Which state may follow which. The store's scripts are given this table, and change no state against it."""

FINAL: Final = frozenset({JobState.succeeded, JobState.succeeded_with_gaps, JobState.failed, JobState.canceled})


_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)")
_YEARS: Final = range(1900, 2200)


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        if not _DATE_TIME.fullmatch(value):
            raise ValueError("wanted a date and time with its zone, such as 2026-01-01T10:00:00Z")
        if int(value[:4]) not in _YEARS:
            raise ValueError(f"wanted a year from {_YEARS[0]} to {_YEARS[-1]}")
    elif not isinstance(value, datetime):
        raise ValueError("wanted a date and time as text, such as 2026-01-01T10:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_moment, json_schema_input_type=str)]
"""A point in time, with its zone."""


MAX_SECONDS: Final = 1e7
"""No video is longer: four months."""


class TimeRange(BaseModel):
    """Part of a video, in seconds since its first frame: `from` <= time < `to`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    start: float = Field(default=0, ge=0, le=MAX_SECONDS, alias="from", description="Seconds since the first frame.")
    stop: float | None = Field(default=None, gt=0, le=MAX_SECONDS, alias="to", description="Seconds; default: the end.")

    _numbers = numbers("start", "stop")

    @model_validator(mode="after")
    def _in_order(self) -> TimeRange:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError("`to` must be greater than `from`")
        return self


def seconds_of(whole: float, part: TimeRange | None) -> float:
    """How much of a video that lasts `whole` seconds lies in a part of it, in seconds."""
    if part is None:
        return whole
    return max(0.0, min(whole, whole if part.stop is None else part.stop) - part.start)


WEBHOOK_EVENTS: Final = (*(f"job.{state}" for state in JobState), "job.progress", "job.first_object", "job.event")
"""What a job's webhook can tell of."""
ENDS: Final = tuple(f"job.{state}" for state in JobState if state.is_final)


def _known_event(value: Any) -> Any:
    if value not in WEBHOOK_EVENTS:
        raise ValueError(f"wanted one of {', '.join(WEBHOOK_EVENTS)}")
    return value


WebhookEvent = Annotated[
    str, BeforeValidator(_known_event), WithJsonSchema({"type": "string", "enum": list(WEBHOOK_EVENTS)})
]


class WebhookTarget(BaseModel):
    """Where to tell of a job, and of what, signed as Standard Webhooks ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: AnyHttpUrl = Field(
        description="http or https; gets a POST for each event. Private networks only where an operator opened them."
    )
    secret: str | None = Field(
        default=None,
        min_length=8,
        max_length=200,
        description="`whsec_` and base64 of 24 to 64 bytes. Default: CVPIPE_WEBHOOK_SECRET. Never shown.",
        json_schema_extra={"writeOnly": True, "example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    )
    secrets: tuple[Annotated[str, Field(min_length=8, max_length=200)], ...] = Field(
        default=(),
        max_length=5,
        description="Several, while one takes over from another: messages are signed with each. Instead of `secret`.",
        json_schema_extra={"writeOnly": True},
    )
    events: tuple[WebhookEvent, ...] = Field(
        default=ENDS, min_length=1, max_length=32, description="What to tell of. Default: the job's end."
    )
    progress_percent: int = Field(
        default=10, ge=1, le=50, description="`job.progress` is told of each time so much more is done."
    )

    _numbers = numbers("progress_percent")

    @model_validator(mode="after")
    def _one_way_to_give_secrets(self) -> WebhookTarget:
        if self.secret is not None and self.secrets:
            raise ValueError("give `secret` or `secrets`, not both")
        return self

    @property
    def all_secrets(self) -> tuple[str, ...]:
        """Those to sign with; none: the service's own."""
        return self.secrets if self.secret is None else (self.secret,)


class JobRequest(BaseModel):
    """What a client posts to have a video understood."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    video: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Id (sha256) of an uploaded video. Give this or `path`."
    )
    path: str | None = Field(
        default=None, min_length=1, max_length=4096, description="File on the server, under a configured root."
    )
    pipeline: str | dict[str, Any] | None = Field(
        default=None,
        description="Name of a pipeline that the service has, or one itself: `{name, stages: [{type, ...options}]}`. "
        "Default: that of the job `from`.",
    )
    from_job: str | None = Field(
        default=None,
        alias="from",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="A job that is done, of which to take over what its stages found as far as this one has the same: "
        "the same video, frames, stages, options and models. What is not given here is as in that job.",
    )
    dry_run: bool = Field(
        default=False,
        description="Do two seconds of the work, keep nothing of it, and predict what all of it takes: `prediction`.",
    )
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        max_length=100,
        description="Changes to the pipeline: new values of options, by name of the stage.",
        examples=[{"people": {"score": 0.5}}],
    )
    range: TimeRange | None = Field(default=None, description="Part of the video to look at. Default: all of it.")
    priority: int = Field(default=4, ge=0, le=9, description="9 goes first.")
    labels: dict[str, str] = Field(default_factory=dict, max_length=32, description="Your own words; kept, not read.")
    starts_at: Moment | None = Field(
        default=None,
        description="When the first frame of the video was recorded, with its zone: records then tell their "
        "`wall_time`. Default: what the file says, if it does.",
        examples=["2026-01-01T10:00:00Z"],
        json_schema_extra={"format": "date-time"},
    )
    camera: CameraRef = Field(
        default=None,
        description="The camera that recorded the video, for stages that name none: its name, or itself as "
        "`POST /v1/cameras` takes it.",
        examples=["main-stand"],
    )
    webhook: WebhookTarget | None = None
    annotate: bool = Field(default=False, description="Also make a copy of the video with the findings drawn on it.")
    chunk_seconds: float = Field(default=10, ge=0.2, le=120, description="Length of a unit of work and retry, about.")
    stop_when: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_LENGTH,
        description="The job has seen enough: its results end with the first frame for which this holds. What can be "
        "asked of a frame, `any(...)` and `count(...)` of its objects, and `events` that are told with it.",
        examples=['any(label == "person" and score > 0.5)'],
    )
    timeout_seconds: float | None = Field(
        default=None,
        ge=1,
        le=MAX_SECONDS,
        description="A job that is `running` for longer ends `failed`, with the code `timed_out`; its results so far "
        "stay. Default: no limit.",
    )

    _numbers = numbers("priority", "chunk_seconds", "timeout_seconds")

    @model_validator(mode="after")
    def _one_source(self) -> JobRequest:
        if self.video is not None and self.path is not None:
            raise ValueError("give either `video` or `path`")
        if self.from_job is None and self.video is None and self.path is None:
            raise ValueError("give either `video` or `path`, or a job to begin with (`from`)")
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
    waiting: str | None = Field(
        default=None,
        description="What the job waits for, where nobody is at it: jobs ahead, a worker for a queue, others of its "
        "tenant; or where somebody is, but can't go on: memory for a model, an engine.",
    )


class ModelUse(BaseModel):
    """What a job has asked of a model's network, and what it took."""

    pictures: int = Field(description="Frames, tiles or crops that the network looked at.")
    calls: int = Field(description="Of the device; one that pictures of several jobs shared counts by this job's part.")
    batch_fill: float = Field(description="How full these calls were, 0 to 1.")
    padding_waste: float = Field(description="Share of the pictures computed that were blank, to fill a batch.")
    queue_wait_ms: float = Field(description="Mean, from the request for a picture to its call.")
    device_seconds: float = Field(description="Of the calls, over all threads.")

    @classmethod
    def of(cls, sums: Mapping[str, float]) -> Self:
        """From sums over all calls: pictures, calls, places, blank, wait_seconds, device_seconds."""
        pictures, blank, places = (sums.get(name, 0.0) for name in ("pictures", "blank", "places"))
        return cls(
            pictures=round(pictures),
            calls=round(sums.get("calls", 0.0)),
            batch_fill=round(pictures / places, 4) if places else 0.0,
            padding_waste=round(blank / (pictures + blank), 4) if pictures else 0.0,
            queue_wait_ms=round(1000 * sums.get("wait_seconds", 0.0) / pictures, 3) if pictures else 0.0,
            device_seconds=round(sums.get("device_seconds", 0.0), 3),
        )


class Estimate(BaseModel):
    """A number that is not known yet."""

    likely: float
    low: float = Field(description="It is rarely less.")
    high: float = Field(description="It is rarely more.")

    @classmethod
    def of(cls, likely: float, low: float, high: float) -> Self:
        """With as many digits as mean something."""
        return cls(
            **{name: float(f"{value:.3g}") for name, value in (("likely", likely), ("low", low), ("high", high))}
        )

    def holds(self, value: float) -> bool:
        """Whether it came as was said."""
        return self.low <= value <= self.high


class Prediction(BaseModel):
    """What a job will take, as a dry run has found."""

    seconds: Estimate = Field(description="In which it is `running`, with the workers that there are now.")
    memory_bytes: Estimate = Field(description="Of a worker with its decoders.")
    output_bytes: Estimate = Field(description="Of the files that it makes: records, crops, maps, videos.")
    frames: int
    frames_tried: int
    threads: int = Field(description="Chunks at once, that `seconds` counts on.")


class Outcome(BaseModel):
    """What became of a prediction."""

    seconds: float
    memory_bytes: float | None = None
    output_bytes: float | None = None
    within: dict[str, bool] = Field(description="Whether each came as was said, between `low` and `high`.")


class JobError(BaseModel):
    """Why a job failed or has gaps."""

    code: str
    message: str


class Stopped(BaseModel):
    """Where a job had seen enough."""

    frame: int = Field(
        ge=0, description="Number of the first frame for which `condition` holds: the last with results."
    )
    time: float = Field(ge=0, description="Its time: seconds since the first frame of the video.")
    condition: str = Field(description="The job's `stop_when`.")


class WallClock(BaseModel):
    """When the first frame of a job's video was recorded."""

    start: datetime = Field(description="UTC.")
    source: Literal["job", "file"] = Field(description="Who says so: the job's `starts_at`, or the file's header.")


class Delivery(BaseModel):
    """One attempt to deliver a webhook."""

    message: str = Field(default="", description="Id of the message: `webhook-id` of the request.")
    event: str
    attempt: int = Field(description="Which one of the message, from 1.")
    at: float = Field(description="Seconds since the epoch.")
    status: int | None = Field(default=None, description="HTTP status of the receiver's answer.")
    error: str | None = None
    delivered: bool
    seconds: float = Field(default=0, description="How long it took.")


class Message(BaseModel):
    """One thing that a job's webhook is told."""

    id: str = Field(description="`webhook-id`: the same at each attempt.")
    event: str
    at: float = Field(description="When it happened; seconds since the epoch.")
    state: Literal["pending", "delivered", "given_up", "withdrawn"] = Field(
        description="`withdrawn`: an end that a repair or a retry has undone before it was delivered."
    )
    attempts: int
    next_at: float | None = Field(default=None, description="When it is tried again; seconds since the epoch.")


class DeliveryLog(BaseModel):
    """What a job's webhook was told, and how that went; the last 1,000 messages and 200 attempts, oldest first."""

    url: str | None
    gone: bool = Field(
        description="The receiver said 410, or can't be called at all: it is told nothing more, until a message is "
        "redelivered."
    )
    messages: list[Message]
    attempts: list[Delivery]


class Job(BaseModel):
    """A job as the service shows it."""

    id: str
    state: JobState
    video: str | None = Field(default=None, description="sha256; known once a `path` has been read.")
    path: str | None = None
    pipeline: dict[str, Any] = Field(description="The pipeline as validated, with all defaults.")
    models: dict[str, str] = Field(default_factory=dict, description="sha256 of each model used, by `name@version`.")
    range: TimeRange | None = None
    wall_clock: WallClock | None = Field(
        default=None, description="Where `wall_time` of the records counts from; known once the video is indexed."
    )
    priority: int
    labels: dict[str, str] = Field(default_factory=dict)
    webhook_url: str | None = None
    annotate: bool = False
    chunk_seconds: float
    stop_when: str | None = None
    stopped: Stopped | None = Field(
        default=None, description="Where its `stop_when` held; null: nowhere, or not as far as is known by now."
    )
    timeout_seconds: float | None = None
    from_job: str | None = Field(default=None, description="The job that it takes results over from.")
    dry_run: bool = False
    prediction: Prediction | None = Field(
        default=None, description="Of a dry run, at its end; of a job that is `from` a dry run, what that one said."
    )
    outcome: Outcome | None = Field(default=None, description="How good the prediction was, once the job is done.")
    reused: list[str] = Field(default_factory=list, description="Names of the stages whose results it took over.")
    progress: Progress
    error: JobError | None = None
    gaps: list[Gap] = Field(
        default_factory=list, description="What there are no results for; told of one job, not in lists of jobs."
    )
    gaps_total: int = Field(default=0, description="How many gaps there are; `gaps` lists the first 1,000.")
    repairs: int = Field(default=0, description="How often the job was repaired.")
    retries: int = Field(default=0, description="How often the job was tried again after it had failed.")
    summary: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="What stages say of the whole job, by the stage's name."
    )
    usage: dict[str, ModelUse] = Field(
        default_factory=dict, description="What the job has asked of networks so far, by `name@version`."
    )
    decoding: dict[str, int] = Field(
        default_factory=dict,
        description="Frames read for the job, by what decoded them: `nvdec`, or `cpu: ` and why it was not that. Empty "
        "where workers have no NVIDIA card to decode with (CVPIPE_DECODE).",
    )
    created_at: float = Field(description="Seconds since the epoch, as all times of a job.")
    started_at: float | None = None
    finished_at: float | None = None
    deliveries: list[Delivery] = Field(default_factory=list)
    exports: list[str] = Field(default_factory=list, description="Files at `/v1/jobs/{id}/exports/{name}`.")
    exports_failed: dict[str, JobError] = Field(
        default_factory=dict, description="Files that were asked for and can't be made, and why, by name."
    )
    links: dict[str, str] = Field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How often the job was begun again: each time it has another end, and tells of it."""
        return self.repairs + self.retries


EventKind = Literal[
    "job.queued", "job.running", "job.paused", "job.canceling", "job.succeeded", "job.succeeded_with_gaps",
    "job.failed", "job.canceled", "progress", "waiting",
]  # fmt: skip
