"""`threshold`: which share of the picture is bright, and at what level bright begins (Otsu 1979)."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.frames import Frame, Image
from cvpipe.results import Found
from cvpipe.stages import MapOptions, PictureStage, refuse_idle

_OPTIONS_OF = {"otsu": (), "fixed": ("level",), "adaptive": ("block", "offset")}


class LevelOptions(MapOptions):
    """How a grey picture becomes black and white."""

    method: Literal["otsu", "fixed", "adaptive"] = Field(
        default="otsu",
        description="otsu: at the level that best tells two kinds of pixels apart. fixed: at `level`. adaptive: each "
        "pixel against the mean of its surroundings, for uneven light.",
    )
    level: int = Field(default=128, ge=1, le=255, description="fixed: grey from which a pixel is bright.")
    block: int = Field(default=31, ge=3, le=999, description="adaptive: side of the surroundings, in pixels; odd.")
    offset: float = Field(
        default=-5,
        ge=-255,
        le=255,
        description="adaptive: a pixel is bright where it is above the mean of its surroundings minus this.",
    )
    invert: bool = Field(default=False, description="Take the dark pixels instead of the bright ones.")

    @model_validator(mode="after")
    def _belong(self) -> Self:
        refuse_idle(self, "method", _OPTIONS_OF)
        if self.block % 2 == 0:
            raise ValueError("`block` must be odd: 3, 5, 7, ...")
        return self


class ThresholdOptions(LevelOptions):
    """Options of `threshold`."""

    type: Literal["threshold"] = "threshold"


class Threshold(PictureStage[ThresholdOptions]):
    """Measure how much of a frame is bright (or dark), and how clearly the two are told apart.

    Values, under the stage's name: `level`, the grey from which a pixel is bright, null with `adaptive`; `share` of
    pixels taken, 0 to 1; `separation`, between-class variance as a share of all variance, 0 to 1: near 1 the picture
    has two kinds of pixels; null where all pixels are of one class. Maps: pixels taken white.
    """

    Options = ThresholdOptions
    example = """
    - {type: crop, x: 0.4, y: 0.4, width: 0.2, height: 0.2, unit: fraction}
    - {type: threshold, method: otsu}
    """

    def look(self, frame: Frame) -> Found:
        """`level`, `share` and `separation`."""
        picture = frame.shown
        level, taken = binarised(self._cv2, picture, self.options)
        values = {"level": level, "share": round(float(taken.mean()), 6), "separation": _separation(picture, taken)}
        return Found(values={self.name: values}, map=taken.astype(np.uint8) * 255 if frame.wants_map else None)


def binarised(cv2: Any, picture: Image, options: LevelOptions) -> tuple[int | None, npt.NDArray[np.bool_]]:
    """The level from which a pixel is bright, None where it is one for each pixel; and which pixels are taken.

    picture: grey, (height, width) uint8. Returns (height, width) bool.
    """
    level: int | None
    if options.method == "adaptive":
        level = None
        bright = (
            cv2.adaptiveThreshold(
                picture, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, options.block, options.offset
            )
            > 0
        )
    elif options.method == "fixed":
        level = options.level
        bright = picture >= level
    else:
        found, _ = cv2.threshold(picture, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        level = int(found) + 1  # OpenCV's bright pixels are above its threshold
        bright = picture >= level
    return level, ~bright if options.invert else bright


def _separation(picture: Image, taken: npt.NDArray[np.bool_]) -> float | None:
    if taken.all() or not taken.any():
        return None
    values, share = picture.astype(np.float64), float(taken.mean())
    between = share * (1 - share) * float(values[taken].mean() - values[~taken].mean()) ** 2
    return round(between / float(values.var()), 4)
