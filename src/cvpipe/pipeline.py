"""From what a user writes to what runs: specification -> validated graph -> plan of segments."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, TypeAdapter, ValidationError, model_validator

from cvpipe import stages as stage_plugins
from cvpipe.errors import InvalidPipeline, NotFound
from cvpipe.frames import View
from cvpipe.job import TimeRange
from cvpipe.log import fields
from cvpipe.stages import FrameStage, Reshaper, Selector, SequenceStage, Stage, StageOptions

if TYPE_CHECKING:
    from cvpipe.settings import Settings
    from cvpipe.video import VideoIndex

logger = logging.getLogger(__name__)

MAX_STAGES = 32


@cache
def _options_adapter() -> TypeAdapter[StageOptions]:
    """Validates the options of any stage by its `type`."""
    options = tuple(cls.Options for cls in stage_plugins.discover().values())
    union: Any = Annotated[Union[options], Field(discriminator="type")]  # noqa: UP007 - built at run time
    return TypeAdapter(union)


class PipelineSpec(BaseModel):
    """A pipeline as written: a name and its stages, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: int = Field(default=1, ge=1)
    description: str = Field(default="", max_length=2000)
    stages: tuple[SerializeAsAny[StageOptions], ...] = Field(min_length=1, max_length=MAX_STAGES)

    @model_validator(mode="before")
    @classmethod
    def _read_stages(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("stages"), Sequence):
            return data
        if isinstance(data["stages"], str):
            return data
        read = []
        for number, stage in enumerate(data["stages"]):
            if isinstance(stage, StageOptions):
                options = stage
            else:
                try:
                    options = _options_adapter().validate_python(stage)
                except ValidationError as error:
                    raise _readable(error, f"stages.{number}", stage) from None
            read.append(
                options if options.name else options.model_copy(update={"name": stage_plugins.kind_of(options)})
            )
        return {**data, "stages": tuple(read)}

    @model_validator(mode="after")
    def _fits_together(self) -> PipelineSpec:
        _check_graph(self.stages)
        return self

    def make_stages(self) -> list[Stage[Any]]:
        """A fresh instance of every stage, not opened."""
        return [stage_plugins.make(options) for options in self.stages]

    def models(self) -> tuple[str, ...]:
        """References (`name` or `name@version`) of all models the pipeline needs, without repeats."""
        return tuple(dict.fromkeys(model for stage in self.make_stages() for model in stage.models()))


def _check_graph(options: Sequence[StageOptions]) -> None:
    seen: dict[str, Stage[Any]] = {}
    pixels_over = looked = False
    for number, option in enumerate(options):
        stage, where = stage_plugins.make(option), f"stages.{number}"
        if option.name in seen:
            raise InvalidPipeline(
                f"two stages are called {option.name!r}; give one of them a `name`", field=f"{where}.name"
            )
        if isinstance(stage, SequenceStage):
            pixels_over = True
        elif pixels_over:
            raise InvalidPipeline(
                f"{option.name!r} looks at pixels; put it before the stages that look at the sequence", field=where
            )
        if isinstance(stage, Selector) and looked:
            raise InvalidPipeline(
                f"{option.name!r} chooses frames; put it before the stages that look at them", field=where
            )
        looked = looked or isinstance(stage, FrameStage)
        for reference in stage.references():
            if not isinstance(seen.get(reference), FrameStage | SequenceStage):
                earlier = [name for name, known in seen.items() if isinstance(known, FrameStage)]
                raise InvalidPipeline(
                    f"{option.name!r} refers to {reference!r}, which is no earlier stage that finds objects"
                    + _hint(reference, earlier),
                    field=where,
                )
        seen[option.name] = stage


