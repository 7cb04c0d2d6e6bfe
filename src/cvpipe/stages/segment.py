"""`segment`: which pixels show what: classes of the whole frame, or objects with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from cvpipe.crops import Crop
from cvpipe.frames import Frame, View
from cvpipe.inference.cards import Task
from cvpipe.models import MapFamily, ObjectFamily, Outputs
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions, Tools
from cvpipe.stages.detect import Detect, DetectOptions
from cvpipe.subjects import LabelMaps, ModelRef, Subjects, family_for


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
    example = """
    - {type: segment, model: deeplab-voc, classes: [person, car]}
    """
    device = "gpu"

    _instances: Detect | None = None
    _subjects: Subjects
    _maps: LabelMaps

    def models(self) -> tuple[str, ...]:
        """The model asked for."""
        return (self.options.model,)

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where the model is for another task."""
        options = self.options
        network = tools.network(options.model)
        tasks: tuple[Task, ...] = ("semantic-segmentation", "instance-segmentation")
        found = family_for(network, (MapFamily, ObjectFamily), tasks=tasks, stage=self.name)
        if isinstance(found, MapFamily):
            threshold, field = 0.5 if options.score is None else options.score, f"{self.name}.classes"
            self._maps = LabelMaps.of(
                found, network.card, options.classes, what="class", field=field, threshold=threshold
            )
            self._subjects = Subjects(network, tools.cv2, self.name)
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
        return [{"classes": rows} for rows in self._maps.read(outputs, crops)]
