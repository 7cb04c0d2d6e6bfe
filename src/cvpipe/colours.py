"""Colours as people see them: CIE L*a*b* of sRGB, in which equal distances look about equally far."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE: Final = _TO_XYZ.sum(axis=1)  # D65: what (1, 1, 1) comes to
_KNEE: Final = (6 / 29) ** 3


def lab_of(rgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Colours (..., 3) of sRGB, 0 to 255, as L* (0 to 100), a* and b* (IEC 61966-2-1, CIE 15)."""
    share = np.asarray(rgb, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    f = np.where(xyz > _KNEE, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def hex_of(rgb: npt.ArrayLike) -> str:
    """A colour of sRGB, 0 to 255, as `#rrggbb`."""
    red, green, blue = (round(float(value)) for value in np.asarray(rgb).reshape(3))
    return f"#{red:02x}{green:02x}{blue:02x}"


def rgb_of(text: str) -> tuple[int, int, int]:
    """The inverse of `hex_of`."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
