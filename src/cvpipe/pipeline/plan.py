"""What runs where, and what it sees: the segments of a pipeline, and the views of its stages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cvpipe.errors import CvpipeError, InvalidPipeline
from cvpipe.frames import View
from cvpipe.pipeline.spec import PipelineSpec, sees_tiles
from cvpipe.stages import CropStage, FrameStage, JobStage, Reshaper, SequenceStage, Stage, Tiler, blaming


@dataclass(frozen=True, slots=True)
class Segment:
    """Stages that run in one actor.

    kind: `frames`, a task for each chunk; `sequence`, the same; `picks`, one task, which chooses crops from
    all records; `crops`, a task for each chunk that has some; `tracks`, one task, which puts to the vote what was found
    out about crops; `external`, one task, which asks servers outside.
    stages: positions in the pipeline. queue: logical name of the queue its tasks go to. in_order: its chunks run one
    after another, and each is handed the state after the last.
    """

    kind: Literal["frames", "sequence", "picks", "crops", "tracks", "external"]
    queue: str
    stages: tuple[int, ...]
    in_order: bool = False


def plan_segments(spec: PipelineSpec, *, without: Collection[int] = ()) -> tuple[Segment, ...]:
    """The segments of a pipeline, in order: one or more of frames, at most one of sequence, three where it has crops.

    Stages without a queue of their own are fused with their neighbours: one decode serves them all. Those that remember
    all frames are kept apart, so that the chunks of the others need not wait for one another. without: positions
    of stages that need not run, because their results are there.
    """
    made = spec.make_stages()
    on_crops = crop_stages(made)
    groups: list[tuple[tuple[str | None, bool], list[int]]] = []
    for number, stage in enumerate(made):
        if not isinstance(stage, FrameStage) or number in on_crops or number in without:
            continue
        kind = (stage.options.queue, stage.remembers_all)
        if not groups or groups[-1][0] != kind:
            groups.append((kind, []))
        groups[-1][1].append(number)
    if not groups:
        groups.append(((None, False), []))
    segments = [
        Segment("frames", queue or default_queue([type(made[n]) for n in numbers]), tuple(numbers), in_order)
        for (queue, in_order), numbers in groups
    ]
    ordered = tuple(number for number, stage in enumerate(made) if isinstance(stage, SequenceStage))
    if ordered:
        queues = {made[number].options.queue for number in ordered} - {None}
        named = str(queues.pop()) if len(queues) == 1 else default_queue([type(made[n]) for n in ordered])
        segments.append(Segment("sequence", named, ordered, in_order=True))
    if on_crops:
        named = next((q for n in on_crops if (q := made[n].options.queue)), default_queue([type(made[on_crops[0]])]))
        choosing = tuple(number for number in on_crops if isinstance(made[number], CropStage))
        looking = tuple(number for number in on_crops if number not in choosing)
        segments += [
            Segment("picks", named, choosing), Segment("crops", named, on_crops), Segment("tracks", named, looking)
        ]  # fmt: skip
    outside = tuple(number for number, stage in enumerate(made) if stage.scope == "outside")
    if outside:
        named = next((q for n in outside if (q := made[n].options.queue)), default_queue([type(made[outside[0]])]))
        segments.append(Segment("external", named, outside))
    return tuple(segments)


def crop_stages(made: Sequence[Stage[Any]]) -> tuple[int, ...]:
    """Positions of the stages that choose crops, and of those that look at them."""
    names = {stage.name for stage in made if isinstance(stage, CropStage)}
    return tuple(
        number
        for number, stage in enumerate(made)
        if isinstance(stage, CropStage) or (isinstance(stage, FrameStage) and not names.isdisjoint(stage.references()))
    )


def default_queue(kinds: Sequence[type[Stage[Any]]]) -> str:
    """The queue of a segment of these kinds of stages, none of which has a queue of its own."""
    if any(issubclass(kind, SequenceStage) for kind in kinds):
        return "sequence"
    if any(issubclass(kind, CropStage) for kind in kinds):
        return "crops"
    if any(kind.scope == "outside" for kind in kinds):
        return "external"
    return "gpu" if any(kind.device == "gpu" for kind in kinds) else "cpu"


def gates_before(made: Sequence[Stage[Any]], position: int) -> tuple[str, ...]:
    """Names of the stages before a position that may have frames skipped."""
    return tuple(stage.name for stage in made[:position] if isinstance(stage, FrameStage) and stage.skips)


def gates_of(made: Sequence[Stage[Any]], stage: Stage[Any]) -> tuple[str, ...]:
    """Names of the stages that may keep those it refers to from looking; all of them where it refers to none.

    One that `when` keeps from looking at frames is its own gate.
    """
    names = stage.references()
    sources = [n for n, s in enumerate(made) if isinstance(s, FrameStage) and (not names or s.name in names)]
    if not sources:
        return ()
    own = tuple(made[n].name for n in sources if made[n].when is not None and not made[n].references())
    return (*gates_before(made, max(sources)), *own)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a stage sees of each frame: one view, or one for each tile of a `Tiler`, which merges the results."""

    views: tuple[View, ...]
    tiler: Tiler[Any] | None = None


