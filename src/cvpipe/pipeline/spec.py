"""What a user writes, validated: a pipeline is a name and its stages, which fit together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Union

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, TypeAdapter, ValidationError, model_validator

from cvpipe import stages as stage_plugins
from cvpipe.errors import InvalidPipeline, explain
from cvpipe.pipeline.cropping import ill_cropped
from cvpipe.stages import (
    CropStage,
    FrameStage,
    JobStage,
    Selector,
    SequenceStage,
    Stage,
    StageOptions,
    Tiler,
    looks_back,
)

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
                    raise _readable(error, number, stage) from None
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

    def tells_events(self) -> bool:
        """Whether a stage may tell of events, so that there is a log of them."""
        return any(isinstance(stage, SequenceStage) and stage.event_kinds for stage in self.make_stages())

    def gives_tracks(self) -> bool:
        """Whether a stage numbers what is the same from frame to frame."""
        return any(map(_gives_tracks, self.make_stages()))

    def models(self) -> tuple[str, ...]:
        """References (`name` or `name@version`) of all models the pipeline needs, without repeats."""
        return tuple(dict.fromkeys(model for stage in self.make_stages() for model in stage.models()))


def _check_graph(options: Sequence[StageOptions]) -> None:
    seen: dict[str, Stage[Any]] = {}
    for number, option in enumerate(options):
        stage, where, label = stage_plugins.make(option), f"stages.{number}", place(number, option)
        if option.name in seen:
            raise InvalidPipeline(
                f"{label}: two stages are called {option.name!r}; give one of them a `name`", field=f"{where}.name"
            )
        if (wrong := _misplaced(stage, list(seen.values()))) is not None:
            raise InvalidPipeline(f"{label} {wrong}", field=where)
        for reference in stage.references():
            if reference not in seen or not seen[reference].finds_objects:
                what = "which finds no objects" if reference in seen else "but there is no earlier stage of this name"
                finders = [name for name, known in seen.items() if known.finds_objects]
                raise InvalidPipeline(
                    f"{label} refers to {reference!r}, {what}{_choice(reference, finders, 'objects', seen)}",
                    field=f"{where}{_option_of(option, reference)}",
                )
        _check_neighbours(stage, seen, where=where, label=label)
        for reference in stage.boundaries():
            if not _cuts(seen.get(reference)):
                what = "which finds no cuts" if reference in seen else "but there is no earlier stage of this name"
                finders = [name for name, known in seen.items() if _cuts(known)]
                raise InvalidPipeline(
                    f"{label} begins anew at cuts of {reference!r}, {what}{_choice(reference, finders, 'cuts', seen)}",
                    field=f"{where}{_option_of(option, reference)}",
                )
        if (wrong := ill_cropped(stage, seen)) is not None:
            raise InvalidPipeline(f"{label} {wrong}", field=where)
        seen[option.name] = stage
    for number, stage in enumerate(seen.values()):
        later = list(seen.values())[number + 1 :]
        if isinstance(stage, Tiler) and not any(map(sees_tiles, later)):
            raise InvalidPipeline(
                f"{place(number, stage.options)} cuts the picture into tiles, but no later stage looks at them; put it "
                "before one that finds something by itself",
                field=f"stages.{number}",
            )


def _check_neighbours(stage: Stage[Any], earlier: Mapping[str, Stage[Any]], *, where: str, label: str) -> None:
    """See whether a stage finds what it needs before it. Raises: InvalidPipeline."""
    if isinstance(stage, SequenceStage) and stage.needs_tracks and not any(map(_gives_tracks, earlier.values())):
        raise InvalidPipeline(
            f"{label} follows objects by their track numbers; put a `track` stage before it", field=where
        )
    try:
        stage.meet(earlier)
    except InvalidPipeline as error:
        field = ".".join(part for part in (where, error.field) if part)
        raise InvalidPipeline(f"{label}: {error.message}", field=field) from None
    if stage.options.when is not None and (told := _wrong_when(stage, earlier)) is not None:
        raise InvalidPipeline(f"{label}: when: {told}", field=f"{where}.when")


def _wrong_when(stage: Stage[Any], earlier: Mapping[str, Stage[Any]]) -> str | None:
    """What is wrong with a stage's `when`, as the end of a message."""
    is_about_objects = isinstance(stage, SequenceStage) or bool(stage.references())
    looks = isinstance(stage, FrameStage | SequenceStage | CropStage | JobStage) or stage.scope == "outside"
    if not looks or not (isinstance(stage, FrameStage) or is_about_objects):
        return "this stage looks at no objects and at no frame by itself; put it on one that does"
    if isinstance(stage, FrameStage) and stage.memory and not is_about_objects:
        return "this stage looks back at the frames before, and must see all of them"
    try:
        when = stage.when
    except InvalidPipeline as error:
        return error.message
    assert when is not None
    for name, at in when.expression.stages().items():
        if name not in earlier:
            return f"at character {at + 1}: there is no earlier stage {name!r}{hint(name, earlier)}"
    return None


