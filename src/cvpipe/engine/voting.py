"""Voting: what the crops of a track say together becomes the track's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from cvpipe.pipeline import PipelineSpec, Segment
from cvpipe.stages import FrameStage, blaming
from cvpipe.tracks import CropRecord, TrackRecord, TrackTable, by_track
from cvpipe.votes import Ballot

_LEAST_WEIGHT: Final = 1e-6
_MOST_EVIDENCE: Final = 3


def vote_tracks(
    spec: PipelineSpec, segment: Segment, table: TrackTable, crops: Iterable[CropRecord]
) -> Iterator[TrackRecord]:
    """The records of all tracks, in the order in which they begin, with what stages found out about their crops.

    segment: the tracks segment. crops: of the whole job. Memory: all crop records. Raises: StageFailed.
    """
    made = spec.make_stages()
    stages = [stage for n in segment.stages if isinstance(stage := made[n], FrameStage)]
    known = by_track(crops)
    for track in table.tracks():
        mine = known.get(track.key, [])
        values: dict[str, Any] = {}
        for stage in stages:
            seen = [crop for crop in mine if crop.stage in stage.references()]
            if seen and (verdict := _verdict(stage, seen)) is not None:
                values[stage.name] = verdict
        yield replace(track, values=values, crops=[_brief(crop) for crop in mine])


def _verdict(stage: FrameStage[Any], crops: Sequence[CropRecord]) -> dict[str, Any] | None:
    ballots = [
        Ballot(max(crop.quality, _LEAST_WEIGHT), (crop.object.get("values") or {}).get(stage.name)) for crop in crops
    ]
    with blaming(stage):
        verdict = stage.vote(ballots)
    if verdict is None:
        return None
    return {
        **verdict.value,
        "confidence": verdict.confidence,
        "votes": len(verdict.agree),
        "crops": len(crops),
        "evidence": [crops[place].file for place in verdict.agree[:_MOST_EVIDENCE]],
    }


def _brief(crop: CropRecord) -> dict[str, Any]:
    return {
        "stage": crop.stage,
        "file": crop.file,
        "frame": crop.frame,
        "time": crop.time,
        "box": crop.object["box"],
        "quality": crop.quality,
    }
