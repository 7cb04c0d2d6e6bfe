"""`contrast`: later stages see a picture with more contrast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cvpipe.frames import Filter, View
from cvpipe.stages import Reshaper, StageOptions, refuse_idle

_OPTIONS_OF = {"clahe": ("clip_limit", "tiles"), "equalise": (), "gamma": ("gamma",)}


class ContrastOptions(StageOptions):
    """Options of `contrast`."""

    type: Literal["contrast"] = "contrast"
    method: Literal["clahe", "equalise", "gamma"] = Field(
        default="clahe",
        description="clahe: equalise the histogram of each part of the picture, within a limit (Zuiderveld 1994); "
        "equalise: that of the whole picture; both change the luma of colour pictures and leave the hues. gamma: raise "
        "all channels to a power.",
    )
    clip_limit: float = Field(
        default=2, gt=0, le=100, description="clahe: how much contrast may grow; 1 is none, 2 to 4 is usual."
    )
    tiles: int = Field(default=8, ge=1, le=64, description="clahe: parts on each side of the picture.")
    gamma: float = Field(
        default=0.5, ge=0.05, le=20, description="gamma: the exponent; below 1 makes shadows brighter, above 1 darker."
    )

    @model_validator(mode="after")
    def _belong(self) -> ContrastOptions:
        refuse_idle(self, "method", _OPTIONS_OF)
        return self


class Contrast(Reshaper[ContrastOptions]):
    """Raise the contrast of the picture that later stages see, at the size that they see."""

    Options = ContrastOptions
    example = """
    - {type: contrast, method: clahe}
    - {type: read_text}
    """

    def reshape(self, view: View) -> View:
        """The view with the filter."""
        o = self.options
        values = tuple(float(getattr(o, name)) for name in _OPTIONS_OF[o.method])
        return view.filtered(Filter(o.method, values))
