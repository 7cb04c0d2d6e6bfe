"""`read_text`: read the text on a frame, or on objects that another stage found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Frame, Image
from cvpipe.models import family
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions, Tools
from cvpipe.tools import PACKAGED
from cvpipe.votes import Ballot, Verdict, vote_texts

_MARGIN = 0.05  # of an object's size, on each side: boxes are rarely generous
_MIN_CROP_SIDE = 192  # the detector misses text that fills a smaller picture
_TOGETHER = 8  # crops of objects, of all frames
_FAMILIES = {"detector": "ppocr-detection", "recogniser": "ppocr-recognition", "angle": "ppocr-angle"}


class ReadTextOptions(StageOptions):
    """Options of `read_text`."""

    type: Literal["read_text"] = "read_text"
    of: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Name of an earlier stage: read the text on each of its objects and make it the object's `text`. "
        "Default: read the whole frame; each line becomes an object with the label `text`.",
    )
    min_score: float = Field(default=0.8, ge=0, le=1, description="Lines read with less certainty are left out.")
    max_side: int = Field(
        default=640,
        ge=64,
        le=4096,
        description="Text is looked for on a picture no longer than this (pixels), and read on the full one. More "
        "finds smaller text and takes longer, with the square of it.",
    )
    detector: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Model card (family `ppocr-detection`) that finds lines. Default: the network that comes along.",
    )
    recogniser: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Model card (family `ppocr-recognition`) that reads lines. Default: the network that comes along.",
    )
    angle: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Model card (family `ppocr-angle`) that tells which lines are upside down, and have to be turned. "
        "Default: none; lines are taken as upright.",
    )


class ReadText(FrameStage[ReadTextOptions]):
    """Read text in Latin, Chinese and Japanese script, on the whole frame or on another stage's objects.

    Lines of a whole frame are objects; their corners are in their values: `quad`, four points in pixels of the source,
    clockwise from the top left one as the text is read.
    """

    Options = ReadTextOptions
    example = """
    - {type: decimate, fps: 2}
    - {type: read_text, min_score: 0.8}
    """
    device = "gpu"

    _reader: Any
    _cv2: Any

    @property
    def finds_objects(self) -> bool:
        """The lines of a whole frame; with `of`, it adds text to the objects of another stage."""
        return self.options.of is None

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are read."""
        return () if self.options.of is None else (self.options.of,)

    def models(self) -> tuple[str, ...]:
        """The models asked for."""
        return tuple(ref for ref in self._cards().values() if ref is not None)

    def held(self) -> tuple[str, ...]:
        """The models asked for, and those that come along in place of others."""
        return tuple(ref or f"{PACKAGED}{role}" for role, ref in self._cards().items() if ref or role != "angle")

    def open(self, tools: Tools) -> None:
        """Load the networks. Raises: ExtraMissing, NotFound, InvalidModel; InvalidPipeline for one of another kind."""
        asked = self._cards()
        for option, ref in asked.items():
            if ref is None:
                continue
            card = tools.card(ref)
            wanted = _FAMILIES[option]
            if (card.task, card.family) != ("text", wanted):
                raise InvalidPipeline(
                    f"model {card.ref} is for {card.task} ({card.family}); wanted one of the family {wanted}",
                    field=f"{self.name}.{option}",
                )
            family(card)
        self._reader = tools.ocr(**asked)
        self._cv2 = tools.cv2

    @property
    def batch(self) -> int:
        """As many frames as the network that finds lines takes in one call."""
        return int(self._reader.batch)

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """New objects with the label `text`; or, with `of`, the objects found before with their `text`."""
        if self.options.of is None:
            read = self._read([frame.image for frame in frames])
            return [Found(added=self._objects(frame, lines)) for frame, lines in zip(frames, read, strict=True)]
        return [Found(objects=objects) for objects in self._labelled(frames, found, self.options.of)]

    def vote(self, ballots: Sequence[Ballot]) -> Verdict:
        """The text that is most like all others, character by character."""
        return vote_texts(ballots)

    def _cards(self) -> dict[str, str | None]:
        options = self.options
        return {"detector": options.detector, "recogniser": options.recogniser, "angle": options.angle}

    def _objects(self, frame: Frame, lines: Sequence[Any]) -> Objects:
        quads = [frame.view.to_source(line.quad).astype(np.float64).round(2).tolist() for line in lines]
        return Objects.make(
            stage=self.name,
            box=frame.view.to_source(np.array([line.box for line in lines], np.float32).reshape(-1, 4)),
            score=[line.score for line in lines],
            label=["text"] * len(lines),
            text=[line.text for line in lines],
            values=[{self.name: {"quad": quad}} for quad in quads],
        )

    def _labelled(self, frames: Sequence[Frame], found: Sequence[Objects], of: str) -> list[Objects]:
        """The objects of all frames, those of the stage `of` with the text on them."""
        texts = [list(objects.text) for objects in found]
        crops = [
            (text, i, crop)
            for frame, objects, text in zip(frames, found, texts, strict=True)
            for i in np.flatnonzero(objects.of_stage(of))
            if (crop := self._crop(frame, objects.box[i])) is not None
        ]
        for start in range(0, len(crops), _TOGETHER):
            part = crops[start : start + _TOGETHER]
            for (text, i, _), lines in zip(part, self._read([crop for _, _, crop in part]), strict=True):
                if lines:
                    text[i] = " ".join(line.text for line in lines)
        return [replace(objects, text=tuple(text)) for objects, text in zip(found, texts, strict=True)]

    def _read(self, images: Sequence[Image]) -> list[list[Any]]:
        return list(self._reader.read(images, max_side=self.options.max_side, min_score=self.options.min_score))

    def _crop(self, frame: Frame, box: npt.NDArray[np.float32]) -> Image | None:
        """The object's part of the picture, enlarged where it is small; None where nothing of it is on the picture."""
        margin = (box[2:] - box[:2]) * _MARGIN
        grown = frame.view.from_source(np.concatenate((box[:2] - margin, box[2:] + margin)))
        x1, y1 = np.floor(grown[:2]).astype(int)
        x2, y2 = np.ceil(grown[2:]).astype(int)
        crop = frame.image[y1:y2, x1:x2]
        if min(crop.shape[:2]) < 2:
            return None
        scale = _MIN_CROP_SIDE / max(crop.shape[:2])
        if scale > 1:
            return np.asarray(self._cv2.resize(crop, None, fx=scale, fy=scale, interpolation=self._cv2.INTER_CUBIC))
        return crop
