"""`heat_map`: where objects spend their time, as a picture: of the video's frame, or of the ground from above."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.camera import CameraSpec
from cvpipe.footage import Footage
from cvpipe.placing import Placing, WorldCamera, check_placed
from cvpipe.plans import Plan
from cvpipe.png import encode_png
from cvpipe.shapes import Anchor, anchors
from cvpipe.stages import JobStage, StageOptions

_MOST_SECONDS: Final = 1.0
"""A sighting counts for the time since the record before, but no longer: nobody knows of what was between."""
_COLOURS: Final = np.array(
    [[0, 0, 0], [40, 0, 120], [150, 20, 110], [230, 80, 40], [250, 180, 20], [255, 255, 200]], np.float64
)


class HeatMapOptions(StageOptions):
    """Options of `heat_map`."""

    type: Literal["heat_map"] = "heat_map"
    of: str | None = Field(
        default=None, min_length=1, max_length=64, description="Name of the stage whose objects. Default: all objects."
    )
    anchor: Anchor = Field(default="bottom_center", description="Point of a box that counts.")
    radius: float = Field(
        default=0.03, gt=0, le=0.5, description="How far a sighting spreads: deviation as a share of the longer side."
    )
    max_side: int = Field(default=960, ge=64, le=4096, description="Longest side of the picture, in pixels.")
    units: Literal["pixels", "metres"] = Field(
        default="pixels",
        description="pixels: over a frame of the video. metres: over the ground before `camera`, seen from above.",
    )
    camera: WorldCamera = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_placed((), self.units, self.camera)
        return self

    @property
    def needs_camera(self) -> bool:
        """For metres."""
        return self.units == "metres"


class HeatMap(JobStage[HeatMapOptions]):
    """Paint where objects spend their time, over a frame of the video or the ground from above: `heat_map.png`.

    Each sighting counts with the seconds since the record before, one at most. The brightest place is that of most
    time; the frame below is the first that can be read, in grey. With `units: metres` and a calibrated camera there are
    the lines of its pitch below, or a grid of metres, as `top_view` has them; who was off the picture does not count.
    """

    Options = HeatMapOptions
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: heat_map, of: people}
    """

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are painted."""
        return () if self.options.of is None else (self.options.of,)

    def files(self) -> tuple[str, ...]:
        """The picture; with the stage's name in its own where it has one."""
        return ("heat_map.png" if self.name in ("", self.options.type) else f"heat_map-{self.name}.png",)

    def make(self, footage: Footage, folder: Path) -> None:
        """Write the picture. Memory: of the ground, all places. Raises: InvalidPipeline, InvalidRequest (camera)."""
        painted = self._over_frame(footage) if self.options.units == "pixels" else self._over_ground(footage)
        target = folder / self.files()[0]
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(encode_png(painted))
        part.replace(target)

    def _over_frame(self, footage: Footage) -> npt.NDArray[np.uint8]:
        width, height = footage.size
        scale = min(1.0, self.options.max_side / max(width, height))
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        heat = np.zeros(shape)
        last = np.array([shape[1], shape[0]]) - 1
        for points, seconds, _ in self._sightings(footage):
            x, y = np.clip(np.floor(points * scale).astype(int), 0, last).T
            np.add.at(heat, (y, x), seconds)
        picture = footage.still(shape[1], shape[0])
        grey = np.zeros((*shape, 1)) if picture is None else picture.mean(axis=2, keepdims=True) * 0.6
        return _painted(self._spread(heat), grey)

    def _over_ground(self, footage: Footage) -> npt.NDArray[np.uint8]:
        camera = self.options.camera
        placing = Placing(self.options.units, camera, footage.size)
        placing.open(self.name)
        places, weights = [np.zeros((0, 2))], [np.zeros(0)]
        for points, seconds, time in self._sightings(footage):
            found, is_seen = placing.locate(points, time)
            places.append(found[is_seen])
            weights.append(np.full(int(is_seen.sum()), seconds))
        ground, spent = np.concatenate(places), np.concatenate(weights)
        known = camera.pitch if isinstance(camera, CameraSpec) else None
        field = None if known is None else known.measured()
        plan = Plan.within(ground, field=field, side=self.options.max_side)
        x, y = np.floor(plan.pixels(ground)).astype(int).T
        inside = (x >= 0) & (x < plan.width) & (y >= 0) & (y < plan.height)
        heat = np.zeros((plan.height, plan.width))
        np.add.at(heat, (y[inside], x[inside]), spent[inside])
        return _painted(self._spread(heat), plan.plot().to_image())

    def _sightings(self, footage: Footage) -> Iterator[tuple[npt.NDArray[np.float64], float, float]]:
        """Of each record: where objects are, (n, 2) pixels of the source; for how long that counts; its time."""
        before: float | None = None
        for record in footage.records():
            seconds = _MOST_SECONDS if before is None else min(_MOST_SECONDS, record.time - before)
            before = record.time
            objects = record.objects
            chosen = np.ones(len(objects), np.bool_) if self.options.of is None else objects.of_stage(self.options.of)
            if self.when is not None:
                chosen &= self.when.chosen(record)
            yield anchors(objects.box[chosen], self.options.anchor), max(0.0, seconds), record.time

    def _spread(self, heat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Each sighting as a bell of the radius."""
        deviation = max(0.5, self.options.radius * max(heat.shape))
        reach = int(3 * deviation + 0.5)
        bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
        bell /= bell.sum()
        return _along(_along(heat, bell).T, bell).T


def _along(rows: npt.NDArray[np.float64], bell: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each row folded with a bell, as long as before."""
    busy = rows.any(axis=1)
    out = np.zeros_like(rows)
    reach = len(bell) // 2
    for n in np.flatnonzero(busy).tolist():
        out[n] = np.convolve(rows[n], bell)[reach : reach + rows.shape[1]]
    return out


def _painted(heat: npt.NDArray[np.float64], below: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The heat in colours over a picture, (height, width, 1 or 3); RGB."""
    share = heat / heat.max() if heat.max() > 0 else heat
    place = share * (len(_COLOURS) - 1)
    low = np.minimum(place.astype(int), len(_COLOURS) - 2)
    rest = (place - low)[..., None]
    colour = _COLOURS[low] * (1 - rest) + _COLOURS[low + 1] * rest
    cover = np.minimum(1, share * 3)[..., None] * 0.85
    painted: Any = below * (1 - cover) + colour * cover
    return np.clip(painted + 0.5, 0, 255).astype(np.uint8)
