"""What a stage shows its network: frames as a whole, or the objects that an earlier stage found on them.

The crops of all frames of a call go to the network together, so that its batches are filled across frames; what is said
of a crop does not depend on the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.crops import Crop, Fit, label_rows
from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Frame, View
from cvpipe.inference.cards import ModelCard, Task, nearest
from cvpipe.models import Family, MapFamily, Outputs, family
from cvpipe.network import Network
from cvpipe.results import Found, Objects

STAGE_OF_TASK: dict[Task, str] = {
    "detection": "detect",
    "faces": "detect",
    "pose": "pose",
    "instance-segmentation": "segment",
    "semantic-segmentation": "segment",
    "human-parsing": "parse",
    "classification": "classify",
    "embedding": "embed",
    "text": "read_text",
    "captioning": "caption",
    "depth": "depth",
}
"""Which stage runs the models for each task."""

ModelRef = Annotated[
    str,
    Field(min_length=1, max_length=100, description="Model card: `name` (its newest version) or `name@version`."),
]
Of = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description="Name of an earlier stage: look at each of its objects by itself, and add what is found out to the "
        "object. Default: the whole frame.",
    ),
]
Grow = Annotated[
    float,
    Field(ge=0.5, le=4, description="With `of`: how much larger than an object's box the crop is, about its middle."),
]

_GROUP = 64
"""Crops in memory at once, at least; always whole batches of the network."""

_GROUP_BYTES = 8 * 2**20
_TOGETHER = 8
"""Frames that are looked at together, at most, where what the network says of each is small."""

_BACKGROUND = "background"

T = TypeVar("T")
FamilyT = TypeVar("FamilyT", bound=Family)
Read = Callable[[Sequence[Outputs], Sequence[Crop]], Sequence[T]]


def family_for(
    network: Network, kind: type[FamilyT] | tuple[type[FamilyT], ...], *, tasks: Sequence[Task], stage: str
) -> FamilyT:
    """The family that reads the network's outputs, checked against them.

    kind: of family that the stage can use. tasks: that it is for. stage: its name, for messages.
    Raises: InvalidModel; InvalidPipeline where the model is for another task, with the stage that runs it.
    """
    card: ModelCard = network.card
    found = family(card)
    if card.task not in tasks or not isinstance(found, kind):
        right = STAGE_OF_TASK[card.task]
        hint = f"a stage of the type {right!r} runs it" if card.task not in tasks else "this stage can't use it"
        raise InvalidPipeline(f"model {card.ref} is for {card.task} ({card.family}): {hint}", field=f"{stage}.model")
    found.check(network.output_shapes, card)
    return found


def places_of(
    card: ModelCard, labels: Sequence[str], names: Sequence[str], *, what: str, field: str
) -> tuple[int, ...]:
    """Where names are among the labels that a card's network tells, ascending.

    what: names are of (class, part), for messages. Raises: InvalidPipeline with the nearest where one is not there.
    """
    for name in names:
        if name not in labels:
            raise InvalidPipeline(f"model {card.ref} knows no {what} {name!r}{nearest(name, labels)}", field=field)
    return tuple(i for i, label in enumerate(labels) if label in names)


def worth_together(network: Network, *, most_bytes: int = _GROUP_BYTES // _TOGETHER) -> int:
    """How many pictures to show to a network in one call: the device's batch, or up to 8 to read its answers at once.

    most_bytes: of an answer that is small enough to be kept until others are there.
    """
    sizes = [4 * math.prod(shape) for shape in network.output_shapes]
    is_small = min(sizes, default=0) >= 0 and sum(sizes) <= most_bytes
    return max(network.batch, _TOGETHER if is_small else 1)


@dataclass(frozen=True, slots=True)
class LabelMaps:
    """Reads maps of a card's labels: masks of those wanted, all but the background where none are named."""

    family: MapFamily
    card: ModelCard
    wanted: tuple[int, ...]
    threshold: float

    @classmethod
    def of(
        cls,
        family: MapFamily,
        card: ModelCard,
        names: Sequence[str] | None,
        *,
        what: str,
        field: str,
        threshold: float,
    ) -> Self:
        """names, what, field: see `places_of`. threshold: see `label_rows`. Raises: InvalidPipeline."""
        names = names or [label for label in card.labels if label != _BACKGROUND]
        return cls(family, card, places_of(card, card.labels, names, what=what, field=field), threshold)

    def read(self, outputs: Sequence[Outputs], crops: Sequence[Crop]) -> list[list[dict[str, Any]]]:
        """For each crop `[{"label", "area", "mask"}, ...]`, the largest first."""
        grids = self.family.decode(outputs, (crops[0].width, crops[0].height), self.card)
        return [
            label_rows(crop, grid, self.card.labels, self.wanted, threshold=self.threshold)
            for crop, grid in zip(crops, grids, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Subjects:
    """Frames or objects, shown to a network.

    stage: name that results go under. of: name of the stage whose objects are looked at; None: whole frames.
    fit, grow: see `Crop.of`; fit None: as the card's `resize` says.
    """

    network: Network
    cv2: Any
    stage: str
    of: str | None = None
    fit: Fit | None = None
    grow: float = 1.0

    @property
    def batch(self) -> int:
        """How many frames the network takes in one call."""
        return self.network.batch

    @property
    def together(self) -> int:
        """How many frames to hand over in one call, at most."""
        return worth_together(self.network, most_bytes=_GROUP_BYTES // _GROUP)

    def view(self, upstream: View) -> View:
        """The frame on the network's canvas; with `of` the frame as it is, which all such stages share."""
        return self.network.input_view(upstream) if self.of is None else upstream.with_format("bgr24")

    def values(self, frames: Sequence[Frame], found: Sequence[Objects], read: Read[Any]) -> list[Found]:
        """What the network says, as values: of the frames, or, with `of`, of the objects.

        read: says something of each of some crops, from the network's outputs for them.
        """
        if self.of is None:
            return [Found(values={self.stage: value}) for value in self.frames(frames, read)]
        by_frame: list[dict[int, Any]] = [{} for _ in frames]
        for number, place, value in self.objects(frames, found, read):
            by_frame[number][place] = value
        return [
            Found(objects=objects.with_values(self.stage, values))
            for objects, values in zip(found, by_frame, strict=True)
        ]

    def frames(self, frames: Sequence[Frame], read: Read[T]) -> list[T]:
        """What is said of each frame as a whole."""
        if not frames:
            return []
        outputs = self.network.run([frame.image for frame in frames])
        return list(read(outputs, [Crop.whole(frame.view) for frame in frames]))

    def objects(self, frames: Sequence[Frame], found: Sequence[Objects], read: Read[T]) -> Iterator[tuple[int, int, T]]:
        """What is said of each object of the stage `of`: the frame's place, the object's place on it, and that.

        Objects of which nothing is on the picture are left out. Memory: 64 crops, or a batch, and a frame's.
        """
        card: ModelCard = self.network.card
        group: list[tuple[int, int, Crop]] = []
        images: list[npt.NDArray[np.uint8]] = []
        size = -(-_GROUP // self.network.batch) * self.network.batch
        for number, place, crop in self._crops(frames, found):
            group.append((number, place, crop))
            pixels = crop.pixels(frames[number].image, self.cv2, pad=card.input.pad)
            # Channels are turned round on the crop, so that one picture of the frame serves networks of either order.
            turned = crop.view.format == "bgr24" and card.input.color == "rgb"
            images.append(np.ascontiguousarray(pixels[..., ::-1]) if turned else pixels)
            if len(group) == size:
                yield from self._said(group, images, read)
                group, images = [], []
        if group:
            yield from self._said(group, images, read)

    def _said(
        self, group: Sequence[tuple[int, int, Crop]], images: Sequence[npt.NDArray[np.uint8]], read: Read[T]
    ) -> Iterator[tuple[int, int, T]]:
        said = read(self.network.run(images), [crop for _, _, crop in group])
        for (number, place, _), value in zip(group, said, strict=True):
            yield number, place, value

    def _crops(self, frames: Sequence[Frame], found: Sequence[Objects]) -> Iterator[tuple[int, int, Crop]]:
        spec = self.network.card.input
        fit: Fit = self.fit or spec.resize
        for number, (frame, objects) in enumerate(zip(frames, found, strict=True)):
            for place in np.flatnonzero(objects.of_stage(self.of or "")).tolist():
                size = (spec.width, spec.height)
                crop = Crop.of(frame.view, objects.box[place], size, fit=fit, grow=self.grow, anchor=spec.anchor)
                if crop is not None:
                    yield number, place, crop
