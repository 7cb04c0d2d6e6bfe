"""`shirt_colour`: the colour of what each person wears above the waist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.colours import hex_of, lab_of
from cvpipe.frames import Frame
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions

_LEAST_PIXELS: Final = 12


class ShirtColourOptions(StageOptions):
    """Options of `shirt_colour`."""

    type: Literal["shirt_colour"] = "shirt_colour"
    of: str = Field(min_length=1, max_length=64, description="Name of the stage whose objects are people.")
    top: float = Field(default=0.2, ge=0, le=1, description="Where the shirt begins, as a share of the box's height.")
    bottom: float = Field(default=0.5, ge=0, le=1, description="Where it ends.")
    width: float = Field(default=0.4, gt=0, le=1, description="How much of the box's width is shirt, about the middle.")


class ShirtColour(FrameStage[ShirtColourOptions]):
    """Measure the colour of each person's shirt: the median of the middle of the box, below the head.

    The value of an object is `{"lab", "rgb"}`: CIE L*a*b*, and the same as `#rrggbb`; people of fewer than twelve such
    pixels have none. `teams` puts them together.
    """

    Options = ShirtColourOptions
    example = """
    - {type: detect, name: players, model: yolox-nano, classes: [person]}
    - {type: shirt_colour, of: players}
    - {type: track, of: players}
    - {type: teams, of: players}
    """

    @property
    def finds_objects(self) -> bool:
        """It adds to those of another stage."""
        return False

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are people."""
        return (self.options.of,)

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The objects, with the colour of each."""
        return [
            Found(objects=objects.with_values(self.name, self._colours(frame, objects)))
            for frame, objects in zip(frames, found, strict=True)
        ]

    def _colours(self, frame: Frame, objects: Objects) -> dict[int, dict[str, Any]]:
        told = {}
        for place in np.flatnonzero(objects.of_stage(self.options.of)).tolist():
            pixels = self._shirt(frame, objects.box[place])
            if len(pixels) >= _LEAST_PIXELS:
                rgb = np.median(pixels[:, ::-1], axis=0)
                told[place] = {"lab": np.round(lab_of(rgb), 1).tolist(), "rgb": hex_of(rgb)}
        return told

    def _shirt(self, frame: Frame, box: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Pixels (n, 3) BGR of the shirt."""
        options = self.options
        x1, y1, x2, y2 = box.astype(np.float64)
        middle, half = (x1 + x2) / 2, (x2 - x1) * options.width / 2
        part = np.array(
            [middle - half, y1 + (y2 - y1) * options.top, middle + half, y1 + (y2 - y1) * options.bottom], np.float32
        )
        left, top, right, bottom = frame.view.from_source(part).round().astype(int).tolist()
        return frame.image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)].reshape(-1, 3)
