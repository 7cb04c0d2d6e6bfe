"""The lines of pitches, as the rules of the sports draw them.

Every pitch lies with its centre at the origin and its length along x: one goal on the left (x below 0), one on the
right; the side of y below 0 is the near one, the other the far one. Metres, to the outer edges or middles of the lines
as the rules say.

Sources: football, IFAB, Laws of the Game, Law 1, with the size that UEFA asks for; basketball, FIBA, Official
Basketball Rules, rule 2, and NBA, rule 1; tennis, ITF, Rules of Tennis, rule 1; ice hockey, IIHF, Official Rule Book,
rule 1, and NHL, rule 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from cvpipe.geometry.marks import Points, line_through

PitchKind = Literal["football", "basketball", "basketball-nba", "tennis", "ice-hockey", "ice-hockey-nhl"]
Place = tuple[float, float]
Segment = tuple[Place, Place]

_FOOT: Final = 0.3048


@dataclass(frozen=True, slots=True)
class Arc:
    """A part of a circle, counter-clockwise from one angle to another, in degrees from the x axis."""

    centre: Place
    radius: float
    start: float = 0.0
    stop: float = 360.0

    def points(self, count: int = 48) -> list[Place]:
        """Points along it."""
        angles = [math.radians(self.start + (self.stop - self.start) * n / (count - 1)) for n in range(count)]
        x, y = self.centre
        return [(x + self.radius * math.cos(angle), y + self.radius * math.sin(angle)) for angle in angles]


@dataclass(frozen=True, slots=True)
class Pitch:
    """One pitch: its named straight lines, its named spots, and its arcs. All in metres."""

    kind: str
    length: float
    width: float
    lines: Mapping[str, Segment]
    spots: Mapping[str, Place]
    arcs: tuple[Arc, ...] = ()
    edges: tuple[Segment, ...] = field(default=())
    """What is drawn but is no line one would mark, such as the straight parts of a three-point line."""

    def line(self, name: str) -> Points:
        """A line as a, b, c; see `Marks.line`. Raises: KeyError."""
        return line_through(*self.lines[name])

    def crossing(self, first: str, second: str) -> Place:
        """Where two lines meet, were they drawn on. Raises: KeyError; ValueError where they are parallel."""
        (a, b, c), (d, e, f) = self.line(first).tolist(), self.line(second).tolist()
        determinant = a * e - b * d
        if abs(determinant) < 1e-9:
            raise ValueError(f"{first!r} and {second!r} are parallel; name two lines that meet")
        return (b * f - c * e) / determinant, (c * d - a * f) / determinant


#: Lengths and widths that the rules allow, for pitches that are not all of one size.
SIZES: Final[Mapping[str, tuple[tuple[float, float], tuple[float, float]]]] = {
    "football": ((90, 120), (45, 90)),
    "ice-hockey": ((58, 60), (25, 30)),
}
KINDS: Final = ("football", "basketball", "basketball-nba", "tennis", "ice-hockey", "ice-hockey-nhl")


@cache
def pitch(kind: str, length: float | None = None, width: float | None = None) -> Pitch:
    """The pitch of a sport. length, width: of this one, in metres, where the rules leave them open.

    Raises: ValueError where there is no such pitch, or the rules allow none of that size.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no pitch {kind!r}; there is: {', '.join(KINDS)}")
    if kind not in SIZES and (length is not None or width is not None):
        raise ValueError(f"every pitch of {kind} has the same size; leave out `length` and `width`")
    for name, value, limits in zip(("length", "width"), (length, width), SIZES.get(kind, ((), ())), strict=True):
        if value is not None and not limits[0] <= value <= limits[1]:
            raise ValueError(f"a pitch of {kind} has a {name} from {limits[0]} to {limits[1]} m, not {value:g}")
    match kind:
        case "football":
            return _football(length or 105.0, width or 68.0)
        case "basketball":
            return _basketball(kind, 28.0, 15.0, arc=6.75, corner=6.6, lane=4.9, basket=1.575, circle=1.8)
        case "basketball-nba":
            feet = {"arc": 23.75, "corner": 22.0, "lane": 16.0, "basket": 5.25, "circle": 6.0}
            return _basketball(kind, 94 * _FOOT, 50 * _FOOT, **{name: value * _FOOT for name, value in feet.items()})
        case "tennis":
            return _tennis()
        case "ice-hockey":
            return _ice_hockey(
                kind, length or 60.0, width or 30.0, corner=8.5, goal_line=4.0, blue_line=22.86, circle=4.5,
                spot=(6.0, 7.0), neutral=(1.5, 7.0),
            )  # fmt: skip
        case _:
            return _ice_hockey(
                kind, 200 * _FOOT, 85 * _FOOT, corner=28 * _FOOT, goal_line=11 * _FOOT, blue_line=75 * _FOOT,
                circle=15 * _FOOT, spot=(20 * _FOOT, 22 * _FOOT), neutral=(5 * _FOOT, 22 * _FOOT),
            )  # fmt: skip


