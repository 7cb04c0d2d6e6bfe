"""`parse`: human parsing: which pixels are hair, coat, left arm, on the frame or on each person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from cvpipe.crops import Crop
from cvpipe.frames import Frame
from cvpipe.models import MapFamily, Outputs
from cvpipe.results import Found, Objects
from cvpipe.stages import NetworkStage, StageOptions, Tools
from cvpipe.subjects import Grow, LabelMaps, ModelRef, Of, Subjects, family_for
from cvpipe.votes import Ballot, Verdict, vote_parts


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


class Parse(NetworkStage[ParseOptions]):
    """Tell the parts of people and clothes apart: a mask for each part, of the frame or of each person."""

    Options = ParseOptions
    tells_masks = True
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: parse, of: people, model: skin-clothes-hair, parts: [hair, clothes]}
    """

    _maps: LabelMaps

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where the model is for another task."""
        options = self.options
        network = tools.network(options.model)
        found = family_for(network, MapFamily, tasks=("human-parsing",), stage=self.name)
        self._subjects = Subjects(network, tools.cv2, self.name, of=options.of, grow=options.grow)
        self._maps = LabelMaps.of(
            found, network.card, options.parts, what="part", field=f"{self.name}.parts", threshold=options.threshold
        )

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The value `{"parts": [{"label", "area", "mask"}, ...]}` of each frame or object, the largest first."""
        return self._subjects.values(frames, found, self._read)

    def vote(self, ballots: Sequence[Ballot]) -> Verdict:
        """The parts that most of the crops show."""
        return vote_parts(ballots)

    def _read(self, outputs: Sequence[Outputs], crops: Sequence[Crop]) -> list[dict[str, Any]]:
        return [{"parts": rows} for rows in self._maps.read(outputs, crops)]
