"""`rules`: events of your own, put together from what earlier stages tell."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cvpipe.conditions import FRAME_FIELDS, OBJECT_FIELDS, frame_value, object_value, of_frames, of_objects
from cvpipe.errors import InvalidPipeline
from cvpipe.events import Event, Moment
from cvpipe.expressions import MAX_LENGTH, Expression, Path, parse_expression
from cvpipe.expressions.rules import EVENT, LINE, WITH, WITHOUT, ZONE, Rule, parse_rule
from cvpipe.results import FrameRecord
from cvpipe.sightings import FORGET_SECONDS, Followed, Sighting, sightings
from cvpipe.spells import Spells
from cvpipe.stages import FollowingStage, SequenceStage, Stage, StageOptions


class RuleOptions(BaseModel):
    """One rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][\w-]*$", description="Its name in events.")
    when: str = Field(
        min_length=1,
        max_length=MAX_LENGTH,
        description='What has to hold: `person in zone "gate" for > 10 s and no "badge"`.',
    )
    about: Literal["object", "frame"] = Field(
        default="object", description="Whether it is asked of each tracked object, or of each frame as a whole."
    )
    seconds: float = Field(default=0, ge=0, le=86400, description="What holds for less is not told.")
    gap_seconds: float = Field(default=1, ge=0, le=3600, description="What has not held for so long is over.")