def place(number: int, options: StageOptions) -> str:
    """How messages name a stage: `stage 2 (detect 'cars')`, counted from 1."""
    kind = stage_plugins.kind_of(options)
    return (
        f"stage {number + 1} ({kind})"
        if options.name in ("", kind)
        else f"stage {number + 1} ({kind} {options.name!r})"
    )


def _option_of(options: StageOptions, reference: str) -> str:
    """Where a stage names another one, as the end of a path: `.of`, `.of.1`."""
    for name in type(options).model_fields.keys() - {"name", "type"}:
        value = getattr(options, name)
        if value == reference:
            return f".{name}"
        if isinstance(value, list | tuple) and reference in value:
            return f".{name}.{value.index(reference)}"
    return ""


def _choice(word: str, finders: Sequence[str], what: str, earlier: Iterable[str]) -> str:
    """Which earlier stages find something, as the end of a message about one that does not."""
    if not finders:
        return f"; no earlier stage finds {what}"
    near = difflib.get_close_matches(word, finders, n=1, cutoff=0.5) if word not in earlier else []
    return (
        f" (did you mean {near[0]!r}?)" if near else f"; earlier stages that find {what}: {', '.join(sorted(finders))}"
    )


def _misplaced(stage: Stage[Any], earlier: Sequence[Stage[Any]]) -> str | None:
    """Why a stage can't come after these, as the end of a sentence about it."""
    frame_stages = [s for s in earlier if isinstance(s, FrameStage)]
    crops = {s.name for s in earlier if isinstance(s, CropStage)}
    if isinstance(stage, SequenceStage) and crops:
        return f"looks at the sequence; put it before {min(crops)!r}, which makes crops of all there is"
    is_last = (
        stage.scope == "outside" or isinstance(stage, JobStage | CropStage) or not crops.isdisjoint(stage.references())
    )
    if not is_last and crops:
        return f"looks at whole frames; put it before {min(crops)!r}, or give it crops to look at (`of: {min(crops)}`)"
    if not isinstance(stage, SequenceStage) and not is_last and any(isinstance(s, SequenceStage) for s in earlier):
        does = "chooses frames" if isinstance(stage, Selector) else "looks at pixels"
        return f"{does}; put it before the stages that look at the sequence"
    if isinstance(stage, Selector) and frame_stages:
        return f"chooses frames; put it before {frame_stages[0].name!r}, which looks at them"
    if isinstance(stage, Tiler):
        other = next((s.name for s in earlier if isinstance(s, Tiler)), None)
        if other is not None:
            return f"cuts the picture into tiles, which {other!r} has done already; leave one of them out"
    if isinstance(stage, FrameStage) and stage.hands_out_maps and sees_tiles(stage):
        other = next((s.name for s in earlier if isinstance(s, Tiler)), None)
        if other is not None:
            return f"hands out maps of whole frames; put it before {other!r}, which cuts them into tiles"
    if isinstance(stage, FrameStage) and stage.memory:
        slow = next((s.name for s in frame_stages if s.remembers_all), None)
        if slow is not None:
            return f"looks back at some earlier frames; put it before {slow!r}, which remembers all of them"
        other = next((s.name for s in frame_stages if s.options.queue != stage.options.queue), None)
        if other is not None:
            return (
                f"looks back at earlier frames, so it must run where {other!r} does; give both the same `queue`, or "
                f"put it before {other!r}"
            )
    return None


def _cuts(stage: Stage[Any] | None) -> bool:
    return isinstance(stage, FrameStage) and "cut" in stage.tallies


def _gives_tracks(stage: Stage[Any]) -> bool:
    return isinstance(stage, SequenceStage) and stage.gives_tracks


def sees_tiles(stage: Stage[Any]) -> bool:
    """Whether a stage behind a `Tiler` gets the tiles.

    Those that look back at earlier frames, or at what other stages found, get the whole frame.
    """
    return isinstance(stage, FrameStage) and not looks_back(stage) and not stage.references()


def hint(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (there is: {', '.join(known)})" if known else ""


def _readable(error: ValidationError, number: int, stage: Any) -> InvalidPipeline:
    """One clear error, with the path of the value, from pydantic's list."""
    first = error.errors()[0]
    kinds = stage_plugins.discover()
    kind = stage.get("type") if isinstance(stage, Mapping) else None
    where, label = f"stages.{number}", f"stage {number + 1}"
    path = [str(part) for part in first["loc"]]
    if path and path[0] == kind:  # pydantic puts the union's tag into the path
        path = path[1:]
    field = ".".join([where, *path])
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        what = "a stage needs a `type`" if kind is None else f"there is no stage type {kind!r}"
        near = hint(kind if isinstance(kind, str) else "", kinds)
        return InvalidPipeline(f"{label}: {what}{near}", field=f"{where}.type")
    label += f" ({kind})" if isinstance(kind, str) else ""
    if first["type"] == "extra_forbidden" and kind in kinds:
        known = [field.alias or name for name, field in kinds[kind].Options.model_fields.items() if name != "type"]
        return InvalidPipeline(f"{label} has no option {path[-1]!r}{hint(path[-1], known)}", field=field)
    return InvalidPipeline(f"{label}: {explain(first, name='.'.join(path))}", field=field)


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
        raise InvalidPipeline(explain(first), field=path or None) from None