def sights_of(
    made: Sequence[Stage[Any]], width: int, height: int, *, opened: Collection[int] | None = None
) -> dict[int, Sight]:
    """What each frame stage asks to see, by its position.

    made: all stages of the pipeline. opened: positions of those that are opened, and are asked; default: all.
    width, height: of the displayed source frame, in pixels.
    Raises: StageFailed, InvalidPipeline where a step does not fit the picture.
    """
    sights: dict[int, Sight] = {}
    for number, (stage, whole, tiled) in enumerate(_pictures(made, width, height)):
        if isinstance(stage, FrameStage) and (opened is None or number in opened):
            seen = tiled if tiled is not None and sees_tiles(stage) else whole
            with blaming(stage):
                sights[number] = Sight(tuple(map(stage.view, seen.views)), seen.tiler)
    return sights


def job_stages(spec: PipelineSpec, width: int, height: int) -> list[tuple[JobStage[Any], View]]:
    """The stages that make a file of the whole video, and the view (rgb24) that the steps before each made.

    width, height: of the displayed source frame, in pixels. Raises: StageFailed, InvalidPipeline.
    """
    made = spec.make_stages()
    found = []
    for stage, whole, _ in _pictures(made, width, height):
        if isinstance(stage, JobStage):
            stage.meet({other.name: other for other in made[: made.index(stage)]})
            found.append((stage, whole.views[0]))
    return found


def crop_view(spec: PipelineSpec, width: int, height: int) -> View:
    """What crops are cut from: the displayed source frame at full size, BGR, made whole where `deinterlace` says so."""
    whole = View.of(width, height)
    made = spec.make_stages()
    first = next((number for number, stage in enumerate(made) if isinstance(stage, CropStage)), len(made))
    seen = [sight.views[0] for _, sight, _ in _pictures(made[:first], width, height)]
    return replace(whole, deinterlace=seen[-1].deinterlace) if seen else whole


def map_stages(made: Sequence[Stage[Any]]) -> list[str]:
    """Names of the stages that hand out maps."""
    return [stage.name for stage in made if isinstance(stage, FrameStage) and stage.hands_out_maps]


def check_fit(spec: PipelineSpec, width: int, height: int) -> None:
    """See whether steps that change the picture fit frames of this size, and lines and zones lie in these.

    Raises: StageFailed, InvalidPipeline where one does not.
    """
    made = spec.make_stages()
    for _ in _pictures(made, width, height):
        pass
    for stage in made:
        if not isinstance(stage, SequenceStage) or stage.options.needs_camera:
            continue  # before a camera that pans, all may come into view
        stage.size = (width, height)
        for shape in stage.shapes():
            x, y = zip(*shape.points, strict=True)
            if max(x) < 0 or max(y) < 0 or min(x) > width or min(y) > height:
                raise InvalidPipeline(
                    f"{stage.name!r} does not fit the video's {width}x{height} pixels: {shape.name!r} lies outside"
                )


def _pictures(made: Sequence[Stage[Any]], width: int, height: int) -> Iterator[tuple[Stage[Any], Sight, Sight | None]]:
    """Each stage with what the steps up to it made of the whole frame, and of its tiles where there are any."""
    whole = Sight((View.of(width, height, format="rgb24"),))
    tiled: Sight | None = None
    for stage in made:
        with blaming(stage):
            try:
                if isinstance(stage, Reshaper):
                    whole = Sight(tuple(map(stage.reshape, whole.views)))
                    tiled = tiled and Sight(tuple(map(stage.reshape, tiled.views)), tiled.tiler)
                elif isinstance(stage, Tiler):
                    tiled = Sight(tuple(stage.tiles(whole.views[0])), stage)
            except ValueError as error:
                if isinstance(error, CvpipeError):
                    raise
                raise InvalidPipeline(
                    f"{stage.name!r} does not fit the video's {width}x{height} pixels: {error}"
                ) from error
        yield stage, whole, tiled
