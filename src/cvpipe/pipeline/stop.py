"""Early stop: the condition at which a job has seen enough."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cvpipe.conditions import FRAME_FIELDS, OBJECT_FIELDS, frame_value, of_objects
from cvpipe.errors import InvalidPipeline, InvalidRequest
from cvpipe.events import Event
from cvpipe.expressions import Constant, Expression, Name, Path, Within, parse_expression
from cvpipe.pipeline.spec import PipelineSpec, hint
from cvpipe.results import FrameRecord
from cvpipe.stages import SequenceStage

_EVENTS: Final = "events"
_IN_TIME: Final = ("frame", "sequence")
_CACHED: Final = 256


@dataclass(frozen=True, slots=True)
class StopCondition:
    """What a job's `stop_when` says: asked of each frame's record, in order, once all but its crops is known of it.

    Beside all that may be asked of a frame there is `events`, the kinds of the events that were told with it.
    """

    expression: Expression

    @classmethod
    def of(cls, text: str | None) -> StopCondition | None:
        """The condition that a text is; None for none. Raises: InvalidExpression."""
        return None if text is None else _read(text)

    def holds(self, record: FrameRecord, told: Collection[Event] = ()) -> bool:
        """Whether a job ends with this record. told: the events told with it. One without results ends no job."""

        def look(path: Path) -> object:
            return [event.kind for event in told] if path == (_EVENTS,) else frame_value(record, path)

        return record.status == "ok" and self.expression.holds(look)


def check_stop(spec: PipelineSpec, text: str | None, *, field: str) -> None:
    """See whether a pipeline has what a job's `stop_when` names. Raises: InvalidRequest."""
    try:
        condition = StopCondition.of(text)
    except InvalidPipeline as error:
        raise InvalidRequest(error.message, field=field) from None
    if condition is not None and (wrong := _wrong(spec, condition.expression)) is not None:
        raise InvalidRequest(wrong, field=field)


@lru_cache(maxsize=_CACHED)
def _read(text: str) -> StopCondition:
    fields = {**FRAME_FIELDS, _EVENTS: "list"}
    elsewhere = of_objects("a job is stopped by a whole frame")
    return StopCondition(parse_expression(text, fields, elsewhere=elsewhere, of_objects=OBJECT_FIELDS))


def _wrong(spec: PipelineSpec, expression: Expression) -> str | None:
    made = {stage.name: stage for stage in spec.make_stages()}
    for name, stage in made.items():
        if isinstance(stage, SequenceStage) and stage.amends:  # its records wait, and would be cut off or let through
            return f"{name!r} adds to frames that were looked at earlier: leave out its `fill_gaps`, or `stop_when`"
    for name, at in expression.stages().items():
        if name not in made:
            return f"at character {at + 1}: the pipeline has no stage {name!r}{hint(name, made)}"
        if made[name].scope not in _IN_TIME:
            return f"at character {at + 1}: {name!r} says nothing before all frames were looked at"
    kinds = {kind for stage in made.values() if isinstance(stage, SequenceStage) for kind in stage.event_kinds}
    nodes = list(expression.root.walk())
    asked = next((node for node in nodes if isinstance(node, Name) and node.path == (_EVENTS,)), None)
    if asked is not None and not kinds:
        return f"at character {asked.at + 1}: no stage of the pipeline tells of events"
    for node in nodes:
        if isinstance(node, Within) and isinstance(node.item, Constant) and isinstance(node.whole, Name):
            kind = node.item.constant
            if node.whole.path == (_EVENTS,) and kind not in kinds:
                return f"no stage of the pipeline tells of {kind!r}{hint(str(kind), kinds)}"
    return None