def _frame(x: float, y: float, *, side: str, end: str) -> dict[str, Segment]:
    """The four outer lines of a pitch, half as long as `x` and half as wide as `y`."""
    return {
        f"near-{side}": ((-x, -y), (x, -y)),
        f"far-{side}": ((-x, y), (x, y)),
        f"left-{end}": ((-x, -y), (-x, y)),
        f"right-{end}": ((x, -y), (x, y)),
    }


def _boxes(name: str, x: float, depth: float, half: float) -> dict[str, Segment]:
    """The three inner lines of the same box at both ends: its front and its two sides."""
    found: dict[str, Segment] = {}
    for end, sign in (("left", -1.0), ("right", 1.0)):
        outer, inner = sign * x, sign * (x - depth)
        found[f"{end}-{name}-front"] = ((inner, -half), (inner, half))
        found[f"{end}-{name}-near"] = ((outer, -half), (inner, -half))
        found[f"{end}-{name}-far"] = ((outer, half), (inner, half))
    return found


def _football(length: float, width: float) -> Pitch:
    x, y, goal = length / 2, width / 2, 7.32 / 2
    spots: dict[str, Place] = {
        "centre-spot": (0, 0),
        "centre-circle-near": (0, -9.15),
        "centre-circle-far": (0, 9.15),
        "centre-circle-left": (-9.15, 0),
        "centre-circle-right": (9.15, 0),
        "left-penalty-spot": (-x + 11, 0),
        "right-penalty-spot": (x - 11, 0),
    }
    for end, sign in (("left", -1.0), ("right", 1.0)):
        spots |= {f"{end}-goal-near-post": (sign * x, -goal), f"{end}-goal-far-post": (sign * x, goal)}
    out = math.degrees(math.acos((16.5 - 11) / 9.15))
    return Pitch(
        "football",
        length,
        width,
        _frame(x, y, side="touchline", end="goal-line")
        | {"halfway-line": ((0, -y), (0, y))}
        | _boxes("penalty-area", x, 16.5, goal + 16.5)
        | _boxes("goal-area", x, 5.5, goal + 5.5),
        spots,
        (
            Arc((0, 0), 9.15),
            Arc((-x + 11, 0), 9.15, -out, out),
            Arc((x - 11, 0), 9.15, 180 - out, 180 + out),
            Arc((-x, -y), 1, 0, 90),
            Arc((x, -y), 1, 90, 180),
            Arc((x, y), 1, 180, 270),
            Arc((-x, y), 1, 270, 360),
        ),
    )


