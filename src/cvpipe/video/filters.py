"""What OpenCV does to the pixels of a view: filters, colour spaces, straightening. Runs in decoder processes only.

Pictures are BGR, (height, width, 3), or grey, (height, width), uint8.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cvpipe.frames import Filter, PixelFormat
from cvpipe.lens import Lens

Image = npt.NDArray[np.uint8]
Step = Callable[[Image], Image]
Box = tuple[float, float, float, float]

_FROM_BGR: Final = {"hsv": cv2.COLOR_BGR2HSV, "lab": cv2.COLOR_BGR2LAB, "ycrcb": cv2.COLOR_BGR2YCrCb}
_NLM_PATCH, _NLM_SEARCH = 7, 21


def be_alone() -> None:
    """One thread, no GPU: many decoders work at once. For the whole process; before the first picture."""
    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)
    os.environ.pop("LD_LIBRARY_PATH", None)  # OpenCV's loader sets it; a decoder's environment is empty


def make_filter(filter: Filter) -> Step:
    """What carries a filter out on one picture after another. Raises: ValueError for values that it can't take."""
    return _MAKERS[filter.kind](*filter.values)


def to_format(picture: Image, format: PixelFormat) -> Image:
    """A BGR picture in another format of three channels."""
    if format in _FROM_BGR:
        return np.asarray(cv2.cvtColor(picture, _FROM_BGR[format]), np.uint8)
    return picture[:, :, ::-1] if format == "rgb24" else picture


def paste(picture: Image, mask: npt.NDArray[np.bool_], place: Image) -> None:
    """Copy a picture to a place of its shape, (height, width, 3), where the mask is true."""
    # 50 times as fast as np.copyto with a mask for three channels. OpenCV writes to `place`, whose rows may lie apart.
    cv2.copyTo(np.ascontiguousarray(picture), mask.view(np.uint8), place)


def _clahe(clip_limit: float, tiles: float) -> Step:
    equaliser = cv2.createCLAHE(clip_limit, (int(tiles), int(tiles)))
    return _on_luma(lambda luma: np.asarray(equaliser.apply(luma), np.uint8))


def _equalise() -> Step:
    return _on_luma(lambda luma: np.asarray(cv2.equalizeHist(luma), np.uint8))


def _gamma(exponent: float) -> Step:
    table = np.round(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return lambda picture: np.asarray(cv2.LUT(picture, table), np.uint8)


def _median(size: float) -> Step:
    return lambda picture: np.asarray(cv2.medianBlur(picture, int(size)), np.uint8)


def _gaussian(sigma: float) -> Step:
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def _bilateral(diameter: float, sigma_colour: float, sigma_space: float) -> Step:
    return lambda picture: np.asarray(cv2.bilateralFilter(picture, int(diameter), sigma_colour, sigma_space), np.uint8)


def _nlm(strength: float) -> Step:
    def denoise(picture: Image) -> Image:
        if picture.ndim == 2:
            done = cv2.fastNlMeansDenoising(picture, None, strength, _NLM_PATCH, _NLM_SEARCH)
        else:
            done = cv2.fastNlMeansDenoisingColored(picture, None, strength, strength, _NLM_PATCH, _NLM_SEARCH)
        return np.asarray(done, np.uint8)

    return denoise


_MAKERS: Final[dict[str, Callable[..., Step]]] = {
    "clahe": _clahe,
    "equalise": _equalise,
    "gamma": _gamma,
    "median": _median,
    "gaussian": _gaussian,
    "bilateral": _bilateral,
    "nlm": _nlm,
}


def _on_luma(step: Step) -> Step:
    """The step on a grey picture, or on the luma (BT.601) of a colour one, whose hues stay."""

    def change(picture: Image) -> Image:
        if picture.ndim == 2:
            return step(picture)
        parts = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb), np.uint8)
        parts[:, :, 0] = step(np.ascontiguousarray(parts[:, :, 0]))
        return np.asarray(cv2.cvtColor(parts, cv2.COLOR_YCrCb2BGR), np.uint8)

    return change


class Straightener:
    """Straightens what a lens bent: pictures that show one part of the recorded frame become ones of another part.

    shown: (x, y, width, height) of the straightened frame that is wanted, as pictures of `size`, (width, height).
    recorded, recorded_size: of the recorded frame that the pictures given show, and their size. What lies outside of
    it gets the grey level `pad`. The map is OpenCV's (bilinear, to 1/32 pixel) and exact for both sizes.
    """

    def __init__(
        self, lens: Lens, *, shown: Box, size: tuple[int, int], recorded: Box, recorded_size: tuple[int, int], pad: int
    ) -> None:
        self._maps = cv2.initUndistortRectifyMap(
            _camera(lens, recorded, recorded_size),
            np.array(lens.coefficients),
            np.eye(3),
            _camera(lens, shown, size),
            size,
            cv2.CV_16SC2,
        )
        self._pad = (pad, pad, pad)

    def __call__(self, picture: Image) -> Image:
        """The straightened picture."""
        return np.asarray(
            cv2.remap(picture, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=self._pad),
            np.uint8,
        )


def _camera(lens: Lens, part: Box, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """OpenCV's camera matrix for pictures of `size` that show a part of the frame. Its pixel 0 has its middle at 0."""
    x, y, width, height = part
    scale_x, scale_y = size[0] / width, size[1] / height
    return np.array(
        [
            [lens.fx * scale_x, 0, (lens.cx + 0.5 - x) * scale_x - 0.5],
            [0, lens.fy * scale_y, (lens.cy + 0.5 - y) * scale_y - 0.5],
            [0, 0, 1],
        ]
    )
