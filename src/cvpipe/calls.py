"""Calls: the ledger of what a job asked of servers outside, about which items, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from cvpipe.job import JobError

CallState = Literal["sent", "answered", "failed", "skipped", "cached"]


@dataclass(frozen=True, slots=True)
class Asking:
    """What a server outside is asked about one item. fields: plain JSON values. pictures: JPEG or PNG files."""

    fields: Mapping[str, Any]
    pictures: tuple[bytes, ...] = ()


class CallItem(BaseModel):
    """One thing that a call is about."""

    of: str | None = Field(default=None, description="Name of the stage whose object or track it is.")
    frame: int | None = Field(
        default=None, description="The frame that shows it; the first one of a track, that of an event's evidence."
    )
    time: float | None = Field(default=None, description="Seconds since the first frame.")
    place: int | None = Field(default=None, description="Place of the object among those of its frame.")
    track: int | None = None
    event: int | None = Field(default=None, description="Number of the event in the job's log.")
    pictures: list[str] = Field(default_factory=list, description="Perceptual hash of each picture that was sent.")
    values: dict[str, Any] | None = Field(default=None, description="What the server said, as the schema declares.")
    error: JobError | None = Field(default=None, description="Why there are no values.")


class CallRecord(BaseModel):
    """One line of the ledger: written before a call is made and after; what was answered is not asked again."""

    id: str = Field(description="The same for the same question of the same job: what `Idempotency-Key` is made of.")
    number: int = Field(description="Place in the ledger.")
    stage: str
    state: CallState = Field(
        description="`sent`: no answer yet. `skipped`: not made, by budget, privacy or because the server is down. "
        "`cached`: not made, because its picture looks like that of `same_as`."
    )
    server: str = Field(description="Scheme, host and port.")
    round: int = Field(default=0, description="How often the job had been repaired or tried again by then.")
    attempts: int = 0
    status: int | None = Field(default=None, description="HTTP status of the last answer.")
    error: JobError | None = None
    same_as: str | None = None
    at: float | None = Field(default=None, description="When it was made last; seconds since the epoch.")
    seconds: float = Field(default=0, description="From the first attempt to the last answer.")
    bytes_sent: int = Field(default=0, description="Bodies of all attempts.")
    bytes_received: int = 0
    items: list[CallItem]

    @property
    def is_over(self) -> bool:
        """Nothing more is done about it in this round."""
        return self.state != "sent"

    def is_settled(self, round: int) -> bool:
        """Whether nothing is to be done about it in a round: a job that is tried again tries again what had failed."""
        return self.state in ("answered", "cached") or (self.is_over and self.round == round)

    def to_json(self) -> str:
        """One line of JSON."""
        return self.model_dump_json(exclude_none=True)


def tally(calls: Iterable[CallRecord]) -> dict[str, dict[str, Any]]:
    """What the job says of its calls, by the stage's name."""
    out: dict[str, dict[str, Any]] = {}
    for call in calls:
        row = out.setdefault(
            call.stage,
            {"calls": 0, "attempts": 0, "items": 0, "answered": 0, "failed": 0, "skipped": 0, "cached": 0,
             "bytes_sent": 0, "bytes_received": 0},
        )  # fmt: skip
        row["calls"] += call.attempts > 0
        row["attempts"] += call.attempts
        row["items"] += len(call.items)
        row["bytes_sent"] += call.bytes_sent
        row["bytes_received"] += call.bytes_received
        for item in call.items:
            what = {"cached": "cached", "skipped": "skipped"}.get(call.state)
            row[what or ("answered" if item.error is None else "failed")] += 1
    return out
