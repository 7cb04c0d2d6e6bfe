"""What a process that tries a model finds out about it, as it tells and as it is taken: with care."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Found(BaseModel):
    """What was found out. card: what its `model.yaml` says, without version, file and sha256.

    why: the family's reason, in one line. others: further families that would read it. notes: what to know of it.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    card: dict[str, Any]
    why: str = Field(max_length=2000)
    others: list[str] = Field(max_length=50)
    notes: list[str] = Field(max_length=50)
    shapes: list[list[int]] = Field(max_length=1000)
    milliseconds: float = Field(ge=0, allow_inf_nan=False)
    edited: bool
    batch: int | None
