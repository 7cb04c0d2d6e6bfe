"""A drawn match: a football pitch before a known camera, players whose places on it are known at every time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.geometry.homography import apply
from cvpipe.geometry.pitches import pitch
from cvpipe.geometry.pose import Pose, ground_matrix, project
from cvpipe.lens import Lens
from examples.demo.figures import TALL, Clothes, draw_person, walking
from examples.demo.layers import Layers
from tests.geometry.views import on_ground
from tests.video.clips import make_clip

SIZE: Final = (960, 540)
FPS: Final = 12
SECONDS: Final = 4
LENS: Final = Lens(fx=1150, fy=1150, cx=479.5, cy=269.5, coefficients=(0, 0, 0, 0, 0))
POSE: Final = Pose.looking([-2, -31, 9], [-1, 3, 0])
_METRES_TALL: Final = 1.8
_LINE: Final = 0.12  # metres wide, as the laws allow


@dataclass(frozen=True, slots=True)
class Player:
    """One who goes from a place by a velocity, metres per second; or about a centre, once in `turn` seconds."""

    start: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    radius: float = 0.0
    turn: float = 1.0
    shirt: tuple[int, int, int] = (206, 62, 62)

    def at(self, time: float) -> tuple[float, float]:
        """Where on the pitch."""
        x, y = self.start
        if self.radius:
            angle = 2 * math.pi * time / self.turn
            return x + self.radius * math.cos(angle), y + self.radius * math.sin(angle)
        return x + self.velocity[0] * time, y + self.velocity[1] * time

    @property
    def speed(self) -> float:
        """Metres per second."""
        return 2 * math.pi * self.radius / self.turn if self.radius else math.hypot(*self.velocity)


BLUE: Final = (58, 96, 190)
PLAYERS: Final = (
    Player((-10, 2), (3.0, 0.5)),
    Player((7, 6), (-2.0, -1.0), shirt=BLUE),
    Player((1, -6), (1.5, 0.0)),
    Player((-7, -5), (0.0, 0.0), shirt=BLUE),
    Player((6, -3), radius=2.0, turn=8.0, shirt=BLUE),
)


@cache
def _turf() -> npt.NDArray[np.uint8]:
    """The empty pitch as the camera sees it, (height, width, 3): each pixel averaged over 4 places of the ground."""
    width, height = SIZE
    x, y = np.meshgrid((np.arange(2 * width) + 0.5) / 2, (np.arange(2 * height) + 0.5) / 2)
    back = np.linalg.inv(ground_matrix(POSE, LENS))
    spots = np.stack([x, y], axis=-1).reshape(-1, 2)
    depth = back[2, 0] * spots[:, 0] + back[2, 1] * spots[:, 1] + back[2, 2]
    ground = apply(back, spots)
    stripes = np.floor(ground[:, 0] / 5.25) % 2
    colour = np.where(stripes[:, None] == 0, (70, 132, 66), (78, 142, 74)).astype(np.float32)
    colour[~_is_inside(ground)] = (96, 120, 84)
    colour[_is_chalk(ground)] = (196, 236, 190)
    colour[depth <= 0] = (150, 180, 210)  # the sky
    fine = colour.reshape(height, 2, width, 2, 3)
    return np.asarray(fine.mean(axis=(1, 3)).round(), np.uint8)


def _is_inside(ground: Any) -> Any:
    field = pitch("football")
    return (np.abs(ground[:, 0]) < field.length / 2 + 3) & (np.abs(ground[:, 1]) < field.width / 2 + 3)


def _is_chalk(ground: Any) -> Any:
    field = pitch("football")
    chalk = np.zeros(len(ground), bool)
    for (x1, y1), (x2, y2) in field.lines.values():
        length = math.hypot(x2 - x1, y2 - y1)
        along = np.array([(x2 - x1) / length, (y2 - y1) / length])
        away = ground - (x1, y1)
        share = away @ along
        off = np.abs(away[:, 0] * along[1] - away[:, 1] * along[0])
        chalk |= (off < _LINE / 2) & (share > -_LINE / 2) & (share < length + _LINE / 2)
    for arc in field.arcs:
        away = ground - arc.centre
        angle = (np.degrees(np.arctan2(away[:, 1], away[:, 0])) - arc.start) % 360
        chalk |= (np.abs(np.hypot(away[:, 0], away[:, 1]) - arc.radius) < _LINE / 2) & (angle <= arc.stop - arc.start)
    return chalk


@cache
def _walkers(shirt: tuple[int, int, int], facing: str) -> Any:
    clothes = Clothes((224, 172, 138), (50, 36, 30), shirt, (240, 240, 240), (30, 30, 36), short_sleeves=True)
    return [draw_person(walking(n / 10, facing), clothes) for n in range(10)]  # type: ignore[arg-type]


def draw(number: int, _width: int = 0, _height: int = 0) -> npt.NDArray[np.uint8]:
    """Frame `number`, (height, width, 3) RGB."""
    time = number / FPS
    layers = Layers(_turf().copy())
    for player in sorted(PLAYERS, key=lambda player: -player.at(time)[1]):  # the far ones are drawn first
        x, y = player.at(time)
        before = player.at(time - 0.05)
        foot, head = project(POSE, LENS, np.array([[x, y, 0], [x, y, _METRES_TALL]]))
        phase = int(player.speed * time / 1.6 * 10) % 10
        walker = _walkers(player.shirt, "left" if x < before[0] else "right")[phase if player.speed else 0]
        layers.put(walker, float(foot[0]), float(foot[1]), scale=float(foot[1] - head[1]) / TALL)
    return layers.picture


def camera(**changes: Any) -> dict[str, Any]:
    """The camera by what is to be seen of the pitch, read off to half a pixel."""
    rng = np.random.default_rng(0)
    places = {
        "centre-spot": (0, 0), "centre-circle-near": (0, -9.15), "centre-circle-far": (0, 9.15),
        "centre-circle-left": (-9.15, 0), "centre-circle-right": (9.15, 0),
    }  # fmt: skip
    points = [
        {"pixel": _read(project(POSE, LENS, on_ground([at]))[0], rng), "spot": name} for name, at in places.items()
    ]
    corner = _read(project(POSE, LENS, on_ground([(0, 34)]))[0], rng)
    points.append({"pixel": corner, "crossing": ["halfway-line", "far-touchline"]})
    return {
        "name": "main-stand", "width": SIZE[0], "height": SIZE[1], "pitch": "football", "points": points,
        "pixel_deviation": 0.5, **changes,
    }  # fmt: skip


def _read(pixel: Any, rng: np.random.Generator) -> list[float]:
    return [round(float(value), 1) for value in pixel + rng.normal(0, 0.5, 2)]


def make_match(path: Path, *, frames: int = FPS * SECONDS) -> Path:
    """The clip, H.264 in MP4."""
    return make_clip(
        path, frames=frames, size=SIZE, time_base=Fraction(1, FPS), options={"crf": "16", "g": "12"}, draw=draw
    )