def _hint(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (there is: {', '.join(known)})" if known else ""


def _readable(error: ValidationError, where: str, stage: Any) -> InvalidPipeline:
    """One clear error, with the path of the value, from pydantic's list."""
    first = error.errors()[0]
    kinds = stage_plugins.discover()
    kind = stage.get("type") if isinstance(stage, Mapping) else None
    path = [str(part) for part in first["loc"]]
    if path and path[0] == kind:  # pydantic puts the union's tag into the path
        path = path[1:]
    field = ".".join([where, *path])
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        what = "a stage needs a `type`" if kind is None else f"there is no stage type {kind!r}"
        return InvalidPipeline(what + _hint(str(kind), kinds), field=f"{where}.type")
    if first["type"] == "extra_forbidden" and kind in kinds:
        known = [name for name in kinds[kind].Options.model_fields if name != "type"]
        return InvalidPipeline(f"{kind!r} has no option {path[-1]!r}" + _hint(path[-1], known), field=field)
    return InvalidPipeline(first["msg"], field=field)


def parse_pipeline(data: Any, *, field: str | None = None) -> PipelineSpec:
    """A validated pipeline from plain data. Raises: InvalidPipeline, its `field` below `field`."""
    if not isinstance(data, Mapping):
        raise InvalidPipeline("a pipeline is a mapping with `name` and `stages`", field=field)
    try:
        return PipelineSpec.model_validate(data)
    except InvalidPipeline as error:
        path = ".".join(part for part in (field, error.field) if part)
        raise InvalidPipeline(error.message, field=path or None) from None
    except ValidationError as error:
        first = error.errors()[0]
        inner = first.get("ctx", {}).get("error")
        if isinstance(inner, InvalidPipeline):  # pydantic wraps a ValueError raised by a validator
            path = ".".join(part for part in (field, inner.field) if part)
            raise InvalidPipeline(inner.message, field=path or None) from None
        path = ".".join(part for part in (field, *map(str, first["loc"])) if part)
        raise InvalidPipeline(first["msg"], field=path or None) from None


def load_pipeline(
    reference: str | Path | Mapping[str, Any], *, settings: Settings, files: bool = False, field: str | None = None
) -> PipelineSpec:
    """The pipeline that `reference` names or is.

    reference: a mapping (inline), the name of a built-in pipeline or of one in `settings.pipelines_dir`, or, with
    `files`, the path of a YAML or JSON file. Raises: InvalidPipeline, NotFound.
    """
    if isinstance(reference, Mapping):
        return parse_pipeline(reference, field=field)
    name = str(reference)
    known = _named(settings)
    if name in known:
        return parse_pipeline(_read(known[name]), field=field)
    if files and (isinstance(reference, Path) or name.endswith((".yaml", ".yml", ".json")) or "/" in name):
        path = Path(reference)
        if not path.is_file():
            raise NotFound(f"no pipeline file {str(path)!r}", field=field)
        return parse_pipeline(_read(path), field=field)
    raise NotFound(f"there is no pipeline {name!r}" + _hint(name, known), field=field)


def list_pipelines(settings: Settings) -> list[PipelineSpec]:
    """All pipelines that can be named, sorted by name. A wrong file is left out with a warning."""
    found = []
    for name, path in sorted(_named(settings).items()):
        try:
            found.append(parse_pipeline(_read(path)))
        except InvalidPipeline as error:
            logger.warning("left out a pipeline %s", fields(name=name, error=error))
    return found


def _named(settings: Settings) -> dict[str, Any]:
    folder = resources.files("cvpipe") / "pipelines"
    found: dict[str, Any] = {Path(entry.name).stem: entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    if settings.pipelines_dir is not None and settings.pipelines_dir.is_dir():
        found |= {
            path.stem: path for path in sorted(settings.pipelines_dir.iterdir()) if path.suffix in (".yaml", ".yml")
        }
    return found


def _read(path: Any) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if str(path).endswith(".json") else yaml.safe_load(text)
    except OSError as error:
        raise InvalidPipeline(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise InvalidPipeline(f"{path} is not valid YAML or JSON: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive stages that run in one actor.

    stages: positions in the pipeline. queue: logical name of the queue its tasks go to.
    """

    kind: Literal["frames", "sequence"]
    queue: str
    stages: tuple[int, ...]


def plan_segments(spec: PipelineSpec) -> tuple[Segment, ...]:
    """The segments of a pipeline, in order: one or more of frames, then at most one of sequence.

    Stages without a queue of their own are fused with their neighbours: one decode serves them all.
    """
    made = spec.make_stages()
    groups: list[tuple[str | None, list[int]]] = []
    for number, stage in enumerate(made):
        if not isinstance(stage, FrameStage):
            continue
        queue = stage.options.queue
        if not groups or groups[-1][0] != queue:
            groups.append((queue, []))
        groups[-1][1].append(number)
    if not groups:
        groups.append((None, []))
    segments = [
        Segment("frames", queue or ("gpu" if any(made[n].device == "gpu" for n in numbers) else "cpu"), tuple(numbers))
        for queue, numbers in groups
    ]
    ordered = tuple(number for number, stage in enumerate(made) if isinstance(stage, SequenceStage))
    if ordered:
        queues = {made[number].options.queue for number in ordered} - {None}
        segments.append(Segment("sequence", str(queues.pop()) if len(queues) == 1 else "sequence", ordered))
    return tuple(segments)


def select_frames(spec: PipelineSpec, index: VideoIndex, time_range: TimeRange | None = None) -> npt.NDArray[np.int64]:
    """Numbers of the source frames that the pipeline looks at, ascending, (k,) int64.

    Depends on the index alone, so every worker comes to the same answer for its chunk.
    """
    inside = frames_in_range(index, time_range)
    frames = index.timeline
    frames = frames.where((frames.number >= inside.start) & (frames.number < inside.stop))
    for stage in spec.make_stages():
        if isinstance(stage, Selector):
            frames = frames.where(stage.select(frames))
    return frames.number


def frames_in_range(index: VideoIndex, time_range: TimeRange | None) -> range:
    """Numbers of all frames in a part of a video; of the whole video without one."""
    if time_range is None:
        return range(len(index))
    first = int(np.searchsorted(index.times, time_range.start))
    stop = len(index) if time_range.stop is None else int(np.searchsorted(index.times, time_range.stop))
    return range(first, max(first, stop))


def views_of(made: Sequence[Stage[Any]], width: int, height: int) -> dict[int, View]:
    """The view each frame stage asks for, by its position.

    made: all stages of the pipeline, opened. width, height: of the displayed source frame, in pixels.
    """
    view = View.of(width, height, format="rgb24")
    views: dict[int, View] = {}
    for number, stage in enumerate(made):
        if isinstance(stage, Reshaper):
            view = stage.reshape(view)
        elif isinstance(stage, FrameStage):
            views[number] = stage.view(view)
    return views
