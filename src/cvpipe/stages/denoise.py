"""`denoise`: later stages see a picture with less noise."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cvpipe.frames import Filter, View
from cvpipe.stages import Reshaper, StageOptions, refuse_idle

_OPTIONS_OF = {
    "median": ("size",),
    "gaussian": ("sigma",),
    "bilateral": ("diameter", "sigma_colour", "sigma_space"),
    "nlm": ("strength",),
}


class DenoiseOptions(StageOptions):
    """Options of `denoise`."""

    type: Literal["denoise"] = "denoise"
    method: Literal["median", "gaussian", "bilateral", "nlm"] = Field(
        default="median",
        description="median: takes out specks; gaussian: blurs; bilateral: blurs, but not across edges; nlm: averages "
        "what looks alike (Buades 2011), very slow. All work on all channels.",
    )
    size: int = Field(default=3, ge=3, le=31, description="median: side of the square looked at, in pixels; odd.")
    sigma: float = Field(default=1, gt=0, le=50, description="gaussian: in pixels.")
    diameter: int = Field(default=5, ge=1, le=15, description="bilateral: of what is looked at, in pixels.")
    sigma_colour: float = Field(
        default=25, gt=0, le=255, description="bilateral: grey levels by which pixels may differ to be averaged."
    )
    sigma_space: float = Field(default=2, gt=0, le=50, description="bilateral: in pixels.")
    strength: float = Field(default=3, gt=0, le=50, description="nlm: about the standard deviation of the noise.")

    @model_validator(mode="after")
    def _belong(self) -> DenoiseOptions:
        if self.size % 2 == 0:
            raise ValueError("`size` must be odd: 3, 5, 7, ...")
        refuse_idle(self, "method", _OPTIONS_OF)
        return self


class Denoise(Reshaper[DenoiseOptions]):
    """Take noise out of the picture that later stages see, at the size that they see."""

    Options = DenoiseOptions
    example = """
    - {type: denoise, method: gaussian, sigma: 1.5}
    - {type: edges}
    """

    def reshape(self, view: View) -> View:
        """The view with the filter."""
        o = self.options
        return view.filtered(Filter(o.method, tuple(float(getattr(o, name)) for name in _OPTIONS_OF[o.method])))
