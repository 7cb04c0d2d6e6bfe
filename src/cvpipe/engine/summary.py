"""Summary: what a finished job says of all its frames, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvpipe.pipeline import PipelineSpec, Selection
from cvpipe.results import FrameRecord
from cvpipe.stages import FrameStage


class Summary:
    """Counts records as they pass by: what selectors say of the selection, and the tallies of stages.

    Memory: a few numbers for each stage.
    """

    def __init__(self, spec: PipelineSpec, selection: Selection) -> None:
        self.selection = selection
        self._frames: dict[str, int] = {}
        self._counts: dict[str, dict[str, int]] = {
            stage.name: dict.fromkeys(stage.tallies, 0)
            for stage in spec.make_stages()
            if isinstance(stage, FrameStage) and stage.tallies
        }

    def add(self, record: FrameRecord) -> None:
        """Take the next record, with what stages found."""
        for name, counts in self._counts.items():
            value = record.values.get(name)
            if isinstance(value, Mapping) and ("skipped" in counts or value.get("skipped") is not True):
                self._frames[name] = self._frames.get(name, 0) + 1
                for entry in counts:
                    counts[entry] += value.get(entry) is True

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """By stage name, plain JSON values: `{"motion_gate": {"frames": 9, "skipped": 3, "skipped_fraction": 0.3333}}`.

        `frames`: those that the stage has looked at.
        """
        out: dict[str, dict[str, Any]] = {name: dict(told) for name, told in self.selection.summary.items()}
        for name, counts in self._counts.items():
            frames = self._frames.get(name, 0)
            out[name] = {"frames": frames}
            for entry, count in counts.items():
                out[name] |= {entry: count, f"{entry}_fraction": round(count / frames, 4) if frames else 0.0}
        return out
