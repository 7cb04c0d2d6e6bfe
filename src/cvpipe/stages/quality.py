"""`quality`: is the picture sharp, well exposed and free of noise; is it black, or colour bars?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Frame, Image
from cvpipe.results import Found
from cvpipe.stages import PictureStage, StageOptions

_LUMA = np.array([0.114, 0.587, 0.299])
_DARK, _BRIGHT = 16, 240
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
# Red, green and blue of the bars, from left to right: white, yellow, cyan, green, magenta, red, blue (and black).
_BARS = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]], bool)
_BAR_DEVIATION = 12


class QualityOptions(StageOptions):
    """Options of `quality`."""

    type: Literal["quality"] = "quality"
    black: float = Field(
        default=0.98, gt=0, le=1, description="Share of pixels with a luma below 32 from which a frame is black."
    )
    blurred: float = Field(default=30, ge=0, description="Focus below which a frame is blurred.")
    dark: float = Field(default=40, ge=0, le=255, description="Mean luma below which a frame is too dark.")
    bright: float = Field(default=215, ge=0, le=255, description="Mean luma above which a frame is too bright.")


class Quality(PictureStage[QualityOptions]):
    """Measure the technical quality of each frame: focus, exposure, contrast, noise; black frames and colour bars.

    Values, under the stage's name: `focus`, the variance of the Laplacian of the luma: it falls with blur and grows
    with noise; `brightness`, mean luma, and `contrast`, its standard deviation, 0 to 255; `dark_share` and
    `bright_share`, of pixels with a luma below 16 and from 240; `noise`, standard deviation of the noise in grey levels
    (Immerkaer 1996); and whether the frame is `blurred`, `too_dark`, `too_bright`, `black` or `colour_bars` (100 or
    75 % bars, SMPTE's or EBU's). The finished job reports on how many frames each is true. Focus and noise depend on
    the size of the picture: look at one size.
    """

    Options = QualityOptions
    example = """
    - {type: decimate, fps: 5}
    - {type: resize, width: 640, height: 360}
    - {type: quality, blurred: 50}
    """
    tallies = ("black", "blurred", "colour_bars", "too_bright", "too_dark")
    pixel_format = "bgr24"

    def look(self, frame: Frame) -> Found:
        """All measures of a frame."""
        cv2, options, picture = self._cv2, self.options, frame.shown
        luma = np.round(picture @ _LUMA).astype(np.uint8)
        focus = round(float(cv2.Laplacian(luma, cv2.CV_64F, ksize=1).var()), 3)
        brightness = round(float(luma.mean()), 3)
        bars = _is_bars(picture)
        black = bool((luma < 2 * _DARK).mean() >= options.black)
        value = {
            "focus": focus,
            "brightness": brightness,
            "contrast": round(float(luma.std()), 3),
            "dark_share": round(float((luma < _DARK).mean()), 6),
            "bright_share": round(float((luma >= _BRIGHT).mean()), 6),
            "noise": self._noise(luma),
            "black": black,
            "blurred": not black and not bars and focus < options.blurred,
            "colour_bars": bars,
            "too_bright": brightness > options.bright,
            "too_dark": brightness < options.dark,
        }
        return Found(values={self.name: value})

    def _noise(self, luma: Image) -> float:
        height, width = luma.shape
        if min(height, width) < 3:
            return 0.0
        detail = np.abs(self._cv2.filter2D(luma, self._cv2.CV_64F, _NOISE))[1:-1, 1:-1]
        return round(float(np.sqrt(np.pi / 2) * detail.sum() / (6 * (width - 2) * (height - 2))), 3)


def _is_bars(picture: Image) -> bool:
    """Whether the upper half shows seven or eight plain bars of the right colours."""
    height, width = picture.shape[:2]
    part = picture[height // 20 : height // 2].astype(np.float64)
    return any(_shows(part, width, count) for count in (7, 8)) if len(part) and width >= 64 else False


def _shows(part: npt.NDArray[np.float64], width: int, count: int) -> bool:
    edges = np.linspace(0, width, count + 1)
    colours = np.zeros((count, 3))
    for n in range(count):
        margin = (edges[n + 1] - edges[n]) / 5
        bar = part[:, int(edges[n] + margin) : int(edges[n + 1] - margin)]
        if bar.std(axis=(0, 1)).max() > _BAR_DEVIATION:
            return False
        colours[n] = bar.mean(axis=(0, 1))[::-1]
    least, most = colours.min(), colours.max()
    return bool(most - least > 100 and np.array_equal(colours > (least + most) / 2, _BARS[:count]))
