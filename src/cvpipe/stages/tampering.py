"""`tampering`: somebody has turned, covered or blurred the camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Frame, View
from cvpipe.results import Found
from cvpipe.stages import PictureStage, StageOptions

_SIDE = 256
_BLUR = 2.0


class TamperingOptions(StageOptions):
    """Options of `tampering`."""

    type: Literal["tampering"] = "tampering"
    history: int = Field(
        default=250,
        ge=5,
        le=100_000,
        description="Frames looked at in which what the camera should see is learned anew.",
    )
    learn: int = Field(default=10, ge=1, le=10_000, description="Frames at the beginning that are taken as they are.")
    shift: float = Field(
        default=0.02,
        gt=0,
        le=1,
        description="Share of the picture's diagonal by which a camera that was moved has shifted.",
    )
    detail: float = Field(
        default=0.4, gt=0, lt=1, description="Share of the usual detail below which the camera is covered or blurred."
    )


class Tampering(PictureStage[TamperingOptions]):
    """Tell when a camera that should stand still was turned or bumped, covered, sprayed or put out of focus.

    Compares with what the camera has shown so far, which is learned slowly. Values, under the stage's name: `shift`,
    [x, y], how far the scene has moved from its place, in pixels of the displayed source frame, and `match`, how
    surely, 0 to 1 (phase correlation); `detail`, as a share of the usual: it falls where the view is covered or
    blurred; `moved`, `covered`, and `tampered`, one of both. Null while it learns. The finished job reports on how many
    frames. Remembers all frames: chunks of this stage run one after another.
    """

    Options = TamperingOptions
    example = """
    - {type: decimate, fps: 2}
    - {type: tampering, shift: 0.03}
    """
    tallies = ("tampered",)
    remembers_all = True

    _mean: npt.NDArray[np.float32] | None = None
    _detail: float = 0.0
    _seen: int = 0

    def view(self, upstream: View) -> View:
        """A small grey picture of what the steps before made, without padding."""
        view = upstream.cropped(*upstream.region).with_format("gray")
        return view if max(view.width, view.height) <= _SIDE else view.resized(_SIDE, _SIDE)

    def begin(self) -> None:
        """Forget what the camera should see."""
        self._mean, self._detail, self._seen = None, 0.0, 0

    def state(self) -> Mapping[str, npt.NDArray[Any]]:
        """The mean picture and its detail."""
        mean = np.zeros((0, 0), np.float32) if self._mean is None else self._mean
        return {"mean": mean, "detail": np.array(self._detail), "seen": np.array(self._seen)}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on with what the camera should see."""
        self._mean = state["mean"].copy() if state["mean"].size else None
        self._detail, self._seen = float(state["detail"]), int(state["seen"])

    def look(self, frame: Frame) -> Found:
        """How the picture differs from what the camera should see."""
        cv2, options = self._cv2, self.options
        picture = cv2.GaussianBlur(frame.shown, (0, 0), _BLUR).astype(np.float32)
        detail = float(cv2.Laplacian(frame.shown, cv2.CV_32F, ksize=1).std(dtype=np.float64))
        self._seen += 1
        if self._mean is None or self._seen <= options.learn:
            self._learn(picture, detail, 1 / self._seen)
            unknown = {"shift": None, "match": None, "detail": None}
            known = {"moved": False, "covered": False, "tampered": False, "learning": True}
            return Found(values={self.name: {**unknown, **known}})
        height, width = picture.shape
        window = cv2.createHanningWindow((width, height), cv2.CV_32F)
        (x, y), match = cv2.phaseCorrelate(self._mean, picture, window)
        share = detail / self._detail if self._detail > 0 else 1.0
        covered = share < options.detail
        moved = not covered and match > 0.1 and float(np.hypot(x, y)) > options.shift * float(np.hypot(width, height))
        if not covered and not moved:  # what is wrong is not learned
            self._learn(picture, detail, 1 / options.history)
        _, _, source_width, source_height = frame.view.region
        value: dict[str, Any] = {
            "shift": [round(x * source_width / width, 1), round(y * source_height / height, 1)],
            "match": round(min(1.0, max(0.0, float(match))), 4),
            "detail": round(share, 4),
            "moved": moved,
            "covered": covered,
            "tampered": moved or covered,
            "learning": False,
        }
        return Found(values={self.name: value})

    def _learn(self, picture: npt.NDArray[np.float32], detail: float, share: float) -> None:
        if self._mean is None:
            self._mean, self._detail = picture, detail
            return
        self._mean = self._mean + np.float32(share) * (picture - self._mean)
        self._detail += share * (detail - self._detail)
