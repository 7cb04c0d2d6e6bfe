"""Quotas of an API key: how much of the service one holder may take."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cvpipe.errors import explain
from cvpipe.numbers import numbers

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

    _numbers = numbers("*")


NO_QUOTAS: Final = Quotas()


def read_quotas(text: str) -> Quotas:
    """Quotas from `NAME=NUMBER`, separated by spaces. Raises: ValueError, saying what was wanted."""
    pairs: dict[str, Any] = {}
    for pair in text.split():
        name, equals, number = pair.partition("=")
        if not equals:
            raise ValueError(f"wanted NAME=NUMBER, such as open_jobs=5; got {pair!r}")
        if name not in Quotas.model_fields:
            raise ValueError(f"there is no quota {name!r}; there is: {', '.join(Quotas.model_fields)}")
        with suppress(ValueError):
            number = json.loads(number)
        pairs[name] = number
    try:
        return Quotas.model_validate(pairs)
    except ValidationError as error:
        raise ValueError(explain(error.errors(include_url=False)[0], name=str(error.errors()[0]["loc"][0]))) from None
