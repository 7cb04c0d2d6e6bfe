"""Policy: which pictures an operator lets jobs send outside, and whether a pipeline keeps to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cvpipe.errors import CvpipeError, InvalidPipeline
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
    for number, stage in _asking(spec):
        with _told_of(number, stage, field):
            policy.check(stage)


def check_calls(
    spec: PipelineSpec,
    address: Callable[[str], object],
    headers: Callable[[str | None, str], object] | None,
    *,
    field: str = "",
) -> None:
    """See whether the servers of a pipeline may be called, and their secrets are there.

    address: says what it is, or raises AddressRefused. headers: those of a secret's name and an address; raises
    InvalidRequest where there is none of the name, AddressRefused where it is for another server; None: nobody knows
    here. Raises: these, with the stage, and `field` the path to the option.
    """
    for number, stage in _asking(spec):
        with _told_of(number, stage, field, "url"):
            address(stage.options.url)
        if headers is not None:
            with _told_of(number, stage, field, "secret"):
                headers(stage.options.secret, stage.options.url)


def _asking(spec: PipelineSpec) -> Iterator[tuple[int, External]]:
    return ((number, stage) for number, stage in enumerate(spec.make_stages()) if isinstance(stage, External))


@contextmanager
def _told_of(number: int, stage: External, field: str, option: str = "") -> Iterator[None]:
    """What is wrong is told with the stage, and the path to its option."""
    try:
        yield
    except CvpipeError as error:
        where = ".".join(part for part in (field, f"stages.{number}", error.field or option) if part)
        raise type(error)(f"{place(number, stage.options)}: {error.message}", field=where) from None
