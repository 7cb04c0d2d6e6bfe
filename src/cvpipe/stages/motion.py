"""`motion`: what moves before a background that is learned from all frames before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.backgrounds import FOREGROUND, SHADOW, BackgroundModel, Mixture, Neighbours
from cvpipe.frames import Frame, View
from cvpipe.results import Found
from cvpipe.stages import MapOptions, PictureStage
from cvpipe.stages.contours import region_objects, regions_of

_SIDE = 320


class MotionOptions(MapOptions):
    """Options of `motion`."""

    type: Literal["motion"] = "motion"
    method: Literal["mog2", "knn"] = Field(
        default="mog2",
        description="mog2: a mixture of Gaussians for each pixel. knn: values seen lately, for leaves and water.",
    )
    history: int = Field(
        default=500, ge=10, le=100_000, description="Frames looked at after which what was learned is mostly forgotten."
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="mog2: squared deviations (16); knn: squared distance of colours (400), from which a pixel is new.",
    )
    shadows: bool = Field(default=True, description="Tell shadows from what casts them, and leave them out.")
    learn: int = Field(
        default=25, ge=1, le=10_000, description="Frames at the beginning of which nothing is told but that it learns."
    )
    open: int = Field(default=3, ge=0, le=99, description="Take out what is thinner, in pixels of the picture seen.")
    close: int = Field(default=7, ge=0, le=99, description="Then fill gaps that are narrower, likewise.")
    min_area: float = Field(
        default=400, ge=0, description="Smallest moving region, in pixels of the displayed source frame."
    )
    label: str = Field(default="moving", min_length=1, max_length=64, description="What the regions are called.")
    max_objects: int = Field(default=50, ge=1, le=1000, description="At most so many, the largest first.")


class Motion(PictureStage[MotionOptions]):
    """Find what moves before a camera that stands still: regions that differ from the background, without shadows.

    Objects have the option's `label`, a mask, and the values of `contours`. Values of the frame, under the stage's
    name: `moving` and `shadow`, shares of all pixels, 0 to 1; `learning`, whether the background is still being
    learned. Looks at a picture of at most 320 pixels a side; what stands still becomes background. Remembers all
    frames: chunks of this stage run one after another. Maps: the background.
    """

    Options = MotionOptions
    example = """
    - {type: decimate, fps: 10}
    - {type: motion, min_area: 800}
    - {type: track, of: motion}
    """
    pixel_format = "bgr24"
    remembers_all = True

    _model: BackgroundModel
    _seen: int = 0

    @property
    def finds_objects(self) -> bool:
        """Moving regions."""
        return True

    def view(self, upstream: View) -> View:
        """A small picture of what the steps before made, in colour, without padding."""
        view = upstream.cropped(*upstream.region).in_colours("bgr24")
        return view if max(view.width, view.height) <= _SIDE else view.resized(_SIDE, _SIDE)

    def begin(self) -> None:
        """Forget the background."""
        options = self.options
        if options.method == "mog2":
            self._model = Mixture(history=options.history, threshold=options.threshold or 16)
        else:
            self._model = Neighbours(history=options.history, threshold=options.threshold or 400)
        self._seen = 0

    def state(self) -> Mapping[str, npt.NDArray[Any]]:
        """The background model."""
        return {"frames": np.array(self._seen), **self._model.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on with a background model."""
        self._model.restore(state)
        self._seen = int(state["frames"])

    def look(self, frame: Frame) -> Found:
        """Moving regions, and how much moves."""
        kinds = self._model.apply(frame.shown.reshape(-1, 3)).reshape(frame.shown.shape[:2])
        self._seen += 1
        learning = self._seen <= self.options.learn
        if not self.options.shadows:
            kinds[kinds == SHADOW] = FOREGROUND
        value = {
            "moving": None if learning else round(float((kinds == FOREGROUND).mean()), 6),
            "shadow": None if learning else round(float((kinds == SHADOW).mean()), 6),
            "learning": learning,
        }
        background = self._model.background().reshape(frame.shown.shape) if frame.wants_map else None
        if learning:
            return Found(values={self.name: value}, map=background)
        moving = self._cleaned(kinds == FOREGROUND)
        regions = list(regions_of(self._cv2, frame, moving, min_area=self.options.min_area))
        return Found(
            added=region_objects(self.name, self.options.label, regions[: self.options.max_objects]),
            values={self.name: value},
            map=background,
        )

    def _cleaned(self, moving: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        cv2, bits = self._cv2, moving.astype(np.uint8)
        for operation, size in ((cv2.MORPH_OPEN, self.options.open), (cv2.MORPH_CLOSE, self.options.close)):
            if size > 1:
                disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
                bits = cv2.morphologyEx(bits, operation, disc)
        cleaned: npt.NDArray[np.bool_] = bits > 0
        return cleaned
