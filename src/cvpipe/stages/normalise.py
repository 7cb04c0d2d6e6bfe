"""`normalise`: a copy of the video at a constant rate, in one format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cvpipe.stages import Footage, JobStage, StageOptions


class NormaliseOptions(StageOptions):
    """Options of `normalise`."""

    type: Literal["normalise"] = "normalise"
    fps: float = Field(gt=0, le=240, description="Frames per second of the copy; frames are repeated or left out.")
    max_side: int | None = Field(
        default=None, ge=16, le=8192, description="Longest side in pixels at most. Default: as large as the picture is."
    )


class Normalise(JobStage[NormaliseOptions]):
    """Make a copy of the video at a constant rate, in one format that plays everywhere (H.264, 4:2:0, MP4, no sound).

    The copy shows what the steps before make of the picture. Beside it lies which source frame each of its frames
    shows, one line of JSON each.
    """

    Options = NormaliseOptions
    example = """
    - {type: normalise, fps: 25, max_side: 1280}
    """

    def files(self) -> tuple[str, ...]:
        """The copy and the mapping; with the stage's name in theirs where it has one of its own."""
        return (self._video, self._video.replace(".mp4", ".map.ndjson"))

    def make(self, footage: Footage, folder: Path) -> None:
        """Write the copy and the mapping."""
        footage.write_normalised(folder / self._video, fps=self.options.fps, max_side=self.options.max_side)

    @property
    def _video(self) -> str:
        return "normalised.mp4" if self.name in ("", self.options.type) else f"normalised-{self.name}.mp4"
