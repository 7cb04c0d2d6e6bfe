"""Run a sequence segment: stages that look at the records of a video, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cvpipe.engine.veils import Veil
from cvpipe.pipeline import PipelineSpec, Segment, gates_of
from cvpipe.results import FrameRecord
from cvpipe.stages import SequenceStage, Tools, blaming


class SequenceRunner:
    """A sequence segment, its stages opened; its state can move between processes after any record."""

    def __init__(self, spec: PipelineSpec, segment: Segment, tools: Tools, *, size: tuple[int, int]) -> None:
        """size: width and height of the displayed source frame. Raises: NotFound, InvalidModel, StageFailed."""
        made = spec.make_stages()
        self._stages = [stage for n in segment.stages if isinstance(stage := made[n], SequenceStage)]
        for stage in self._stages:
            stage.gates = gates_of(made, stage)
            stage.size = size
            with blaming(stage):
                stage.open(tools)

    def run(self, records: Iterable[FrameRecord]) -> Iterator[FrameRecord]:
        """The records with the stages' results. Feed all records of the video, in order, over one or more calls.

        Raises: StageFailed.
        """
        for record in records:
            updated = record
            for stage in self._stages:
                with blaming(stage):
                    veil = Veil.of(stage, updated)
                    found = stage.update(replace(updated, objects=veil.seen))
                    updated = replace(found, objects=veil.back(found.objects))
            yield updated

    def state(self) -> dict[str, Any]:
        """State of every stage by name, as MessagePack-able values."""
        return {stage.name: stage.state() for stage in self._stages}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        for stage in self._stages:
            stage.restore(state[stage.name])
