"""What an API key may do."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """What a key may do. `admin` may do everything, in its own tenant; and has the keys of all tenants."""

    submit = "submit"
    read = "read"
    models = "models"
    metrics = "metrics"
    admin = "admin"

    @property
    def meaning(self) -> str:
        """In words."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Scope.submit: "send videos; submit, cancel, repair and delete jobs",
    Scope.read: "jobs, results, videos, and what pipelines can be made of",
    Scope.models: "add and remove models, which all tenants share",
    Scope.metrics: "/metrics, and the workers in /healthz",
    Scope.admin: "everything, and the keys of all tenants",
}
