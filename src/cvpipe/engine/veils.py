"""Veils: objects that a stage is not shown, because its `when` does not hold for them, and their return afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.stages import Stage


@dataclass(frozen=True, slots=True)
class Veil:
    """What a stage is shown of a frame's objects.

    seen: those for which its `when` holds, and all of stages that it does not refer to. hidden: the others. is_seen:
    (n,) bool, which of all are seen; None where there is nothing to hide.
    """

    seen: Objects
    hidden: Objects
    is_seen: npt.NDArray[np.bool_] | None

    @classmethod
    def of(cls, stage: Stage[Any], record: FrameRecord) -> Self:
        """The veil before a stage."""
        when = stage.when
        if when is None or not when.is_of_objects or not len(record.objects):
            return cls(record.objects, Objects.none(), None)
        is_seen = when.chosen(record, stage.references())
        if is_seen.all():
            return cls(record.objects, Objects.none(), None)
        return cls(record.objects.where(is_seen), record.objects.where(~is_seen), is_seen)

    def lifted(self, found: Found) -> Found:
        """What the stage found, with the hidden objects among the others."""
        return found if found.objects is None else replace(found, objects=self.back(found.objects))

    def back(self, objects: Objects) -> Objects:
        """The objects after the stage, and the hidden ones where they were.

        Where the stage has dropped some or added some, the hidden ones come first.
        """
        if self.is_seen is None:
            return objects
        together = Objects.concat((self.hidden, objects))
        if len(objects) != len(self.seen):
            return together
        order = np.empty(len(self.is_seen), np.int64)
        order[~self.is_seen] = np.arange(len(self.hidden))
        order[self.is_seen] = len(self.hidden) + np.arange(len(self.seen))
        return together.taken(order)
