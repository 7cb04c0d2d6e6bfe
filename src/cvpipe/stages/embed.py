"""`embed`: a vector for each frame or object, alike for what looks alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from cvpipe.crops import Crop
from cvpipe.embeddings import to_value
from cvpipe.frames import Frame
from cvpipe.models import Outputs, VectorFamily
from cvpipe.results import Found, Objects
from cvpipe.stages import NetworkStage, StageOptions, Tools
from cvpipe.subjects import Grow, ModelRef, Of, Subjects, family_for
from cvpipe.votes import Ballot, Verdict, vote_vectors


class EmbedOptions(StageOptions):
    """Options of `embed`."""

    type: Literal["embed"] = "embed"
    model: ModelRef
    of: Of = None
    grow: Grow = 1.0


class Embed(NetworkStage[EmbedOptions]):
    """Turn each frame, or each object of another stage, into a vector: what looks alike points the same way."""

    Options = EmbedOptions
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: embed, of: people, model: person-reid}
    """

    _family: VectorFamily

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where the model is for another task."""
        options = self.options
        network = tools.network(options.model)
        self._family = family_for(network, VectorFamily, tasks=("embedding",), stage=self.name)
        self._subjects = Subjects(network, tools.cv2, self.name, of=options.of, grow=options.grow)

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The value `{"vector", "size"}` of each frame or object: base64 of little-endian float16, of length 1."""
        return self._subjects.values(frames, found, self._read)

    def vote(self, ballots: Sequence[Ballot]) -> Verdict:
        """The mean direction."""
        return vote_vectors(ballots)

    def _read(self, outputs: Sequence[Outputs], crops: Sequence[Crop]) -> list[dict[str, Any]]:  # noqa: ARG002 - where it is plays no part
        return [to_value(vector) for vector in self._family.decode(outputs, self._subjects.network.card)]
