"""`pose`: keypoints of people or things, on crops of what another stage found or on the whole frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from cvpipe.crops import Crop, Fit
from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Frame, View
from cvpipe.models import Floats, ObjectFamily, Outputs, PoseFamily
from cvpipe.results import Found, Objects, rounded_points
from cvpipe.stages import NetworkStage, StageOptions, Tools
from cvpipe.stages.detect import Detect, DetectOptions
from cvpipe.subjects import Grow, ModelRef, Of, Subjects, family_for
from cvpipe.votes import Ballot, Verdict


class PoseOptions(StageOptions):
    """Options of `pose`."""

    type: Literal["pose"] = "pose"
    model: ModelRef
    of: Of = None
    grow: Grow = 1.25
    score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Without `of`: objects below this score are dropped; a whole frame's is the mean "
        "of its keypoints'. Default: the model card's.",
    )
    max_objects: int = Field(
        default=300, ge=1, le=5000, description="At most this many on a frame, where the network finds them itself."
    )


class Pose(NetworkStage[PoseOptions]):
    """Find keypoints: of each object of another stage, or of what is on the frame."""

    Options = PoseOptions
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: pose, of: people, model: colour-points}
    """

    _finder: Detect | None = None
    _family: PoseFamily

    @property
    def finds_objects(self) -> bool:
        """New ones only without `of`."""
        return self.options.of is None

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where the model does not fit."""
        options = self.options
        network = tools.network(options.model)
        found = family_for(network, (PoseFamily, ObjectFamily), tasks=("pose",), stage=self.name)
        if isinstance(found, PoseFamily):
            self._family = found
            fit: Fit | None = None if options.of is None else "top-down"
            self._subjects = Subjects(network, tools.cv2, self.name, of=options.of, fit=fit, grow=options.grow)
            return
        if options.of is not None:
            raise InvalidPipeline(
                f"model {network.card.ref} finds what it tells the keypoints of by itself: leave `of` out",
                field=f"{self.name}.of",
            )
        self._finder = Detect(
            DetectOptions(name=self.name, model=options.model, score=options.score, max_objects=options.max_objects)
        )
        self._finder.open(tools)

    def view(self, upstream: View) -> View:
        """The network's canvas; with `of` the frame as it is."""
        return (self._finder or self._subjects).view(upstream)

    @property
    def batch(self) -> int:
        """As many frames as the network takes pictures in one call."""
        return (self._finder or self._subjects).batch

    @property
    def together(self) -> int:
        """Several frames, where what the network says of them is small."""
        return (self._finder or self._subjects).together

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """New objects with keypoints; or, with `of`, the objects found before with theirs."""
        if self._finder is not None:
            return self._finder.process(frames, found)
        if self.options.of is None:
            return [Found(added=self._object(points)) for points in self._subjects.frames(frames, self._read)]
        keypoints = [list(objects.keypoints) for objects in found]
        for number, place, points in self._subjects.objects(frames, found, self._read):
            keypoints[number][place] = rounded_points(points)
        return [
            Found(objects=replace(objects, keypoints=tuple(points)))
            for objects, points in zip(found, keypoints, strict=True)
        ]

    def vote(self, ballots: Sequence[Ballot]) -> Verdict | None:  # noqa: ARG002 - a pose is of a moment
        """Nothing: keypoints are of their moment; each crop keeps its own."""
        return None

    def _read(self, outputs: Sequence[Outputs], crops: Sequence[Crop]) -> list[Floats]:
        """(k, 3) for each crop, in pixels of the displayed source frame."""
        size = (crops[0].width, crops[0].height)
        # A network whose numbers are none has found nothing.
        points = np.nan_to_num(self._family.decode(outputs, size, self._subjects.network.card))
        return [
            np.concatenate((crop.to_source(some[:, :2]), some[:, 2:].clip(0, 1)), axis=1)
            for crop, some in zip(crops, points, strict=True)
        ]

    def _object(self, points: Floats) -> Objects:
        """The one on the frame: its box is around the keypoints that are sure enough."""
        card = self._subjects.network.card
        least = card.score_threshold if self.options.score is None else self.options.score
        score = float(points[:, 2].mean())
        sure = points[points[:, 2] >= least]
        if score < least or not len(sure):
            return Objects.none()
        return Objects.make(
            stage=self.name,
            box=[[*sure[:, :2].min(axis=0), *sure[:, :2].max(axis=0)]],
            score=[score],
            label=[card.labels[0] if card.labels else "person"],
            class_id=[0 if card.labels else -1],
            keypoints=[points],
        )
