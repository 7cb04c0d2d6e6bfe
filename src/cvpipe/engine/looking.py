"""One stage at work on frames: in batches, tile by tile, and with what it remembers kept in order.

The result of a frame must not depend on where chunks begin. A stage that looks back over `memory` frames is therefore
shown as many before the chunk, and begins anew after every frame that it is not shown (a damaged one, one that an
earlier stage had skipped): what it knows is then always of consecutive frames, wherever it began. A stage that
remembers all frames is shown the chunks in order, and goes on behind such frames as if they were not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cvpipe.engine.veils import Veil
from cvpipe.errors import StageFailed
from cvpipe.frames import Frame, Image, View
from cvpipe.pipeline import Sight
from cvpipe.results import Found, FrameRecord
from cvpipe.stages import FrameStage, MapOptions, blaming, is_true


@dataclass(slots=True)
class Look:
    """A frame that is being looked at.

    position: in the chunk; below 0 before it. images: of all views that were asked for. is_open: whether there is
    something to see, and no stage has had it skipped. before: time of the frame that the job looks at before it, in
    seconds; None for the first. maps: what stages hand out of it, by stage name.
    """

    position: int
    images: Sequence[Image]
    record: FrameRecord
    is_open: bool
    before: float | None = None
    maps: dict[str, Image] = field(default_factory=dict)


@dataclass(slots=True)
class Post:
    """A stage at its place in a segment.

    reach: how many frames before the chunk it is to see.
    """

    stage: FrameStage[Any]
    sight: Sight
    reach: int
    _seen: int | None = None

    def see(self, looks: Sequence[Look], places: Mapping[View, int]) -> None:
        """Look at some frames, in order, and add to their records what is found.

        places: where in a frame's images that of a view is. Raises: StageFailed.
        """
        shown = [look for look in looks if look.position >= -self.reach]
        with blaming(self.stage):
            if not self.stage.memory:
                shown = [look for look in self._chosen(shown) if self.stage.wants(look.record, look.before)]
            for part in self._without_holes(shown):
                for look, found in zip(part, self._find(part, places), strict=True):
                    self._take(look, found)

    def _chosen(self, looks: Sequence[Look]) -> Sequence[Look]:
        """The frames for which `when` holds, where it is asked of frames; the others say that they were skipped."""
        when = self.stage.when
        if when is None or when.is_of_objects:
            return looks
        chosen = []
        for look in looks:
            if when.holds(look.record):
                chosen.append(look)
            else:
                look.record = look.record.with_found(Found(values={self.stage.name: {"skipped": True}}))
        return chosen

    def _without_holes(self, looks: Sequence[Look]) -> Iterator[Sequence[Look]]:
        """The frames in runs of consecutive ones, for a stage with a memory; it begins anew at each but a going-on."""
        if not self.stage.memory:
            yield looks
            return
        start = 0
        for at, look in enumerate(looks):
            if self._seen is None or look.position != self._seen + 1:
                if at > start:
                    yield looks[start:at]
                start = at
                self.stage.begin()
            self._seen = look.position
        yield looks[start:]

    def _find(self, looks: Sequence[Look], places: Mapping[View, int]) -> list[Found]:
        views = self.sight.views
        pictures = [(look, view) for look in looks for view in views]
        veils = {look.position: Veil.of(self.stage, look.record) for look in looks}
        results: list[Found] = []
        size = self.stage.together
        for start in range(0, len(pictures), size):
            part = pictures[start : start + size]
            frames = [
                Frame(
                    look.record.frame,
                    look.record.pts,
                    look.record.time,
                    view,
                    look.images[places[view]],
                    wants_map=self._wants_map(look),
                )
                for look, view in part
            ]
            results += self.stage.process(frames, [veils[look.position].seen for look, _ in part])
            if len(results) != start + len(part):
                raise ValueError(f"{len(part)} pictures to look at, {len(results) - start} results")
        results = [veils[look.position].lifted(found) for (look, _), found in zip(pictures, results, strict=True)]
        if self.sight.tiler is None:
            return results
        return [self._merge(results[at : at + len(views)]) for at in range(0, len(results), len(views))]

    def _wants_map(self, look: Look) -> bool:
        options = self.stage.options
        if not isinstance(options, MapOptions) or options.maps is None or look.position < 0:
            return False
        return options.maps.is_due(look.record.time, look.before)

    def _merge(self, found: list[Found]) -> Found:
        assert self.sight.tiler is not None
        with blaming(self.sight.tiler):
            return self.sight.tiler.merge(found)

    def _take(self, look: Look, found: Found) -> None:
        look.record = look.record.with_found(found)
        if found.map is not None and self.stage.hands_out_maps:
            look.maps[self.stage.name] = found.map
        if not found.skip:
            return
        if not self.stage.skips or not is_true(look.record, self.stage.name, "skipped"):
            raise StageFailed(
                f"stage {self.stage.name!r} has a frame skipped: it must have `skips = True` and say so in its values "
                "as `skipped: true`"
            )
        look.is_open = False