class RulesOptions(StageOptions):
    """Options of `rules`."""

    type: Literal["rules"] = "rules"
    of: Followed = None
    rules: tuple[RuleOptions, ...] = Field(min_length=1, max_length=32, description="Rules: `name` and `when`.")

    @model_validator(mode="after")
    def _has_names(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError(
                f"two rules are called {next(n for n in names if names.count(n) > 1)!r}; names must differ"
            )
        return self


@dataclass(slots=True)
class _Past:
    """What is remembered of a track. All times in seconds.

    first, last: when it was seen. events: when it last took part, by kind. lines: when it last crossed, by line and
    direction. things: when a thing was last on it, by label.
    """

    first: float
    last: float
    events: dict[str, float] = field(default_factory=dict)
    lines: dict[str, float] = field(default_factory=dict)
    things: dict[str, float] = field(default_factory=dict)


class Rules(FollowingStage[RulesOptions]):
    """Tell of what rules describe: who is in a zone for so long, without this, after that.

    Events: `rule_met`, with the rule's name, from when on it has held to the end of it. The value of a frame is, for
    each rule that holds, the numbers of the tracks; an empty list for one about the frame.
    """

    Options = RulesOptions
    event_kinds = ("rule_met",)
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person, backpack]}
    - {type: track, of: people}
    - {type: polygon_zone, of: people, zones: [{name: gate, polygon: [[300, 90], [420, 90], [420, 300]]}]}
    - {type: rules, of: people, rules: [{name: waits, when: 'person in zone "gate" for > 10 s and no "backpack"'}]}
    """

    def __init__(self, options: RulesOptions) -> None:
        super().__init__(options)
        self._pasts: dict[int, _Past] = {}
        self._spells = {
            rule.name: Spells(least_seconds=rule.seconds, gap_seconds=rule.gap_seconds) for rule in options.rules
        }
        self._zones: dict[str, str] = {}
        self._of_objects: dict[str, Rule] = {}
        self._of_frames: dict[str, Expression] = {}
        self._heard: list[Event] = []

    def meet(self, earlier: Mapping[str, Stage[Any]]) -> None:
        """Read the rules, and see whether there is what they name. Raises: InvalidPipeline."""
        known = _Known.of(earlier)
        self._zones = known.zones
        for number, rule in enumerate(self.options.rules):
            try:
                if rule.about == "frame":
                    asked = parse_expression(
                        rule.when,
                        FRAME_FIELDS,
                        elsewhere=of_objects("this rule is about frames"),
                        of_objects=OBJECT_FIELDS,
                    )
                    self._of_frames[rule.name] = asked
                else:
                    read = parse_rule(rule.when, OBJECT_FIELDS, elsewhere=of_frames("this rule is about objects"))
                    known.check(read)
                    self._of_objects[rule.name], asked = read, read.expression
                for stage, at in asked.stages().items():
                    _check_known(stage, earlier, at, "earlier stage")
            except InvalidPipeline as error:
                raise InvalidPipeline(f"rule {rule.name!r}: {error.message}", field=f"rules.{number}.when") from None

    def expressions(self) -> Iterator[tuple[str, Expression]]:
        """Its rules too."""
        yield from super().expressions()
        for number, rule in enumerate(self.options.rules):
            if rule.about == "frame":
                yield f"rules.{number}.when", parse_expression(rule.when, FRAME_FIELDS)
            else:
                yield f"rules.{number}.when", parse_rule(rule.when, OBJECT_FIELDS).expression

    def hear(self, events: Sequence[Event]) -> None:
        """Remember who took part."""
        self._heard += events

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with the rules that hold."""
        self._take_heard(record.time)
        if not self.looked(record):
            return record
        now = Moment.of(record)
        seen = sightings(record, self.options.of)
        holding: dict[str, list[int]] = {}
        for one in seen:
            past = self._remember(record, one)
            for name, rule in self._of_objects.items():
                if rule.expression.holds(lambda path, one=one, past=past: self._look(record, one, past, path)):  # type: ignore[misc]
                    holding.setdefault(name, []).append(one.track)
                    self._spells[name].hold(str(one.track), now, (one.row,), merit=one.score, values={"rule": name})
        for name, asked in self._of_frames.items():
            if asked.holds(lambda path: frame_value(record, path)):
                holding[name] = []
                rows = tuple(one.row for one in seen)
                self._spells[name].hold("", now, rows, merit=len(rows), values={"rule": name})
        for spells in self._spells.values():
            for spell in spells.over(now):
                self.tell(spell.event("rule_met", self.name, is_over=True))
        self._pasts = {t: past for t, past in self._pasts.items() if now.time - past.last <= FORGET_SECONDS}
        return replace(record, values={**record.values, self.name: holding})

    def end(self) -> None:
        """Tell of what still holds."""
        for spells in self._spells.values():
            for spell in spells.rest():
                self.tell(spell.event("rule_met", self.name, is_over=False))

    def state(self) -> Mapping[str, Any]:
        """What is remembered of each track, and what holds."""
        pasts = [[t, p.first, p.last, p.events, p.lines, p.things] for t, p in self._pasts.items()]
        return {"pasts": pasts, "spells": {name: spells.state() for name, spells in self._spells.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._pasts = {
            track: _Past(first, last, dict(events), dict(lines), dict(things))
            for track, first, last, events, lines, things in state["pasts"]
        }
        for name, spells in state["spells"].items():
            self._spells[name].restore(spells)

    def _take_heard(self, time: float) -> None:
        for event in self._heard:
            for track in event.tracks:
                past = self._pasts.setdefault(track, _Past(time, time))
                past.events[event.kind] = event.end.time
                if event.kind == "line_crossed":
                    for direction in (event.values["direction"], "any"):
                        past.lines[f"{event.values['line']}/{direction}"] = event.end.time
        self._heard = []

    def _remember(self, record: FrameRecord, seen: Sighting) -> _Past:
        past = self._pasts.setdefault(seen.track, _Past(record.time, record.time))
        past.last = record.time
        for label in self._labels():
            if _is_on(record, seen, label):
                past.things[label] = record.time
        return past

    def _labels(self) -> Iterator[str]:
        """Of things that rules ask for."""
        return iter(
            {
                mention.name: None
                for rule in self._of_objects.values()
                for mention in rule.mentions()
                if mention.what in (WITH, WITHOUT)
            }
        )

    def _look(self, record: FrameRecord, seen: Sighting, past: _Past, path: Path) -> Any:
        """What a name in a rule stands for."""
        what = path[0]
        if what == ZONE:
            return object_value(record, seen.place, (self._zones[path[1]], path[1]))
        if what == WITHOUT:
            return round(record.time - past.things.get(path[1], past.first), 6)
        if not what.startswith("@"):
            return object_value(record, seen.place, path)
        last = {
            LINE: past.lines.get("/".join(path[1:])),
            EVENT: past.events.get(path[1]),
            WITH: past.things.get(path[1]),
        }[what]
        return None if last is None else round(record.time - last, 6)


@dataclass(frozen=True, slots=True)
class _Known:
    """What earlier stages tell of. zones, lines: name of the stage by theirs. kinds: of events."""

    zones: dict[str, str]
    lines: dict[str, str]
    kinds: set[str]

    @classmethod
    def of(cls, earlier: Mapping[str, Stage[Any]]) -> Self:
        known = cls({}, {}, set())
        for stage in earlier.values():
            if not isinstance(stage, SequenceStage):
                continue
            known.kinds.update(stage.event_kinds)
            for shape in stage.shapes():
                if "zone_entered" in stage.event_kinds:
                    known.zones.setdefault(shape.name, stage.name)
                elif "line_crossed" in stage.event_kinds:
                    known.lines.setdefault(shape.name, stage.name)
        return known

    def check(self, rule: Rule) -> None:
        """Raises: InvalidPipeline where the rule names what no earlier stage has."""
        for mention in rule.mentions():
            if mention.what == ZONE:
                _check_known(mention.name, self.zones, mention.at, "zone")
            elif mention.what == LINE:
                _check_known(mention.name, self.lines, mention.at, "line")
            elif mention.what == EVENT:
                _check_known(mention.name, self.kinds, mention.at, "earlier stage that tells of")


def _check_known(name: str, known: Mapping[str, Any] | set[str], at: int, what: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    there = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(sorted(known)) or 'none'}"
    raise InvalidPipeline(f"at character {at + 1}: there is no {what} {name!r} ({there})")


def _is_on(record: FrameRecord, seen: Sighting, label: str) -> bool:
    """Whether the middle of a thing of this label is in somebody's box."""
    objects = record.objects
    places = [n for n, other in enumerate(objects.label) if other == label and n != seen.place]
    if not places:
        return False
    boxes = np.asarray(objects.box[places], np.float64)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    x1, y1, x2, y2 = seen.box.astype(np.float64)
    return bool(((x1 <= x) & (x <= x2) & (y1 <= y) & (y <= y2)).any())
