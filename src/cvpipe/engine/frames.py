"""Run a frames segment: each stage looks at the frames of a chunk, as the decoder hands them over."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cvpipe.engine.looking import Look, Post
from cvpipe.exports.maps import map_name, map_png
from cvpipe.pipeline import PipelineSpec, Segment, Selection, gates_before, plan_segments, sights_of
from cvpipe.results import FrameRecord
from cvpipe.stages import FrameStage, Tools, blaming, is_true

if TYPE_CHECKING:
    from cvpipe.video import Decoded, Decoders, VideoIndex


_GROUP_BYTES = 16 * 2**20
"""Of pictures that are held to be looked at together, where the device does not ask for more."""
_GROUP_SECONDS = 0.2
"""So long a group may take: records, and a worker that is told to stop, wait for it."""

OnMap = Callable[[str, bytes], None]
States = Mapping[str, Mapping[str, npt.NDArray[Any]]]
"""Arrays by stage and name."""


class FramesRunner:
    """A frames segment, its stages opened, ready to run chunks. One per thread: stages may keep scratch space."""

    def __init__(self, spec: PipelineSpec, segment: Segment, tools: Tools) -> None:
        """Raises: NotFound, InvalidModel, StageFailed."""
        self._made = spec.make_stages()
        self._numbers = segment.stages
        for number in segment.stages:
            with blaming(self._made[number]):
                self._made[number].open(tools)
        self._gates = gates_before(self._made, min(segment.stages)) if segment.stages else ()

    def run(
        self,
        decoders: Decoders,
        path: Path,
        index: VideoIndex,
        selection: Selection,
        numbers: npt.NDArray[np.int64],
        *,
        upstream: Mapping[int, FrameRecord] | None = None,
        states: States | None = None,
        on_map: OnMap | None = None,
    ) -> Generator[FrameRecord]:
        """The records of the frames `numbers`, in order.

        selection: all frames that the job looks at. numbers: consecutive ones of them, a chunk or the rest of one.
        upstream: records of an earlier segment by frame number, to be added to. states: what stages that remember all
        frames know of those before, as `states` told; default: there are none before. on_map:
        gets each map that stages hand out, a PNG file and its name, before the frame's record comes.
        Raises: VideoError, DecoderUnavailable, StageFailed.
        """
        known = upstream or {}
        for stage in self._remembering:
            with blaming(stage):
                stage.begin()
                if states is not None:
                    stage.restore(states[stage.name])
        if not self._numbers or not len(numbers):
            yield from (known.get(n) or selection.record(n) for n in numbers.tolist())
            return
        posts = self._posts(index)
        before = selection.before(int(numbers[0]), max(post.reach for post in posts))
        wanted = list(dict.fromkeys(view for post in posts for view in post.sight.views))
        places = {view: place for place, view in enumerate(wanted)}
        least, most = _group_sizes(posts, sum(view.nbytes for view in wanted))
        position = -len(before)
        with decoders.read(path, index, np.concatenate((before, numbers)), wanted, hold=most) as decoded:
            for batch in _groups(decoded, least, most):
                looks = []
                for item in batch:
                    record = known.get(item.number) or selection.record(item.number)
                    looks.append(self._look(position, item, record, selection, index))
                    position += 1
                try:
                    for post in posts:
                        post.see([look for look in looks if look.is_open], places)
                finally:
                    for item in batch:
                        item.release()
                for look in looks:
                    if look.position >= 0:
                        _hand_out(look, on_map)
                        yield look.record

    def states(self) -> States:
        """What stages that remember all frames know after the last one, by stage name; once `run` is through."""
        return {stage.name: stage.state() for stage in self._remembering}

    @property
    def _remembering(self) -> list[FrameStage[Any]]:
        stages = [self._made[number] for number in self._numbers]
        return [stage for stage in stages if isinstance(stage, FrameStage) and stage.remembers_all]

    def _posts(self, index: VideoIndex) -> list[Post]:
        facts = index.facts
        sights = sights_of(self._made, facts.display_width, facts.display_height, opened=self._numbers)
        posts: list[Post] = []
        reach = 0
        for number in reversed(self._numbers):
            stage = self._made[number]
            assert isinstance(stage, FrameStage)
            # What comes later may look at this stage's results on every frame that it is shown.
            reach += stage.memory
            posts.insert(0, Post(stage, sights[number], reach))
        return posts

    def _look(self, position: int, item: Decoded, record: FrameRecord, selection: Selection, index: VideoIndex) -> Look:
        if item.images is None:
            record = replace(selection.record(item.number), status="decode_error", error="decode_error")
        elif item.is_degraded:
            record = replace(record, degraded=True)
        is_open = record.status == "ok" and not any(is_true(record, gate, "skipped") for gate in self._gates)
        last = selection.before(item.number, 1)
        before = float(index.times[last[0]]) if len(last) else None
        return Look(position, item.images or (), record, is_open, before)


def open_runners(spec: PipelineSpec, tools: Tools) -> list[FramesRunner]:
    """The frames segments of a pipeline, opened. Raises: NotFound, InvalidModel, StageFailed."""
    return [FramesRunner(spec, segment, tools) for segment in plan_segments(spec) if segment.kind == "frames"]


def _hand_out(look: Look, on_map: OnMap | None) -> None:
    if on_map is not None:
        for stage, image in look.maps.items():
            on_map(map_name(stage, look.record.frame), map_png(image))


def _group_sizes(posts: Sequence[Post], frame_bytes: int) -> tuple[int, int]:
    """How many frames to look at together: as many as a device takes in one call, and at most."""
    least = max(-(-post.stage.batch // len(post.sight.views)) for post in posts)
    most = max(-(-post.stage.together // len(post.sight.views)) for post in posts)
    return least, max(least, min(most, _GROUP_BYTES // frame_bytes))


def _groups(decoded: Iterator[Decoded], least: int, most: int) -> Iterator[list[Decoded]]:
    """Frames to be looked at together: few at first, more while that takes no time that anybody would notice."""
    size = least
    while group := list(islice(decoded, size)):
        began = time.monotonic()
        yield group
        seconds = time.monotonic() - began
        if seconds < _GROUP_SECONDS / 2:
            size = min(most, 2 * size)
        elif seconds > _GROUP_SECONDS:
            size = max(least, size // 2)
