"""Cutting: crops are cut out of their frames, decoded once for all, and shown to the stages that look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cvpipe.cuts import moved
from cvpipe.errors import StageFailed
from cvpipe.frames import Frame, Image
from cvpipe.picks import Cutting, Pick, Shot
from cvpipe.pipeline import PipelineSpec, Segment, crop_view
from cvpipe.results import Objects, rounded_points
from cvpipe.stages import CropStage, FrameStage, Stage, Tools, blaming, make
from cvpipe.tracks import CropRecord

if TYPE_CHECKING:
    from cvpipe.video import Decoders, VideoIndex

JPEG_QUALITY: Final = 92
_GROUP: Final = 64
"""Crops in memory at once, at least; whole batches of the networks."""


@dataclass(slots=True)
class _Taken:
    """The best shot of a pick so far. quality: above that of any other."""

    shot: Shot
    cutting: Cutting
    quality: float


class CropsRunner:
    """A crops segment, its stages opened. One per thread: stages may keep scratch space."""

    def __init__(self, spec: PipelineSpec, segment: Segment, tools: Tools) -> None:
        """Raises: NotFound, InvalidModel, StageFailed."""
        made = spec.make_stages()
        self._spec, self._cv2 = spec, tools.cv2
        self._choosing = {stage.name: stage for n in segment.stages if isinstance(stage := made[n], CropStage)}
        self._looking = [_as_it_is(stage) for n in segment.stages if isinstance(stage := made[n], FrameStage)]
        for stage in (*self._choosing.values(), *self._looking):
            with blaming(stage):
                stage.open(tools)
        largest = max((stage.batch for stage in self._looking), default=1)
        self._group = -(-_GROUP // largest) * largest

    def run(
        self,
        decoders: Decoders,
        path: Path,
        index: VideoIndex,
        picks: Sequence[Pick],
        *,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[int, CropRecord, bytes]]:
        """The crops of these picks: the pick's place, the record, and the picture as JPEG, in order.

        picks: in the order of `Pick.order`. One of which no frame can be decoded, or nothing is on the frame, is left
        out. check: called before each frame and each batch; what it raises ends the run. Memory: the shots of the picks
        that wait for their last frame, and 64 crops, or a batch.
        Raises: VideoError, DecoderUnavailable, StageFailed.
        """
        group: list[tuple[int, _Taken]] = []
        for place, taken in self._taken(decoders, path, index, picks, check):
            group.append((place, taken))
            if len(group) == self._group:
                yield from self._looked_at(group, picks, check)
                group = []
        yield from self._looked_at(group, picks, check)

    def _taken(
        self, decoders: Decoders, path: Path, index: VideoIndex, picks: Sequence[Pick], check: Callable[[], None]
    ) -> Iterator[tuple[int, _Taken]]:
        wanted: dict[int, list[tuple[int, Shot]]] = {}
        for place, pick in enumerate(picks):
            for shot in pick.shots:
                wanted.setdefault(shot.record.frame, []).append((place, shot))
        if not wanted:
            return
        best: dict[int, _Taken] = {}
        view = crop_view(self._spec, index.facts.display_width, index.facts.display_height)
        done = 0
        with decoders.read(path, index, np.array(sorted(wanted), np.int64), [view], hold=1) as frames:
            for frame in frames:
                try:
                    check()
                    if frame.images is not None:
                        for place, shot in wanted[frame.number]:
                            self._try(best, place, self._choosing[picks[place].stage], shot, frame.images[0])
                finally:
                    frame.release()
                while done < len(picks) and picks[done].order[0] <= frame.number:
                    if (taken := best.pop(done, None)) is not None:
                        yield done, taken
                    done += 1

    @staticmethod
    def _try(best: dict[int, _Taken], place: int, stage: CropStage[Any], shot: Shot, image: Image) -> None:
        with blaming(stage):
            cutting = stage.cut(image, shot)
        if cutting is None:
            return
        quality = round(shot.merit * cutting.sharpness, 6)
        if place not in best or quality > best[place].quality:
            # The decoder's memory is used again: what is kept must be a copy.
            best[place] = _Taken(shot, replace(cutting, image=np.array(cutting.image)), quality)

    def _looked_at(
        self, group: Sequence[tuple[int, _Taken]], picks: Sequence[Pick], check: Callable[[], None]
    ) -> Iterator[tuple[int, CropRecord, bytes]]:
        frames, objects = [], []
        for place, taken in group:
            frames.append(_frame_of(taken))
            objects.append(_shown(picks[place].stage, taken))
        for stage in self._looking:
            self._show(stage, frames, objects, [taken.shot for _, taken in group], check)
        for (place, taken), found in zip(group, objects, strict=True):
            cutting = taken.cutting
            record = CropRecord(
                stage=picks[place].stage,
                frame=taken.shot.record.frame,
                time=taken.shot.record.time,
                place=taken.shot.place,
                quality=taken.quality,
                size=(cutting.view.width, cutting.view.height),
                object=_told(taken, found).to_dicts()[0],
            )
            yield place, record, self._jpeg(cutting.image)

    @staticmethod
    def _show(
        stage: FrameStage[Any],
        frames: list[Frame],
        objects: list[Objects],
        shots: Sequence[Shot],
        check: Callable[[], None],
    ) -> None:
        """Show a stage those crops that it refers to, and for which its `when` holds; keep what it finds."""
        places = [
            place
            for place, some in enumerate(objects)
            if some.stage[0] in stage.references()
            and (stage.when is None or stage.when.holds_for(shots[place].record, 0))
        ]
        for start in range(0, len(places), stage.batch):
            check()
            part = places[start : start + stage.batch]
            with blaming(stage):
                seen = [frames[place] for place in part]
                if any(stage.view(frame.view) != frame.view for frame in seen):
                    raise StageFailed(f"stage {stage.name!r} must take crops as they are: `view` returned another one")
                for place, found in zip(part, stage.process(seen, [objects[place] for place in part]), strict=True):
                    if found.objects is not None:
                        objects[place] = _with_text(stage, found.objects)

    def _jpeg(self, image: Image) -> bytes:
        is_made, data = self._cv2.imencode(".jpg", image, [self._cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert is_made
        encoded: bytes = data.tobytes()
        return encoded


def _as_it_is(stage: FrameStage[Any]) -> FrameStage[Any]:
    """The stage without a `grow` of its own: the crop is as large as the one who cut it wanted it."""
    if "grow" not in type(stage.options).model_fields:
        return stage
    grown: Stage[Any] = make(stage.options.model_copy(update={"grow": 1.0}))
    assert isinstance(grown, FrameStage)
    return grown


def _frame_of(taken: _Taken) -> Frame:
    record, cutting = taken.shot.record, taken.cutting
    cutting.image.setflags(write=False)
    return Frame(record.frame, record.pts, record.time, cutting.view, cutting.image)


def _shown(stage: str, taken: _Taken) -> Objects:
    """The object as stages see it: all of its picture, found by the stage that chose it, and not yet read."""
    objects, cutting = taken.shot.record.objects, taken.cutting
    x, y, width, height = cutting.view.region
    box = np.array([[x, y, x + width, y + height]], np.float32)
    return replace(objects, box=box, stage=(stage,), text=(None,), keypoints=(None,), values=(None,))


def _with_text(stage: FrameStage[Any], found: Objects) -> Objects:
    """Text goes under the stage's name, where it is put to the vote; the next stage may read something else."""
    if found.text[0] is None:
        return found
    return replace(found.with_values(stage.name, {0: {"text": found.text[0]}}), text=(None,))


def _told(taken: _Taken, found: Objects) -> Objects:
    """The object as it is told: as in its frame's record, with what was found out on the crop."""
    before, to_frame = taken.shot.record.objects, taken.cutting.to_frame
    values, points = {**(before.values[0] or {}), **(found.values[0] or {})}, found.keypoints[0]
    read = [v["text"] for v in (found.values[0] or {}).values() if isinstance(v, dict) and v.keys() == {"text"}]
    if points is not None and to_frame is not None:
        points = rounded_points(np.concatenate((moved(points[:, :2], to_frame), points[:, 2:]), axis=1))
    return replace(
        before,
        text=(read[-1] if read else before.text[0],),
        keypoints=(before.keypoints[0] if points is None else points,),
        values=(values or None,),
    )
