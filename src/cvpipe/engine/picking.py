"""Picking: which objects of a job are cut out, and what tracks it has, from all records in order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from cvpipe.engine.chunks import Chunk
from cvpipe.picks import Pick
from cvpipe.pipeline import PipelineSpec, Segment
from cvpipe.results import FrameRecord
from cvpipe.stages import CropStage, blaming
from cvpipe.tracks import TrackTable


class Picking:
    """A picks segment at work. Depends on the records alone, not on how the video was cut into chunks.

    Memory: what the stages keep (for `crops`, some objects of each track), and some hundred bytes a track.
    """

    def __init__(self, spec: PipelineSpec, segment: Segment, frame: tuple[int, int]) -> None:
        """frame: width and height of the displayed source frame, in pixels."""
        made = spec.make_stages()
        self._stages = [stage for n in segment.stages if isinstance(stage := made[n], CropStage)]
        self._frame = frame
        self.table = TrackTable()

    def add(self, record: FrameRecord) -> None:
        """Take the next record. Raises: StageFailed."""
        self.table.add(record)
        for stage in self._stages:
            with blaming(stage):
                stage.consider(record, self._frame)

    def picks(self, chunks: Sequence[Chunk]) -> Mapping[int, list[Pick]]:
        """What is to be cut out, in order, by the number of the chunk that its first frame lies in.

        Raises: StageFailed.
        """
        firsts = [chunk.first for chunk in chunks]
        found: dict[int, list[Pick]] = {}
        chosen: list[Pick] = []
        for stage in self._stages:
            with blaming(stage):
                chosen += stage.picks()
        for pick in sorted(chosen, key=lambda pick: pick.order):
            found.setdefault(bisect_right(firsts, pick.first) - 1, []).append(pick)
        return found
