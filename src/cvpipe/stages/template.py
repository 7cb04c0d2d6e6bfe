"""`template`: where a given small picture is seen on the frame."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cvpipe.frames import Frame, Image
from cvpipe.png import decode_png
from cvpipe.results import Found, Objects
from cvpipe.stages import PictureStage, StageOptions, Tools

_MAX_PIXELS = 256 * 256
_MAX_CHARACTERS = 400_000
_LUMA = np.array([0.299, 0.587, 0.114])


class TemplateOptions(StageOptions):
    """Options of `template`."""

    type: Literal["template"] = "template"
    image: str = Field(
        min_length=1,
        max_length=_MAX_CHARACTERS,
        description="What to look for: a PNG file in base64 (`base64 -w0 logo.png`), at most 65,536 pixels, eight bits "
        "a channel; compared in grey.",
    )
    label: str = Field(default="template", min_length=1, max_length=64, description="What the places are called.")
    score: float = Field(
        default=0.8,
        ge=0.1,
        le=1,
        description="Least correlation with the template, from 0 to 1, whatever the brightness and contrast.",
    )
    scales: list[Annotated[float, Field(ge=0.1, le=10)]] = Field(
        default=[1.0],
        min_length=1,
        max_length=16,
        description="Sizes at which to look for it, in pixels of the picture seen.",
    )
    overlap: float = Field(
        default=0.3, ge=0, lt=1, description="Of two places that share more (IoU), only the better one is told."
    )
    max_objects: int = Field(default=50, ge=1, le=1000, description="At most so many, the best first.")

    @model_validator(mode="after")
    def _is_picture(self) -> Self:
        if min(self.picture().shape) < 4:
            raise ValueError("`image` must have 4x4 pixels at least")
        if self.picture().std() < 1:
            raise ValueError("`image` is plain: there is nothing to look for")
        return self

    def picture(self) -> Image:
        """The template in grey. Raises: ValueError where it is no PNG."""
        try:
            pixels = decode_png(base64.b64decode("".join(self.image.split()), validate=True), max_pixels=_MAX_PIXELS)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"`image` must be a PNG file in base64: {error}") from None
        return pixels if pixels.ndim == 2 else np.round(pixels @ _LUMA).astype(np.uint8)


class Template(PictureStage[TemplateOptions]):
    """Find where a small picture is seen: a logo, a sign, a button, a scoreboard.

    Objects have the option's `label`; `score` is the normalised correlation (OpenCV's TM_CCOEFF_NORMED). Values of
    each, under the stage's name: `scale`, at which it was found. The template is not turned.
    """

    Options = TemplateOptions
    example = """
    - {type: decimate, fps: 2}
    - type: template
      label: cross
      image: >-
        iVBORw0KGgoAAAANSUhEUgAAAAwAAAAMCAAAAABzHgM7AAAAJklEQVR4nGNiAIH//8EUEwMSIJbzHwRA
        RgABqgwjCDAwgClyjAYAfpUMFyU86pgAAAAASUVORK5CYII=
    """

    _templates: list[tuple[float, Image]]

    @property
    def finds_objects(self) -> bool:
        """Places."""
        return True

    def open(self, tools: Tools) -> None:
        """Make the template in all its sizes."""
        super().open(tools)
        self._templates = []
        picture = self.options.picture()
        for scale in dict.fromkeys(self.options.scales):
            how = self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_LINEAR
            sized = picture if scale == 1 else self._cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
            self._templates.append((scale, sized))

    def look(self, frame: Frame) -> Found:
        """The places of the template on a frame."""
        cv2, options, picture = self._cv2, self.options, frame.shown
        boxes, scores, scales = [np.zeros((0, 4))], [np.zeros(0)], [np.zeros(0)]
        for scale, template in self._templates:
            height, width = template.shape
            if height > picture.shape[0] or width > picture.shape[1]:
                continue
            match = np.nan_to_num(cv2.matchTemplate(picture, template, cv2.TM_CCOEFF_NORMED), posinf=0, neginf=0)
            best = cv2.dilate(match, np.ones((3, 3), np.uint8))
            rows, columns = np.nonzero((match >= options.score) & (match == best))
            boxes.append(np.stack([columns, rows, columns + width, rows + height], axis=1).astype(np.float64))
            scores.append(match[rows, columns].astype(np.float64))
            scales.append(np.full(len(rows), scale))
        box, score, size = np.concatenate(boxes), np.concatenate(scores), np.concatenate(scales)
        kept = _best(box, score, options.overlap, options.max_objects)
        found = Objects.make(
            stage=self.name,
            box=frame.to_source(box[kept]),
            score=np.clip(score[kept], 0, 1),
            label=(options.label,) * len(kept),
            values=[{self.name: {"scale": scale}} for scale in size[kept].tolist()],
        )
        return Found(added=found)


def _best(
    box: npt.NDArray[np.float64], score: npt.NDArray[np.float64], overlap: float, count: int
) -> npt.NDArray[np.int64]:
    """Which places stay, the best first: none that shares too much with a better one."""
    order = np.lexsort((box[:, 0], box[:, 1], -score))
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    kept: list[int] = []
    for n in order.tolist():
        if len(kept) == count:
            break
        others = box[kept]
        size = np.minimum(others[:, 2:], box[n, 2:]) - np.maximum(others[:, :2], box[n, :2])
        shared = np.prod(np.clip(size, 0, None), axis=1)
        if not (shared / (area[kept] + area[n] - shared) > overlap).any():
            kept.append(n)
    return np.array(kept, np.int64)
