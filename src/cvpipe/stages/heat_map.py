"""`heat_map`: where in the picture objects spend their time, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.footage import Footage
from cvpipe.frames import Image
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


class HeatMap(JobStage[HeatMapOptions]):
    """Paint where objects spend their time, over a frame of the video: `heat_map.png`.

    Each sighting counts with the seconds since the record before, one at most. The brightest place is that of most
    time; the frame below is the first that can be read, in grey.
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
        """Write the picture."""
        width, height = footage.size
        scale = min(1.0, self.options.max_side / max(width, height))
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        heat = self._spread(self._sum(footage, shape, scale))
        picture = footage.still(shape[1], shape[0])
        target = folder / self.files()[0]
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(encode_png(_painted(heat, picture)))
        part.replace(target)

    def _sum(self, footage: Footage, shape: tuple[int, int], scale: float) -> npt.NDArray[np.float64]:
        """Seconds at each pixel, (height, width)."""
        heat = np.zeros(shape)
        before: float | None = None
        for record in footage.records():
            seconds = _MOST_SECONDS if before is None else min(_MOST_SECONDS, record.time - before)
            before = record.time
            objects = record.objects
            chosen = np.ones(len(objects), np.bool_) if self.options.of is None else objects.of_stage(self.options.of)
            if self.when is not None:
                chosen &= self.when.chosen(record)
            places = np.floor(anchors(objects.box[chosen], self.options.anchor) * scale).astype(int)
            x = np.clip(places[:, 0], 0, shape[1] - 1)
            y = np.clip(places[:, 1], 0, shape[0] - 1)
            np.add.at(heat, (y, x), max(0.0, seconds))
        return heat

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


def _painted(heat: npt.NDArray[np.float64], picture: Image | None) -> npt.NDArray[np.uint8]:
    """The heat in colours over the picture in grey; RGB."""
    share = heat / heat.max() if heat.max() > 0 else heat
    place = share * (len(_COLOURS) - 1)
    low = np.minimum(place.astype(int), len(_COLOURS) - 2)
    rest = (place - low)[..., None]
    colour = _COLOURS[low] * (1 - rest) + _COLOURS[low + 1] * rest
    grey = np.zeros((*heat.shape, 1)) if picture is None else picture.mean(axis=2, keepdims=True) * 0.6
    cover = np.minimum(1, share * 3)[..., None] * 0.85
    painted: Any = grey * (1 - cover) + colour * cover
    return np.clip(painted + 0.5, 0, 255).astype(np.uint8)
