"""What the cards of PP-OCR's networks may say under `options`.

Defaults are those of the networks in the package `rapidocr` as `read_text` uses them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DetectionOptions(BaseModel):
    """How boxes are made from the map of a text detector (Differentiable Binarization)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(default=0.3, ge=0, le=1, description="Probability from which a pixel is text.")
    box_threshold: float = Field(default=0.5, ge=0, le=1, description="Mean probability from which a box is text.")
    unclip_ratio: float = Field(
        default=1.6, ge=0, le=10, description="How much boxes grow: the detector draws lines thinner than they are."
    )
    min_side: float = Field(default=3, ge=0, le=1000, description="Boxes thinner than this are dropped: map pixels.")
    max_lines: int = Field(default=200, ge=1, le=5000, description="At most so many lines on a picture.")


class AngleOptions(BaseModel):
    """When a line counts as upside down."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(default=0.9, ge=0, le=1, description="Probability from which a line is turned around.")


class RecognitionOptions(BaseModel):
    """A recogniser's options: none; its dictionary is a file, or in the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)
