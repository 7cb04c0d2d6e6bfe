"""Policy: which pictures an operator lets jobs send outside, and whether a pipeline keeps to it."""

from __future__ import annotations

from dataclasses import dataclass

from cvpipe.errors import InvalidPipeline
from cvpipe.pipeline.spec import PipelineSpec, place
from cvpipe.stages.external import External


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator allows.

    pictures: whether any may be sent. blurred: whether something must be blurred in them. frames: whether whole frames
    may be sent.
    """

    pictures: bool = True
    blurred: bool = True
    frames: bool = False

    @classmethod
    def of(cls, word: str) -> Policy:
        """From the setting `outside_pictures`."""
        return cls(pictures=word != "none", blurred=word not in ("all", "none"), frames=word in ("blurred", "all"))

    def check(self, stage: External) -> None:
        """Raises: InvalidPipeline where a stage wants to send what may not be sent."""
        options = stage.options
        if options.images == "none":
            return
        how = "the operator decides with CVPIPE_OUTSIDE_PICTURES"
        if not self.pictures:
            raise InvalidPipeline(f"this service sends no pictures; give `images: none` ({how})", field="images")
        if self.blurred and not options.blur:
            raise InvalidPipeline(
                f"name the stages that find faces and plates, to be blurred in every picture sent ({how})", field="blur"
            )
        if not self.frames and options.images == "frame":
            raise InvalidPipeline(f"this service sends no whole frames, only crops ({how})", field="images")


def check_policy(spec: PipelineSpec, policy: Policy, *, field: str = "") -> None:
    """Raises: InvalidPipeline where a stage wants to send what may not be sent."""
    for number, stage in enumerate(spec.make_stages()):
        if isinstance(stage, External):
            try:
                policy.check(stage)
            except InvalidPipeline as error:
                where = ".".join(part for part in (field, f"stages.{number}", error.field) if part)
                raise InvalidPipeline(f"{place(number, stage.options)}: {error.message}", field=where) from None


def addresses(spec: PipelineSpec) -> list[tuple[int, str]]:
    """What a pipeline has called: positions of stages, and addresses."""
    made = enumerate(spec.make_stages())
    return [(number, stage.options.url) for number, stage in made if isinstance(stage, External)]
