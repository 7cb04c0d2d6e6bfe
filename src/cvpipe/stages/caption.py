"""`caption`: say a sentence about frames, scenes or objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from cvpipe.crops import Crop
from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Frame, Image, View
from cvpipe.models import family
from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.stages import NetworkStage, StageOptions, Tools
from cvpipe.subjects import STAGE_OF_TASK, Grow, ModelRef, Of, Subjects
from cvpipe.votes import Ballot, Verdict, vote_texts

_SLACK = 1e-9  # of an interval: 0.3 s is the third tenth of a second, whatever binary fractions say


class CaptionOptions(StageOptions):
    """Options of `caption`."""

    type: Literal["caption"] = "caption"
    model: ModelRef
    of: Of = None
    grow: Grow = 1.0
    per: Literal["frame", "scene"] = Field(
        default="frame",
        description="frame: say something about each frame, or with `every_seconds` about some. scene: of the first "
        "frame of each scene that the stage `scenes` finds.",
    )
    scenes: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="With `per: scene`: name of an earlier stage that finds cuts. Default: `scenes`.",
    )
    every_seconds: float | None = Field(
        default=None,
        gt=0,
        le=86400,
        description="With `per: frame`: only the first frame in each span of so many seconds, counted from the "
        "beginning of the video.",
    )
    prompt: str | None = Field(
        default=None,
        max_length=2000,
        description="Words that the sentence begins with, or what the network is asked; or a short name, one of the "
        "card's `prompts`. Default: the card's.",
    )
    beams: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="Sentences kept in mind while searching for the best; 1 takes the likeliest word each time. "
        "Default: the card's `num_beams`.",
    )
    max_new_tokens: int | None = Field(
        default=None, ge=1, le=1024, description="Longest sentence, in tokens. Default: the card's."
    )

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if self.per == "scene" and self.every_seconds is not None:
            raise ValueError("`every_seconds` goes with `per: frame`")
        if self.per == "frame" and self.scenes is not None:
            raise ValueError("`scenes` goes with `per: scene`")
        return self


@dataclass(frozen=True, slots=True)
class _Speaker:
    """A captioner that says it as this stage wishes (`cvpipe.subjects.Network`)."""

    captioner: Any
    wish: Mapping[str, Any]

    @property
    def card(self) -> Any:
        return self.captioner.card

    @property
    def batch(self) -> int:
        return int(self.captioner.batch)

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self.captioner.output_shapes)

    def input_view(self, upstream: View) -> View:
        view: View = self.captioner.input_view(upstream)
        return view

    def run(self, images: Sequence[Image]) -> list[Any]:
        return list(self.captioner.run(images, **self.wish))


class Caption(NetworkStage[CaptionOptions]):
    """Say a sentence about each frame, the first frame of each scene, or each object of another stage.

    Values, under the stage's name: `text`, and `score`, the geometric mean of the probabilities of its tokens.
    """

    Options = CaptionOptions
    example = """
    - {type: scenes, threshold: 27}
    - {type: caption, model: scene-words, per: scene}
    """

    def boundaries(self) -> tuple[str, ...]:
        """The stage that finds scenes."""
        return (self.options.scenes or "scenes",) if self.options.per == "scene" else ()

    def open(self, tools: Tools) -> None:
        """Load the networks. Raises: NotFound, InvalidModel, InvalidPipeline where the model is for another task."""
        options = self.options
        card = tools.card(options.model)
        if card.task != "captioning":
            raise InvalidPipeline(
                f"model {card.ref} is for {card.task} ({card.family}): a stage of the type "
                f"{STAGE_OF_TASK[card.task]!r} runs it",
                field=f"{self.name}.model",
            )
        reads = family(card)
        captioner = tools.captioner(options.model)
        reads.check(captioner.output_shapes, card)
        wish = {"prompt": options.prompt, "beams": options.beams, "max_new_tokens": options.max_new_tokens}
        speaker = _Speaker(captioner, wish)
        self._subjects = Subjects(speaker, tools.cv2, self.name, of=options.of, grow=options.grow)

    def wants(self, record: FrameRecord, before: float | None) -> bool:
        """The frames that begin a scene or an interval; all of them without either."""
        options = self.options
        for stage in self.boundaries():
            scene = record.values.get(stage)
            # A frame without a score has none before it to be compared with: it begins a scene too.
            return isinstance(scene, Mapping) and (scene.get("cut") is True or scene.get("score") is None)
        if options.every_seconds is None or before is None:
            return True
        return _span(record.time, options.every_seconds) > _span(before, options.every_seconds)

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The value `{"text", "score"}` of each frame or object."""
        return self._subjects.values(frames, found, self._read)

    def vote(self, ballots: Sequence[Ballot]) -> Verdict:
        """The sentence that is most like all others, word by word."""
        return vote_texts(ballots, by_word=True)

    def _read(self, outputs: Sequence[Any], crops: Sequence[Crop]) -> list[dict[str, Any]]:  # noqa: ARG002 - where it is plays no part
        return [{"text": said.text, "score": round(said.score, 4)} for said in outputs]


def _span(time: float, seconds: float) -> int:
    return math.floor(time / seconds + _SLACK)
