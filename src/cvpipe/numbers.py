"""Numbers as JSON has them: neither text nor `true` stands for one, and 2.0 is a whole number."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator


def _number(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("must be a number")
    return value


def numbers(*fields: str) -> Any:
    """What makes a model refuse anything else in these fields; they may still be None where their types say so."""
    return field_validator(*fields, mode="before")(_number)
