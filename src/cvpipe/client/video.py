"""A video as the service shows it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from cvpipe.job import JobError


class Video(BaseModel):
    """One recorded file that the service holds."""

    id: str = Field(description="sha256 of the file.")
    size: int = Field(description="Bytes.")
    state: Literal["indexing", "ready", "failed"]
    facts: dict[str, Any] | None = Field(default=None, description="What was measured; known once indexed.")
    error: JobError | None = None
    filename: str | None = Field(default=None, description="What it was called when it was uploaded.")
    created_at: float | None = Field(default=None, description="Seconds since the epoch.")
