"""Templates: a JSON value with places to fill in, `{{name}}`.

A text that is nothing but a place becomes the value itself, of whatever type; a place within a text becomes text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_PLACE: Final = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}")
MAX_DEPTH: Final = 20


def places(template: Any, *, depth: int = 0) -> set[str]:
    """Names of all places in a template. Raises: ValueError where it is nested too deep."""
    if depth > MAX_DEPTH:
        raise ValueError(f"a template is nested {MAX_DEPTH} deep at most")
    if isinstance(template, str):
        return set(_PLACE.findall(template))
    if isinstance(template, Mapping):
        return {name for part in (*template.keys(), *template.values()) for name in places(part, depth=depth + 1)}
    if isinstance(template, list):
        return {name for part in template for name in places(part, depth=depth + 1)}
    return set()


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with all places filled. Raises: KeyError where a value is missing."""
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        if whole is not None:
            return values[whole[1]]
        return _PLACE.sub(lambda place: _text(values[place[1]]), template)
    if isinstance(template, Mapping):
        return {filled(key, values): filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(part, values) for part in template]
    return template


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
