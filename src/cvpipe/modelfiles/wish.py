"""What somebody who adds a model says of it. All of it may be left out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cvpipe.errors import InvalidRequest, explain
from cvpipe.inference.cards import Extra, Positive, Task, Triple
from cvpipe.inference.labels import KEYPOINT_SHORTHANDS, SHORTHANDS

Word = Annotated[str, Field(min_length=1, max_length=100)]


class Wish(BaseModel):
    """Options of `cvpipe models add`, and the query of `POST /v1/models`; None: as the network or its family has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(
        default=None,
        max_length=64,
        pattern=r"^[a-z0-9][a-z0-9._-]*$",
        description="What stages call it. Default: after the file's name.",
    )
    family: str | None = Field(default=None, max_length=64, description="How its outputs are read. Default: proposed.")
    task: Task | None = Field(default=None, description="What it is for, where its family has several.")
    labels: tuple[Word, ...] | None = Field(
        default=None, max_length=100_000, description="Names of the classes in order; or `coco`, or `voc`."
    )
    keypoints: tuple[Word, ...] | None = Field(
        default=None, max_length=1000, description="Names of the keypoints in order; or `coco`, or `faces`."
    )
    width: int | None = Field(default=None, ge=8, le=8192, description="Pixels, where the file leaves it open.")
    height: int | None = Field(default=None, ge=8, le=8192, description="Pixels, where the file leaves it open.")
    color: Literal["bgr", "rgb"] | None = Field(default=None, description="Order of the three channels.")
    mean: Triple | None = Field(default=None, description="Taken from 0..255 pixels, by channel, before `scale`.")
    scale: tuple[Positive, Positive, Positive] | None = Field(default=None, description="Divisor, by channel.")
    resize: Literal["letterbox", "stretch"] | None = Field(default=None, description="How a frame is made to fit.")
    anchor: Literal["top-left", "centre"] | None = Field(default=None, description="Where a letterbox puts the frame.")
    pad: int | None = Field(default=None, ge=0, le=255, description="Grey level of a letterbox.")
    options: dict[str, Any] = Field(default_factory=dict, description="Of the family.")
    extra: dict[str, Extra] = Field(default_factory=dict, description="What further inputs are fed.")
    score_threshold: float | None = Field(default=None, ge=0, le=1, description="Objects below it are dropped.")
    iou_threshold: float | None = Field(
        default=None, ge=0, le=1, description="Of two boxes that overlap more, one goes."
    )
    fuse: bool = Field(default=False, description="Move normalisation and layout into the graph.")
    fix_size: bool = Field(
        default=False, description="Write the size into the graph, where the file leaves it open: no other is run then."
    )
    free_batch: bool = Field(default=True, description="Make the batch dimension free where it is not.")
    licence: str = Field(default="", max_length=200, description="Of the trained weights.")
    source: str = Field(default="", max_length=1000, description="Where the weights came from.")

    @field_validator("labels", "keypoints", mode="before")
    @classmethod
    def _by_name(cls, value: Any, info: Any) -> Any:
        """One of the known lists, or names with commas between."""
        if not isinstance(value, str):
            return value
        known = SHORTHANDS if info.field_name == "labels" else KEYPOINT_SHORTHANDS
        if value in known:
            return known[value]
        return tuple(name.strip() for name in value.split(",")) if value.strip() else None

    @field_validator("mean", "scale", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        """One number stands for three equal ones."""
        return (value,) * 3 if isinstance(value, int | float) else value


def read_wish(given: Mapping[str, Any]) -> Wish:
    """A wish from words, as they come on a command line or in a query.

    input_size: WxH. mean, scale: one number, or three with commas between.
    What is None was not said. Raises: InvalidRequest, its field the word that is wrong.
    """
    content = {key: value for key, value in given.items() if value is not None}
    if "input_size" in content:
        content |= _size(str(content.pop("input_size")))
    for key in ("mean", "scale"):
        if isinstance(content.get(key), str):
            content[key] = _numbers(content[key], key)
    try:
        return Wish.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        is_size = "input_size" in given and field in ("width", "height")
        raise InvalidRequest(explain(first), field="input_size" if is_size else field) from None


def _size(text: str) -> dict[str, int]:
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text.strip())
    if found is None:
        raise InvalidRequest(f"wanted WIDTHxHEIGHT in pixels, like 640x384, not {text!r}", field="input_size")
    return {"width": int(found[1]), "height": int(found[2])}


def _numbers(text: str, field: str) -> float | tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise InvalidRequest(f"wanted one number, or three with commas between, not {text!r}", field=field)
    return values[0] if len(values) == 1 else values
