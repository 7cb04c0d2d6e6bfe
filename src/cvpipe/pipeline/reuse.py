"""Reuse: which stages of a job need not run again, because another job has run the same ones on the same frames.

What a frame stage finds is addressed by all that it depends on: the video and the frames that are looked at, the stages
before it, its own options, and the content of its models. Two jobs whose addresses are equal up to a stage have equal
records up to there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from cvpipe.pipeline.plan import crop_stages
from cvpipe.pipeline.selection import Selection
from cvpipe.pipeline.spec import PipelineSpec
from cvpipe.results import FrameRecord
from cvpipe.stages import FrameStage, Reshaper, Tiler, discover

_ADD_ONLY: Final = frozenset(
    ("caption", "classify", "depth", "detect", "edges", "embed", "motion_gate", "parse", "scenes", "segment")
)
"""Types of stages of which a record can be rid again: they add objects and values, and change nothing else."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a stage's results are known by. position: of the stage in its pipeline. type: of the stage."""

    position: int
    name: str
    type: str
    digest: str


def addresses_of(
    spec: PipelineSpec, selection: Selection, *, video: str, models: Mapping[str, str], version: str
) -> list[Address]:
    """Addresses of the stages that pictures go through, in order. video: sha256. models: sha256 by `name@version`.

    version: of what works on the frames; another one may find something else.
    """
    frames = hashlib.sha256(np.ascontiguousarray(selection.numbers, np.int64).tobytes()).hexdigest()
    digest = _digest([version, video, frames, selection.starts_at])
    found = []
    made = spec.make_stages()
    on_crops = crop_stages(made)
    for position, stage in enumerate(made):
        if isinstance(stage, FrameStage | Reshaper | Tiler) and position not in on_crops:
            options = stage.options.model_dump(mode="json", exclude={"queue"})
            contents = {reference: models.get(reference) for reference in sorted(stage.models())}
            digest = _digest([digest, options, contents])
            found.append(Address(position, stage.name, stage.options.type, digest))
    return found


@dataclass(frozen=True, slots=True)
class Reuse:
    """What of an earlier job's records is taken over.

    stages: positions of the frame stages that need not run. without: names of those whose results are left out.
    """

    stages: tuple[int, ...]
    without: frozenset[str]

    def of(self, record: FrameRecord) -> FrameRecord:
        """The record as it was behind these stages."""
        if not self.without:
            return record
        objects = record.objects.where(np.array([name not in self.without for name in record.objects.stage], bool))
        if len(objects):
            objects = replace(objects, values=tuple(self._kept(values) or None for values in objects.values))
        return replace(record, objects=objects, values=self._kept(record.values))

    def _kept(self, values: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: value for name, value in (values or {}).items() if name not in self.without}


def find_reuse(spec: PipelineSpec, new: Sequence[Address], old: Sequence[Address]) -> Reuse | None:
    """What a job can take over of one before it; None: nothing.

    new, old: addresses of the job's stages, and of those of the one before it.
    """
    made = spec.make_stages()
    same = 0
    while same < min(len(new), len(old)) and new[same].digest == old[same].digest:
        same += 1
    kept = [address for address in new[:same] if isinstance(made[address.position], FrameStage)]
    # Of what came behind the last stage that is the same, the records must be rid again.
    kinds = discover()
    gone = [address for address in old[same:] if not issubclass(kinds[address.type], Reshaper)]
    if not kept or any(address.type not in _ADD_ONLY for address in gone):
        return None
    return Reuse(tuple(address.position for address in kept), frozenset(address.name for address in gone))


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
