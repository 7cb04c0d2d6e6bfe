"""`classify`: what a frame, or an object on it, shows as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cvpipe.crops import Crop
from cvpipe.frames import Frame
from cvpipe.models import Outputs, VectorFamily
from cvpipe.results import Found, Objects
from cvpipe.stages import NetworkStage, StageOptions, Tools
from cvpipe.subjects import Grow, ModelRef, Of, Subjects, family_for
from cvpipe.votes import Ballot, Verdict, vote_labels


class ClassifyOptions(StageOptions):
    """Options of `classify`."""

    type: Literal["classify"] = "classify"
    model: ModelRef
    of: Of = None
    grow: Grow = 1.0
    top: int = Field(default=5, ge=1, le=1000, description="At most this many labels, the likeliest.")
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Labels below this score are left out. Default: none where one label is right (`softmax`); the "
        "model card's `score_threshold` where several may be.",
    )


class Classify(NetworkStage[ClassifyOptions]):
    """Name the likeliest labels of each frame, or of each object of another stage."""

    Options = ClassifyOptions
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: classify, of: people, model: main-colour, top: 1}
    """

    _family: VectorFamily
    _threshold: float

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where the model is for another task."""
        options = self.options
        network = tools.network(options.model)
        self._family = family_for(network, VectorFamily, tasks=("classification",), stage=self.name)
        self._subjects = Subjects(network, tools.cv2, self.name, of=options.of, grow=options.grow)
        one_is_right = network.card.options.get("activation", "softmax") == "softmax"
        default = 0.0 if one_is_right else network.card.score_threshold
        self._threshold = default if options.threshold is None else options.threshold

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The value `{"top": [{"label", "score"}, ...]}` of each frame or object, the likeliest first."""
        return self._subjects.values(frames, found, self._read)

    def vote(self, ballots: Sequence[Ballot]) -> Verdict:
        """The label with most of the scores."""
        return vote_labels(ballots)

    def _read(self, outputs: Sequence[Outputs], crops: Sequence[Crop]) -> list[dict[str, Any]]:  # noqa: ARG002 - where it is plays no part
        card = self._subjects.network.card
        values = []
        for scores in self._family.decode(outputs, card):
            best = np.argsort(-scores, kind="stable")[: self.options.top]
            values.append(
                {
                    "top": [
                        {"label": card.labels[i] if card.labels else str(i), "score": round(float(scores[i]), 4)}
                        for i in best.tolist()
                        if scores[i] >= self._threshold
                    ]
                }
            )
        return values
