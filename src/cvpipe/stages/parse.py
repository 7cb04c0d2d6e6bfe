"""`parse`: human parsing: which pixels are hair, coat, left arm, on the frame or on each person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from cvpipe.crops import Crop, label_rows
from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Frame, View
from cvpipe.inference.cards import nearest
from cvpipe.models import MapFamily, Outputs
from cvpipe.results import Found, Objects
from cvpipe.stages import FrameStage, StageOptions, Tools
from cvpipe.subjects import Grow, ModelRef, Of, Subjects, family_for

_BACKGROUND = "background"


class ParseOptions(StageOptions):
    """Options of `parse`."""

    type: Literal["parse"] = "parse"
    model: ModelRef
    of: Of = None
    grow: Grow = 1.1
    parts: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Parts to keep, in the card's words. Default: all but `background`.",
    )
    threshold: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="Where parts may overlap: pixels of which the network is surer than this have the part.",
    )


class Parse(FrameStage[ParseOptions]):
    """Tell the parts of people and clothes apart: a mask for each part, of the frame or of each person."""

    Options = ParseOptions
    device = "gpu"

    _subjects: Subjects
    _family: MapFamily
    _wanted: tuple[int, ...]

    @property
    def finds_objects(self) -> bool:
        """Values only."""
        return False

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are looked at."""
        return () if self.options.of is None else (self.options.of,)

    def models(self) -> tuple[str, ...]:
        """The model asked for."""
        return (self.options.model,)

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where the model is for another task."""
        options = self.options
        network = tools.network(options.model)
        self._family = family_for(network, MapFamily, tasks=("human-parsing",), stage=self.name)
        self._subjects = Subjects(network, tools.cv2, self.name, of=options.of, grow=options.grow)
        card = network.card
        for name in options.parts or ():
            if name not in card.labels:
                hint = nearest(name, card.labels)
                raise InvalidPipeline(f"model {card.ref} knows no part {name!r}{hint}", field=f"{self.name}.parts")
        names = options.parts or [label for label in card.labels if label != _BACKGROUND]
        self._wanted = tuple(i for i, label in enumerate(card.labels) if label in names)

    def view(self, upstream: View) -> View:
        """The network's canvas; with `of` the frame as it is."""
        return self._subjects.view(upstream)

    @property
    def batch(self) -> int:
        """As many frames as the network takes pictures in one call."""
        return self._subjects.batch

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The value `{"parts": [{"label", "area", "mask"}, ...]}` of each frame or object, the largest first."""
        return self._subjects.values(frames, found, self._read)

    def _read(self, outputs: Sequence[Outputs], crops: Sequence[Crop]) -> list[dict[str, Any]]:
        card = self._subjects.network.card
        grids = self._family.decode(outputs, (crops[0].width, crops[0].height), card)
        return [
            {"parts": label_rows(crop, grid, card.labels, self._wanted, threshold=self.options.threshold)}
            for crop, grid in zip(crops, grids, strict=True)
        ]
