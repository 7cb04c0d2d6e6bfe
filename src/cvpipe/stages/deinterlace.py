"""`deinterlace`: later stages see whole pictures instead of combed ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from cvpipe.frames import View
from cvpipe.stages import Reshaper, StageOptions


class DeinterlaceOptions(StageOptions):
    """Options of `deinterlace`."""

    type: Literal["deinterlace"] = "deinterlace"


class Deinterlace(Reshaper[DeinterlaceOptions]):
    """Make one whole picture of each interlaced frame, from it and its two neighbours (bwdif); others stay."""

    Options = DeinterlaceOptions
    example = """
    - {type: deinterlace}
    - {type: read_text}
    """

    def reshape(self, view: View) -> View:
        """The view, deinterlaced."""
        return replace(view, deinterlace=True)
