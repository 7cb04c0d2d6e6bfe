"""Quotas of an API key: how much of the service one holder may take."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

DAY_SECONDS: Final = 24 * 3600


class Quotas(BaseModel):
    """How much a key may take; what is not set has no limit but the service's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    upload_bytes: int | None = Field(default=None, gt=0, description="Largest video or model it may send; else 413.")
    stored_bytes: int | None = Field(
        default=None, gt=0, description="All videos that it has sent and that are still there; else 507."
    )
    video_minutes_per_day: float | None = Field(
        default=None, gt=0, description="Video that its jobs look at from one midnight (UTC) to the next; else 429."
    )
    open_jobs: int | None = Field(default=None, gt=0, description="Jobs that are not over; else 429.")
    streams: int | None = Field(default=None, gt=0, description="Event streams at a time; else 429.")
    requests_per_minute: int | None = Field(
        default=None, gt=0, le=60_000, description="Requests, of which so many may also come at once; else 429."
    )


NO_QUOTAS: Final = Quotas()
