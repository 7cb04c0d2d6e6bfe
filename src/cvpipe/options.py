"""Options that stages share: what every stage has, maps on request, and the check that none is given in vain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from cvpipe.expressions import MAX_LENGTH


class StageOptions(BaseModel):
    """Options that every stage has; subclasses add `type: Literal["..."]` and their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        default="",
        max_length=64,
        pattern=r"^([a-z][a-z0-9_-]*)?$",
        description="Name of the stage in results; unique in the pipeline. Default: its type.",
    )
    queue: str | None = Field(
        default=None,
        max_length=32,
        pattern=r"^[a-z][a-z0-9-]*$",
        description="Run the stage as a service of its own, on this queue. Default: with its neighbours.",
    )
    when: str | None = Field(
        default=None,
        max_length=MAX_LENGTH,
        description='Look only at objects for which this is true: `label in ["car", "truck"] and score > 0.5`; a stage '
        'that looks at whole frames: only at such frames, `"person" in labels`. Default: at all.',
    )

    @property
    def needs_camera(self) -> bool:
        """Whether the stage looks through a calibrated camera: its option `camera`, or the job's."""
        return "camera" in type(self).model_fields


class MapSampling(BaseModel):
    """Of which frames a stage hands out a map."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every_seconds: float = Field(
        ge=0.04,
        le=1e6,
        description="The first frame in each span of so many seconds, counted from the beginning of the video.",
    )

    def is_due(self, time: float, before: float | None) -> bool:
        """Whether a frame is one of those. before: time of the frame looked at before it; None for the first."""
        return before is None or int(time / self.every_seconds + 1e-9) > int(before / self.every_seconds + 1e-9)


class MapOptions(StageOptions):
    """Options of a stage that can hand out what it makes of a frame as a picture."""

    maps: MapSampling | None = Field(
        default=None,
        description="Hand out maps as PNG files of the job, `NAME-FRAME.png`: `{every_seconds: 5}`. Default: none.",
    )


def refuse_idle(options: StageOptions, choice: str, options_of: Mapping[str, Sequence[str]]) -> None:
    """Options that do something with some values of the option `choice` only are not given in vain.

    options_of: by value, names of the options that go with it. Raises: ValueError.
    """
    chosen = getattr(options, choice)
    for name in {name for names in options_of.values() for name in names} - {*options_of[chosen]}:
        if name in options.model_fields_set and getattr(options, name) != type(options).model_fields[name].default:
            raise ValueError(f"`{name}` does nothing with `{choice}: {chosen}`")
