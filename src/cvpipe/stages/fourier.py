"""`fourier`: the spectrum of a picture: patterns that repeat, and how sharp it is."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Frame, Image
from cvpipe.results import Found
from cvpipe.stages import MapOptions, PictureStage

_LOBE = 2  # a Hann window spreads one wave over two places to each side


class FourierOptions(MapOptions):
    """Options of `fourier`."""

    type: Literal["fourier"] = "fourier"
    peaks: int = Field(default=3, ge=0, le=20, description="Waves to tell of, the strongest first.")
    min_strength: float = Field(
        default=0.02, gt=0, le=1, description="Least share that a wave must have of all that varies in the picture."
    )
    min_cycles: float = Field(
        default=4, ge=3, le=1000, description="A wave must repeat so often within the picture, at least."
    )


class Fourier(PictureStage[FourierOptions]):
    """Look at a picture as a sum of waves: which patterns repeat in it, and how much of it is fine detail.

    Values, under the stage's name: `sharpness`, the share of the power (without the mean) in waves shorter than eight
    pixels of the picture seen: it falls with blur; `slope`, by which power of the frequency the power falls (about -2
    to -3 in sharp natural pictures, less in blurred ones), null for a plain picture; `waves`, the strongest ones:
    `period`, in pixels of the displayed source frame, `angle` in which it repeats, degrees from the x axis, clockwise
    on the screen, 0 to 180, and `strength`, the wave's share of the power. A Hann window is put over the picture.
    Maps: the logarithm of the power, six powers of ten, with frequency 0 in the middle.
    """

    Options = FourierOptions
    example = """
    - {type: resize, max_side: 512}
    - {type: fourier, peaks: 2}
    """

    def look(self, frame: Frame) -> Found:
        """`sharpness`, `slope` and `waves`."""
        power = power_spectrum(frame.shown)
        height, width = power.shape
        radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
        total = float(power.sum())
        spectrum = _shown(power) if frame.wants_map else None
        if total < 1e-6:  # rounding of a plain picture
            return Found(values={self.name: {"sharpness": 0.0, "slope": None, "waves": []}}, map=spectrum)
        value = {
            "sharpness": round(float(power[radius > 1 / 8].sum()) / total, 6),
            "slope": _slope(power, radius),
            "waves": self._waves(frame, power, total),
        }
        return Found(values={self.name: value}, map=spectrum)

    def _waves(self, frame: Frame, power: npt.NDArray[np.float64], total: float) -> list[dict[str, Any]]:
        height, width = power.shape
        _, _, source_width, source_height = frame.view.region
        down, across = np.fft.fftfreq(height, 1 / height)[:, None], np.fft.fftfreq(width, 1 / width)[None, :]
        left = power.copy()
        left[np.hypot(down, across) < self.options.min_cycles] = 0
        around = np.arange(-_LOBE, _LOBE + 1)
        waves = []
        for _ in range(self.options.peaks):
            row, column = map(int, np.unravel_index(int(left.argmax()), left.shape))
            lobe = np.ix_((row + around) % height, (column + around) % width)
            part = left[lobe]
            strength = 2 * float(part.sum()) / total  # each wave has a mirror image
            if strength < self.options.min_strength:
                break
            # The middle of the lobe, to a fraction of a place.
            fy = (float(down[row, 0]) + float(part.sum(axis=1) @ around) / part.sum()) / source_height
            fx = (float(across[0, column]) + float(part.sum(axis=0) @ around) / part.sum()) / source_width
            left[lobe] = left[np.ix_((-row + around) % height, (-column + around) % width)] = 0
            waves.append(
                {
                    "period": round(1 / float(np.hypot(fx, fy)), 2),
                    "angle": round(float(np.degrees(np.arctan2(fy, fx))) % 180, 2) % 180,
                    "strength": round(strength, 4),
                }
            )
        return waves


def power_spectrum(picture: Image) -> npt.NDArray[np.float64]:
    """Power of each wave in a grey picture under a Hann window, without its mean: (height, width), float64.

    Rows and columns are frequencies as `numpy.fft.fftfreq` orders them. The sum is the variance of the windowed
    picture, divided by the window's mean square.
    """
    height, width = picture.shape
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    values = picture.astype(np.float64)
    values = (values - (values * window).sum() / window.sum()) * window
    power: npt.NDArray[np.float64] = np.abs(np.fft.fft2(values)) ** 2 / (window.size * (window**2).sum())
    return power


def _shown(power: npt.NDArray[np.float64]) -> Image:
    """The spectrum with no frequency in the middle, six powers of ten as grey."""
    decades = np.log10(np.fft.fftshift(power) / max(float(power.max()), 1e-12) + 1e-12)
    return np.clip(np.round(255 * (1 + decades / 6)), 0, 255).astype(np.uint8)


def _slope(power: npt.NDArray[np.float64], radius: npt.NDArray[np.float64]) -> float | None:
    """Of log power over log frequency, from 1/64 to 1/2 cycles per pixel, in rings of a third of an octave."""
    edges = 2.0 ** np.arange(-6, -0.99, 1 / 3)
    rings = np.digitize(radius.ravel(), edges)
    sums = np.bincount(rings, power.ravel(), len(edges) + 1)[1:-1]
    counts = np.bincount(rings, minlength=len(edges) + 1)[1:-1]
    known = (counts > 0) & (sums > 0)
    if known.sum() < 3:
        return None
    middle = np.log(np.sqrt(edges[:-1] * edges[1:]))[known]
    return round(float(np.polyfit(middle, np.log(sums[known] / counts[known]), 1)[0]), 3)