def _basketball(
    kind: str, length: float, width: float, *, arc: float, corner: float, lane: float, basket: float, circle: float
) -> Pitch:
    """A court.

    arc: radius of the three-point line about the basket; corner: its distance from the middle along the sides; lane:
    width of the restricted area; basket: from the end line to the middle of the basket; circle: radius.
    """
    x, y = length / 2, width / 2
    free_throw = 5.8 if kind == "basketball" else 19 * _FOOT
    out = math.degrees(math.asin(corner / arc))
    reach = x - basket - arc * math.cos(math.radians(out))
    edges: list[Segment] = []
    arcs = [Arc((0, 0), circle)]
    spots: dict[str, Place] = {"centre-spot": (0, 0)}
    for end, sign in (("left", -1.0), ("right", 1.0)):
        middle = sign * (x - basket)
        edges += [((sign * x, side * corner), (sign * reach, side * corner)) for side in (-1, 1)]
        turn = 0.0 if sign < 0 else 180.0
        arcs += [
            Arc((middle, 0), arc, turn - out, turn + out),
            Arc((sign * (x - free_throw), 0), circle, turn - 90, turn + 90),
            Arc((middle, 0), 1.25 if kind == "basketball" else 4 * _FOOT, turn - 90, turn + 90),
        ]
        spots |= {f"{end}-basket": (middle, 0), f"{end}-free-throw-middle": (sign * (x - free_throw), 0)}
    lines = _frame(x, y, side="sideline", end="end-line") | {"centre-line": ((0, -y), (0, y))}
    lines |= _boxes("restricted-area", x, free_throw, lane / 2)
    return Pitch(kind, length, width, lines, spots, tuple(arcs), tuple(edges))


def _tennis() -> Pitch:
    x, y, inner, service = 23.77 / 2, 10.97 / 2, 8.23 / 2, 6.40
    lines = _frame(x, y, side="doubles-sideline", end="baseline") | {
        "near-singles-sideline": ((-x, -inner), (x, -inner)),
        "far-singles-sideline": ((-x, inner), (x, inner)),
        "left-service-line": ((-service, -inner), (-service, inner)),
        "right-service-line": ((service, -inner), (service, inner)),
        "centre-service-line": ((-service, 0), (service, 0)),
        "net": ((0, -y - 0.914), (0, y + 0.914)),
    }
    spots = {"left-centre-mark": (-x, 0.0), "right-centre-mark": (x, 0.0)}
    marks = (((-x, 0.0), (-x + 0.1, 0.0)), ((x, 0.0), (x - 0.1, 0.0)))
    return Pitch("tennis", 23.77, 10.97, lines, spots, (), marks)


def _ice_hockey(
    kind: str,
    length: float,
    width: float,
    *,
    corner: float,
    goal_line: float,
    blue_line: float,
    circle: float,
    spot: Place,
    neutral: Place,
) -> Pitch:
    """A rink.

    corner: its radius; goal_line, blue_line: from the end boards; spot: of an end zone, from the goal line and from
    the middle; neutral: of the neutral zone, from the blue line and from the middle.
    """
    x, y = length / 2, width / 2
    goal, blue = x - goal_line, x - blue_line
    # Where the goal line meets the round corner.
    half = y - corner + math.sqrt(corner**2 - max(0.0, corner - goal_line) ** 2)
    lines: dict[str, Segment] = {
        "near-boards": ((-x + corner, -y), (x - corner, -y)),
        "far-boards": ((-x + corner, y), (x - corner, y)),
        "left-end-boards": ((-x, -y + corner), (-x, y - corner)),
        "right-end-boards": ((x, -y + corner), (x, y - corner)),
        "centre-line": ((0, -y), (0, y)),
    }
    spots: dict[str, Place] = {"centre-spot": (0, 0)}
    arcs = [Arc((0, 0), circle)]
    for end, sign in (("left", -1.0), ("right", 1.0)):
        lines[f"{end}-goal-line"] = ((sign * goal, -half), (sign * goal, half))
        lines[f"{end}-blue-line"] = ((sign * blue, -y), (sign * blue, y))
        for side, up in (("near", -1.0), ("far", 1.0)):
            here = (sign * (goal - spot[0]), up * spot[1])
            spots[f"{end}-{side}-face-off-spot"] = here
            spots[f"{end}-{side}-neutral-spot"] = (sign * (blue - neutral[0]), up * neutral[1])
            arcs.append(Arc(here, circle))
        turn = 0.0 if sign < 0 else 180.0
        arcs.append(Arc((sign * goal, 0), 1.8 if kind == "ice-hockey" else 6 * _FOOT, turn - 90, turn + 90))
    for (right, up), start in (((1, 1), 0.0), ((-1, 1), 90.0), ((-1, -1), 180.0), ((1, -1), 270.0)):
        arcs.append(Arc((right * (x - corner), up * (y - corner)), corner, start, start + 90))
    return Pitch(kind, length, width, lines, spots, tuple(arcs))
