"""`teams`: who plays for whom, by the colour of their shirts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cvpipe.colours import lab_of, rgb_of
from cvpipe.errors import InvalidPipeline
from cvpipe.results import FrameRecord
from cvpipe.sightings import FORGET_SECONDS, Followed, Sighting, sightings
from cvpipe.stages import FollowingStage, Stage, StageOptions

_LEAST_SAMPLES: Final = 3
_ROUNDS: Final = 50


class Team(BaseModel):
    """A team whose colour is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, description="Its name in results.")
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$", description="Of its shirts, `#rrggbb`.")


class TeamsOptions(StageOptions):
    """Options of `teams`."""

    type: Literal["teams"] = "teams"
    of: Followed = None
    colours: str = Field(
        default="shirt_colour", min_length=1, max_length=64, description="Name of the `shirt_colour` stage."
    )
    count: int = Field(default=2, ge=2, le=8, description="How many teams there are.")
    teams: tuple[Team, ...] = Field(
        default=(),
        max_length=8,
        description="The teams, where their colours are known. Default: found out, and called A, B.",
    )
    learn_seconds: float = Field(
        default=3,
        ge=0,
        le=600,
        description="For so long colours are gathered before teams are told apart; until then nobody has one.",
    )
    max_distance: float = Field(
        default=45,
        gt=0,
        le=300,
        description="Whose colour is farther from that of every team (in L*a*b*) has none: a referee, a goalkeeper.",
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        names = [team.name for team in self.teams]
        if len(names) == 1 or len(set(names)) < len(names):
            raise ValueError("`teams` are two or more, of different names")
        return self


@dataclass(slots=True)
class _Shirt:
    """The mean colour of a track. time: when it was last seen."""

    mean: npt.NDArray[np.float64]
    samples: int
    time: float


class Teams(FollowingStage[TeamsOptions]):
    """Tell which team each tracked player belongs to, by the mean colour of the shirt over all that was seen of it.

    Colours of the first seconds are put into groups (k-means, from the two that are farthest apart); after that the
    groups stay as they are. The value of an object is `{"team", "distance"}`; that of a frame how many of each team.
    """

    Options = TeamsOptions
    example = """
    - {type: detect, name: players, model: yolox-nano, classes: [person]}
    - {type: shirt_colour, of: players}
    - {type: track, of: players}
    - {type: teams, of: players, teams: [{name: reds, colour: "#c81e28"}, {name: blues, colour: "#2040b0"}]}
    """

    def __init__(self, options: TeamsOptions) -> None:
        super().__init__(options)
        self._shirts: dict[int, _Shirt] = {}
        self._since: float | None = None
        self._centres: npt.NDArray[np.float64] | None = None
        self._names = tuple(team.name for team in options.teams) or tuple("ABCDEFGH"[: options.count])
        if options.teams:
            self._centres = np.array([lab_of(rgb_of(team.colour)) for team in options.teams])

    def meet(self, earlier: Mapping[str, Stage[Any]]) -> None:
        """See whether the colours are measured. Raises: InvalidPipeline."""
        stage = earlier.get(self.options.colours)
        if stage is None or stage.kind() != "shirt_colour":
            raise InvalidPipeline(
                f"there is no earlier `shirt_colour` stage called {self.options.colours!r}; put one before `track`",
                field="colours",
            )

    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with everybody's team."""
        if not self.looked(record):
            return record
        self._since = record.time if self._since is None else self._since
        seen = sightings(record, self.options.of)
        for one in seen:
            self._measure(record, one)
        if self._centres is None and record.time - self._since >= self.options.learn_seconds:
            self._learn()
        self._shirts = {t: s for t, s in self._shirts.items() if record.time - s.time <= FORGET_SECONDS}
        if self._centres is None:
            return record
        told = {one.place: value for one in seen if (value := self._team(one.track, self._centres)) is not None}
        counts = dict.fromkeys(self._names, 0)
        for value in told.values():
            if value["team"] is not None:
                counts[value["team"]] += 1
        objects = record.objects.with_values(self.name, told) if told else record.objects
        return replace(record, objects=objects, values={**record.values, self.name: counts})

    def state(self) -> Mapping[str, Any]:
        """The colour of each track, and of the teams."""
        return {
            "shirts": [[t, s.mean.tolist(), s.samples, s.time] for t, s in self._shirts.items()],
            "since": self._since,
            "centres": None if self._centres is None else self._centres.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        self._shirts = {t: _Shirt(np.array(mean), samples, time) for t, mean, samples, time in state["shirts"]}
        self._since = state["since"]
        self._centres = None if state["centres"] is None else np.array(state["centres"])

    def _measure(self, record: FrameRecord, seen: Sighting) -> None:
        measured = (record.objects.values[seen.place] or {}).get(self.options.colours)
        if not isinstance(measured, Mapping):
            return
        lab = np.array(measured["lab"], np.float64)
        shirt = self._shirts.setdefault(seen.track, _Shirt(np.zeros(3), 0, record.time))
        shirt.samples += 1
        shirt.mean = shirt.mean + (lab - shirt.mean) / shirt.samples
        shirt.time = record.time

    def _learn(self) -> None:
        known = [shirt.mean for _, shirt in sorted(self._shirts.items()) if shirt.samples >= _LEAST_SAMPLES]
        if len(known) >= len(self._names):
            self._centres = _groups(np.array(known), len(self._names))

    def _team(self, track: int, centres: npt.NDArray[np.float64]) -> dict[str, Any] | None:
        shirt = self._shirts.get(track)
        if shirt is None or not shirt.samples:
            return None
        away = np.sqrt(((centres - shirt.mean) ** 2).sum(axis=1))
        nearest = int(away.argmin())
        distance = round(float(away[nearest]), 1)
        return {"team": self._names[nearest] if distance <= self.options.max_distance else None, "distance": distance}


def _groups(points: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Middles (count, 3) of groups of points (n, 3): k-means, the same for the same points; the largest group first."""
    between = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    chosen = [int(place) for place in np.unravel_index(int(between.argmax()), between.shape)]
    while len(chosen) < count:
        chosen.append(int(between[:, chosen].min(axis=1).argmax()))
    centres = points[chosen]
    for _ in range(_ROUNDS):
        group = ((points[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        moved = np.array([points[group == n].mean(axis=0) if (group == n).any() else centres[n] for n in range(count)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    sizes = np.bincount(group, minlength=count)
    return centres[np.lexsort((centres[:, 0], -sizes))]
