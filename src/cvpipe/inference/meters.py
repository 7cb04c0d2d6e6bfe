"""What networks have done: for each model, and for each model and job."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(slots=True)
class Use:
    """What was asked of a network, and what it took.

    pictures: looked at. calls: of the device. places: pictures that the calls had room for. blank: pictures computed
    for nothing, to fill batches of a fixed size. wait_seconds: from the request to its call, over all pictures.
    device_seconds: of the calls. A call for several jobs counts for each by its share of the pictures.
    """

    pictures: int = 0
    calls: float = 0
    places: float = 0
    blank: float = 0
    wait_seconds: float = 0
    device_seconds: float = 0

    def add(self, other: Use) -> None:
        """Count `other` in."""
        self.pictures += other.pictures
        self.calls += other.calls
        self.places += other.places
        self.blank += other.blank
        self.wait_seconds += other.wait_seconds
        self.device_seconds += other.device_seconds

    @property
    def fill(self) -> float:
        """How full batches were, 0 to 1."""
        return self.pictures / self.places if self.places else 0.0

    @property
    def waste(self) -> float:
        """Share of the pictures computed that were blank."""
        computed = self.pictures + self.blank
        return self.blank / computed if computed else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Self:
        """From what `to_dict` gave; the counts may have been added up elsewhere."""
        use = cls()
        for field in fields(cls):
            setattr(use, field.name, type(getattr(use, field.name))(values.get(field.name, 0)))
        return use

    def summary(self) -> dict[str, Any]:
        """For people: what a finished job says of a model."""
        return {
            "pictures": int(self.pictures),
            "calls": round(self.calls),
            "batch_fill": round(self.fill, 3),
            "padding_waste": round(self.waste, 3),
            "queue_wait_ms": round(1000 * self.wait_seconds / self.pictures, 3) if self.pictures else 0.0,
            "device_seconds": round(self.device_seconds, 3),
        }


class Meters:
    """Adds up uses. Safe to call from several threads.

    Memory: a few numbers for each model, and for each job at work.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, Use] = {}
        self._jobs: dict[str, dict[str, Use]] = {}

    def add(self, model: str, job: str, use: Use) -> None:
        """Count a use of a model by a job; the job "" is nobody's."""
        with self._lock:
            self._models.setdefault(model, Use()).add(use)
            if job:
                self._jobs.setdefault(job, {}).setdefault(model, Use()).add(use)

    def models(self) -> dict[str, dict[str, Any]]:
        """By `name@version`, since this process began."""
        with self._lock:
            return {model: use.to_dict() for model, use in sorted(self._models.items())}

    def take(self, job: str) -> dict[str, Use]:
        """What a job has used since this was last asked; it is forgotten here."""
        with self._lock:
            return self._jobs.pop(job, {})
