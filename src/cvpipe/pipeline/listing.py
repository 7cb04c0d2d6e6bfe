"""What stages there are, told to those who choose among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cvpipe.stages import Scope, discover


@dataclass(frozen=True, slots=True)
class StageInfo:
    """What exists under one `type`."""

    type: str
    scope: Scope
    device: str
    summary: str
    schema: dict[str, Any]


def describe() -> list[StageInfo]:
    """All stages, sorted by type, with the JSON Schema of their options."""
    return [
        StageInfo(
            type=kind,
            scope=cls.scope,
            device=cls.device,
            summary=(cls.__doc__ or "").strip().splitlines()[0],
            schema=cls.Options.model_json_schema(),
        )
        for kind, cls in sorted(discover().items())
    ]
