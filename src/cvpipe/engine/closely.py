"""The crops of a job in this process: chosen while records pass by, made and put to the vote once all have."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cvpipe.engine.chunks import Chunk
from cvpipe.engine.cutting import CropsRunner
from cvpipe.engine.picking import Picking
from cvpipe.engine.voting import vote_tracks
from cvpipe.exports.crops import CROPS_FOLDER, keep_picture, remove_others
from cvpipe.exports.ndjson import write_ndjson
from cvpipe.picks import Pick
from cvpipe.pipeline import PipelineSpec, Segment, plan_segments
from cvpipe.stages import Tools
from cvpipe.tracks import CropRecord

if TYPE_CHECKING:
    from cvpipe.video import Decoders, VideoIndex


@dataclass(frozen=True, slots=True)
class Closely:
    """The crops of one video. Hand all records to `picking`, in order, then `write`."""

    spec: PipelineSpec
    tools: Tools
    decoders: Decoders
    video: Path
    index: VideoIndex
    picking: Picking
    cropping: Segment
    voting: Segment

    @classmethod
    def of(cls, spec: PipelineSpec, tools: Tools, decoders: Decoders, video: Path, index: VideoIndex) -> Closely | None:
        """None where the pipeline has no crops. A wrong model is told now: NotFound, InvalidModel, StageFailed."""
        segments = {segment.kind: segment for segment in plan_segments(spec)}
        if "picks" not in segments:
            return None
        CropsRunner(spec, segments["crops"], tools)
        picking = Picking(spec, segments["picks"], (index.facts.display_width, index.facts.display_height))
        return cls(spec, tools, decoders, video, index, picking, segments["crops"], segments["tracks"])

    def write(self, out: Path, chunks: Sequence[Chunk], threads: int) -> list[str]:
        """Write the pictures, `crops.ndjson` and `tracks.ndjson`; returns the names of the latter two.

        Raises: VideoError, DecoderUnavailable, StageFailed.
        """
        folder = out / CROPS_FOLDER
        picks = self.picking.picks(chunks)
        with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="crops") as pool:
            # For whom a thread asks networks lies in a context variable.
            asked = [pool.submit(copy_context().run, self._make, picks[chunk], folder) for chunk in sorted(picks)]
            crops = [crop for some in asked for crop in some.result()]
        remove_others(folder, crops)
        write_ndjson(out / "crops.ndjson", crops)
        write_ndjson(out / "tracks.ndjson", vote_tracks(self.spec, self.voting, self.picking.table, crops))
        return ["crops.ndjson", "tracks.ndjson"]

    def _make(self, picks: Sequence[Pick], folder: Path) -> list[CropRecord]:
        crops = []
        runner = CropsRunner(self.spec, self.cropping, self.tools)
        for _, crop, jpeg in runner.run(self.decoders, self.video, self.index, picks):
            keep_picture(folder, crop, jpeg)
            crops.append(crop)
        return crops
