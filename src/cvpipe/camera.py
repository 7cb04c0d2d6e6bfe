"""A camera as it is written down, in YAML or JSON: its lens, and what is known of the ground in its picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from cvpipe.documents import mistake
from cvpipe.errors import InvalidRequest, explain
from cvpipe.geometry.pitches import Pitch, PitchKind, pitch
from cvpipe.geometry.pose import LENS_PARAMETERS

NAME: Final = r"^[a-z0-9][a-z0-9._-]*$"
MAX_MARKS: Final = 2000
MAX_VIEWS: Final = 100

Number = Annotated[float, Field(strict=True, ge=-1e7, le=1e7, allow_inf_nan=False)]
Pixel = tuple[Number, Number]
Latitude = Annotated[float, Field(strict=True, ge=-89, le=89, allow_inf_nan=False)]
Longitude = Annotated[float, Field(strict=True, ge=-180, le=180, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, ge=0.01, le=1e6, allow_inf_nan=False)]
Deviation = Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PitchSpec(_Part):
    """The pitch of a sport, with its centre at the origin and its length along x."""

    kind: PitchKind = Field(description="Which sport's; the measures are those of its rules.")
    length: Positive | None = Field(default=None, description="Metres, where the rules leave it open. Football: 105.")
    width: Positive | None = Field(default=None, description="Metres, where the rules leave it open. Football: 68.")

    def measured(self) -> Pitch:
        """The pitch with its lines, spots and arcs. Raises: ValueError where its rules allow no such measures."""
        return pitch(self.kind, self.length, self.width)


class LensSpec(_Part):
    """What a calibration says of a camera and its lens, as OpenCV's `calibrateCamera` does."""

    fx: Positive = Field(description="Focal length in pixels, across.")
    fy: Positive = Field(description="Focal length in pixels, down.")
    cx: Number = Field(description="Principal point in pixels, across.")
    cy: Number = Field(description="Principal point in pixels, down.")
    coefficients: list[Number] = Field(
        default_factory=list, max_length=5, description="k1, k2, p1, p2, k3; those left out are 0."
    )
    deviations: list[Deviation] = Field(
        default_factory=list,
        max_length=LENS_PARAMETERS,
        description="Standard deviations of fx, fy, cx, cy, k1, k2, p1, p2, k3; those left out are 0: exact.",
    )


class PointSpec(_Part):
    """A pixel, and where in the world it is, said in one of four ways."""

    pixel: Pixel = Field(description="x and y in pixels of the picture, from its upper left corner.")
    world: tuple[Number, Number] | tuple[Number, Number, Number] | None = Field(
        default=None, description="x and y on the ground in metres; and z above it, which needs a `lens`."
    )
    spot: str | None = Field(default=None, max_length=64, description="Name of a spot of the `pitch`.")
    crossing: tuple[str, str] | None = Field(
        default=None, description="Names of two lines of the `pitch` that meet there, were they drawn on."
    )
    geo: tuple[Latitude, Longitude] | None = Field(default=None, description="Latitude and longitude in degrees.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in ("world", "spot", "crossing", "geo") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a point needs one of `world`, `spot`, `crossing` and `geo`; got {' and '.join(given) or 'none'}"
            )
        return self


class LineSpec(_Part):
    """Pixels that lie on a line of the ground, anywhere on it."""

    line: str | tuple[tuple[Number, Number], tuple[Number, Number]] = Field(
        description="Name of a straight line of the `pitch`, or two points of the ground on it, in metres."
    )
    pixels: list[Pixel] = Field(min_length=1, description="Two or more say where it is.")


class PoseSpec(_Part):
    """Where a camera stands and looks; needs a `lens`."""

    position: tuple[Number, Number, Number] = Field(description="x, y and height above the ground, in metres.")
    looks_at: tuple[Number, Number, Number] | None = Field(
        default=None, description="A point in metres that is seen in the middle of the picture."
    )
    roll_degrees: Number = Field(default=0.0, description="With `looks_at`: tilted clockwise.")
    rotation: tuple[Number, Number, Number] | None = Field(
        default=None, description="Instead of `looks_at`: OpenCV's `rvec`, from world to camera."
    )
    position_deviation: float = Field(default=0.0, strict=True, ge=0, le=1e3, description="Standard deviation, metres.")
    angle_deviation: float = Field(
        default=0.0, strict=True, ge=0, le=45, description="Standard deviation about each axis, degrees."
    )

    @model_validator(mode="after")
    def _one_direction(self) -> Self:
        if (self.looks_at is None) == (self.rotation is None):
            raise ValueError("give one of `looks_at` and `rotation`")
        if self.position[2] <= 0:
            raise ValueError("the camera must be above the ground: its third coordinate is its height")
        return self


class ViewSpec(_Part):
    """What is known of the picture of a panning camera at one time."""

    at: float = Field(strict=True, ge=0, le=1e7, description="Seconds since the first frame.")
    points: list[PointSpec] = Field(default_factory=list)
    lines: list[LineSpec] = Field(default_factory=list)


class ChessboardSpec(_Part):
    """A video of a chessboard, from which the lens is calibrated."""

    video: str = Field(pattern=r"^[0-9a-f]{64}$", description="Its id, as `PUT /v1/videos` gave it.")
    columns: int = Field(strict=True, ge=3, le=50, description="Inner corners in a row: one less than squares.")
    rows: int = Field(strict=True, ge=3, le=50, description="Inner corners in a column.")


