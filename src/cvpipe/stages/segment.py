"""`segment`: which pixels show what: classes of the whole frame, or objects with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from cvpipe.crops import Crop, label_rows
from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Frame, View
from cvpipe.inference.cards import Task, nearest
from cvpipe.models import MapFamily, ObjectFamily, Outputs
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions, Tools
from cvpipe.stages.detect import Detect, DetectOptions
from cvpipe.subjects import ModelRef, Subjects, family_for

_BACKGROUND = "background"


class SegmentOptions(StageOptions):
    """Options of `segment`."""

    type: Literal["segment"] = "segment"
    model: ModelRef
    classes: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Labels to keep, in the card's words. Default: all but `background`.",
    )
    score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Instances: objects below this score are dropped; default: the model card's. Maps of "
        "several labels at once: pixels above it have the label; default 0.5.",
    )
    max_objects: int = Field(default=300, ge=1, le=5000, description="At most this many instances on a frame.")


class Segment(FrameStage[SegmentOptions]):
    """Tell which pixels show what: the classes of a frame as values, or objects with masks."""

    Options = SegmentOptions
    device = "gpu"

    _instances: Detect | None = None
    _subjects: Subjects
    _family: MapFamily
    _wanted: tuple[int, ...] = ()

    def models(self) -> tuple[str, ...]:
        """The model asked for."""
        return (self.options.model,)

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where the model is for another task."""
        options = self.options
        network = tools.network(options.model)
        tasks: tuple[Task, ...] = ("semantic-segmentation", "instance-segmentation")
        found = family_for(network, (MapFamily, ObjectFamily), tasks=tasks, stage=self.name)
        card = network.card
        if isinstance(found, MapFamily):
            for name in options.classes or ():
                if name not in card.labels:
                    hint = nearest(name, card.labels)
                    raise InvalidPipeline(
                        f"model {card.ref} knows no class {name!r}{hint}", field=f"{self.name}.classes"
                    )
            self._family, self._subjects = found, Subjects(network, tools.cv2, self.name)
            names = options.classes or [label for label in card.labels if label != _BACKGROUND]
            self._wanted = tuple(i for i, label in enumerate(card.labels) if label in names)
            return
        self._instances = Detect(
            DetectOptions(
                name=self.name,
                model=options.model,
                score=options.score,
                classes=options.classes,
                max_objects=options.max_objects,
            )
        )
        self._instances.open(tools)

    def view(self, upstream: View) -> View:
        """The canvas that the network takes."""
        return (self._instances or self._subjects).view(upstream)

    @property
    def batch(self) -> int:
        """As many frames as the network takes in one call."""
        return (self._instances or self._subjects).batch

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """Objects with masks; or the value `{"classes": [{"label", "area", "mask"}, ...]}`, the largest first."""
        if self._instances is not None:
            return self._instances.process(frames, found)
        return self._subjects.values(frames, found, self._read)

    def _read(self, outputs: Sequence[Outputs], crops: Sequence[Crop]) -> list[dict[str, Any]]:
        card = self._subjects.network.card
        grids = self._family.decode(outputs, (crops[0].width, crops[0].height), card)
        threshold = 0.5 if self.options.score is None else self.options.score
        return [
            {"classes": label_rows(crop, grid, card.labels, self._wanted, threshold=threshold)}
            for crop, grid in zip(crops, grids, strict=True)
        ]
