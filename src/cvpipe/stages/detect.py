"""`detect`: find objects with a neural network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Frame, View
from cvpipe.models import Boxes, Limits, ObjectFamily, family, label_names
from cvpipe.models.patches import mask_on_source
from cvpipe.network import Network
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions, Tools
from cvpipe.subjects import places_of, worth_together

_MOST_BYTES = 2 * 2**20
"""Of a network's answer for one frame, where several frames are looked at together."""


class DetectOptions(StageOptions):
    """Options of `detect`."""

    type: Literal["detect"] = "detect"
    model: str = Field(
        min_length=1,
        max_length=100,
        description="Model card: `name` (its newest version) or `name@version`.",
    )
    score: float | None = Field(
        default=None, ge=0, le=1, description="Objects below this score are dropped. Default: the model card's."
    )
    iou: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of two boxes of one class that overlap by more than this (intersection over union), only the "
        "better one stays. Default: the model card's.",
    )
    classes: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Labels to keep, in the card's words. Default: all.",
    )
    max_objects: int = Field(default=300, ge=1, le=5000, description="At most this many on a frame, the best ones.")
    masks: bool = Field(default=True, description="Report the masks of objects, where the network gives them.")


class Detect(FrameStage[DetectOptions]):
    """Find objects of known classes: a box, a label and a score for each; keypoints and a mask where known."""

    Options = DetectOptions
    example = """
    - {type: detect, name: cars, model: yolox-nano, classes: [car, truck, bus]}
    """
    device = "gpu"

    _network: Network
    _family: ObjectFamily
    _labels: tuple[str, ...]
    _classes: frozenset[int] | None
    _wanted: npt.NDArray[np.bool_]

    def models(self) -> tuple[str, ...]:
        """The model asked for."""
        return (self.options.model,)

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where a class is not among its labels."""
        network = tools.network(self.options.model)
        card = network.card
        found = family(card)
        if not isinstance(found, ObjectFamily):
            raise InvalidPipeline(
                f"model {card.ref} is for {card.task}: it finds no objects", field=f"{self.name}.model"
            )
        self._family = found
        self._family.check(network.output_shapes, card)
        self._labels = label_names(card)
        wanted, field = self.options.classes, f"{self.name}.classes"
        self._classes = frozenset(places_of(card, self._labels, wanted, what="class", field=field)) if wanted else None
        self._wanted = np.full(len(self._labels), self._classes is None)
        self._wanted[list(self._classes or ())] = True
        self._network = network

    def view(self, upstream: View) -> View:
        """The canvas that the network takes."""
        return self._network.input_view(upstream)

    @property
    def batch(self) -> int:
        """As many frames as the network takes in one call."""
        return self._network.batch

    @property
    def together(self) -> int:
        """Several frames, where what the network says of them is small."""
        return worth_together(self._network, most_bytes=_MOST_BYTES)

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:  # noqa: ARG002 - pixels only
        """The objects of each frame, best score first."""
        if not frames:
            return []
        options, card = self.options, self._network.card
        limits = Limits(
            score=card.score_threshold if options.score is None else options.score,
            iou=card.iou_threshold if options.iou is None else options.iou,
            objects=options.max_objects,
            classes=self._classes,
            masks=options.masks,
        )
        views = [frame.view for frame in frames]
        outputs = self._network.run([frame.image for frame in frames])
        # A network may well answer with numbers out of bounds; families drop what is no box.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            boxes = self._family.decode(outputs, views, card, limits)
        return [Found(added=self._objects(some, view)) for some, view in zip(boxes, views, strict=True)]

    def _objects(self, boxes: Boxes, view: View) -> Objects:
        if not len(boxes):
            return Objects.none()
        box = view.to_source(boxes.box)
        # What lies in the padding has no area on the frame.
        seen = (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
        known = (boxes.class_id >= 0) & (boxes.class_id < len(self._wanted))
        seen &= known & self._wanted[np.where(known, boxes.class_id, 0)]
        keep = np.flatnonzero(seen)[: self.options.max_objects]
        boxes, box = boxes.take(keep), box[keep]
        masks = boxes.mask if self.options.masks else None
        return Objects.make(
            stage=self.name,
            box=box,
            score=np.clip(boxes.score, 0, 1),
            label=[self._labels[i] for i in boxes.class_id],
            class_id=boxes.class_id,
            keypoints=() if boxes.keypoints is None else [_on_source(points, view) for points in boxes.keypoints],
            mask=[mask_on_source(patch, view, box[i]) for i, patch in enumerate(masks or ())],
        )


def _on_source(points: npt.NDArray[np.float32], view: View) -> npt.NDArray[np.float32] | None:
    """Keypoints (k, 3) of the canvas on the displayed source frame, with 0 for what is no number.

    None where all are none: an object of a class without keypoints.
    """
    if np.isnan(points).all():
        return None
    points = np.nan_to_num(points)
    return np.concatenate((view.to_source(points[:, :2]), np.clip(points[:, 2:], 0, 1)), axis=1)