class CameraSpec(_Part):
    """A camera: how to come from its pixels to places on the ground."""

    name: str = Field(default="camera", max_length=64, pattern=NAME)
    version: int | None = Field(default=None, strict=True, ge=1, description="Set by the service.")
    description: str = Field(default="", max_length=2000)
    width: int | None = Field(
        default=None, strict=True, ge=16, le=65536, description="Of the pictures that pixels were counted in."
    )
    height: int | None = Field(
        default=None,
        strict=True,
        ge=16,
        le=65536,
        description="With both, a video of another size is fine; without, it is taken to be of the same size.",
    )
    pitch: PitchSpec | None = Field(default=None, description="A name such as `football` will do.")
    lens: LensSpec | None = None
    chessboard: ChessboardSpec | None = Field(
        default=None, description="A worker finds the `lens` in it; a service only. Gone once that is done."
    )
    points: list[PointSpec] = Field(default_factory=list)
    lines: list[LineSpec] = Field(default_factory=list)
    pose: PoseSpec | None = Field(default=None, description="Instead of points and lines.")
    views: list[ViewSpec] = Field(default_factory=list, description="Instead of points and lines, for one that pans.")
    pixel_deviation: float = Field(
        default=1.0,
        strict=True,
        ge=0.001,
        le=100,
        description="How exactly points and lines were clicked: standard deviation, pixels.",
    )

    @field_validator("pitch", mode="before")
    @classmethod
    def _name_of_a_pitch(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.width is None) != (self.height is None):
            raise ValueError("give both `width` and `height`, or none of them")
        ways = {"pose": self.pose, "points": self.points or self.lines, "views": self.views}
        given = [name for name, value in ways.items() if value]
        if len(given) > 1:
            raise ValueError(f"give {' or '.join(f'`{name}`' for name in given)}, not both")
        if self.lens is not None and self.chessboard is not None:
            raise ValueError("give a `lens`, or a `chessboard` to find it in, not both")
        if self.pose is not None and self.lens is None and self.chessboard is None:
            raise ValueError("a `pose` needs a `lens`")
        if not given and self.lens is None and self.chessboard is None:
            raise ValueError("give `points`, `lines`, `views`, or a `lens` and a `pose`")
        known = [(self.points, self.lines), *((view.points, view.lines) for view in self.views)]
        marks = sum(len(points) + sum(len(line.pixels) for line in lines) for points, lines in known)
        if marks > MAX_MARKS or len(self.views) > MAX_VIEWS:
            raise ValueError(
                f"a camera has at most {MAX_MARKS} points and pixels on lines and {MAX_VIEWS} views; got {marks} and "
                f"{len(self.views)}"
            )
        times = [view.at for view in self.views]
        if sorted(set(times)) != times:
            raise ValueError("`views` must be in order of their times")
        return self

    @property
    def sees_ground(self) -> bool:
        """Whether it knows more than its lens."""
        return bool(self.points or self.lines or self.views or self.pose)

    def scaled(self, width: int, height: int) -> CameraSpec:
        """The same camera for pictures of another size; as it is where its own size is not known."""
        if self.width is None or self.height is None or (self.width, self.height) == (width, height):
            return self
        across, down = width / self.width, height / self.height

        def moved(data: Any) -> Any:
            """Everything that counts pixels, at any depth."""
            if isinstance(data, list):
                return [moved(item) for item in data]
            if not isinstance(data, dict):
                return data
            found = {key: moved(value) for key, value in data.items()}
            if "pixel" in data:
                found["pixel"] = [data["pixel"][0] * across, data["pixel"][1] * down]
            if "pixels" in data:
                found["pixels"] = [[x * across, y * down] for x, y in data["pixels"]]
            return found

        document = moved(self.model_dump(mode="json"))
        if document["lens"] is not None:
            lens, scales = document["lens"], (across, down, across, down)
            lens |= {"fx": lens["fx"] * across, "fy": lens["fy"] * down}
            lens |= {"cx": (lens["cx"] + 0.5) * across - 0.5, "cy": (lens["cy"] + 0.5) * down - 0.5}
            lens["deviations"] = [
                value * (scales[n] if n < len(scales) else 1) for n, value in enumerate(lens["deviations"])
            ]
        document |= {"width": width, "height": height}
        document["pixel_deviation"] = self.pixel_deviation * math.sqrt(across * down)
        return CameraSpec.model_validate(document)


def _inline(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    try:
        return CameraSpec.model_validate(value)
    except ValidationError as error:
        raise ValueError(_first_mistake(error)) from None


CameraRef = Annotated[
    str | CameraSpec | None, BeforeValidator(_inline, json_schema_input_type=str | dict[str, Any] | None)
]
"""A camera by its name, or written out as `CameraSpec` has it; the schema of a pipeline is large enough without."""


def _first_mistake(error: ValidationError) -> str:
    first = error.errors()[0]
    return explain(first, name=".".join(str(step) for step in first["loc"] if not str(step).startswith("tuple[")))


def parse_camera(data: Any, *, field: str | None = None) -> CameraSpec:
    """A camera from plain data. Raises: InvalidRequest."""
    try:
        return CameraSpec.model_validate(data)
    except ValidationError as error:
        raise InvalidRequest(_first_mistake(error), field=field) from None


def read_camera(path: Path, *, field: str | None = None) -> CameraSpec:
    """A camera from a YAML or JSON file, named after it unless it has a name. Raises: InvalidRequest."""
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {(error.strerror or '').lower()}", field=field) from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise InvalidRequest(f"{path} is not valid YAML or JSON: {mistake(error)}", field=field) from None
    if not isinstance(data, dict):
        raise InvalidRequest(f"{path}: a camera is a mapping with `points`, `lines`, `lens`, ...", field=field)
    try:
        return parse_camera({"name": path.stem, **data})
    except InvalidRequest as error:
        raise InvalidRequest(f"{path}: {error.message}", field=field) from None
