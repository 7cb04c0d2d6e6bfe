"""People and dogs, jointed, and where a person's joints are. Each stands on a small canvas of its own, as cars do.

Lengths are shares of a person's height; angles are radians from straight down, positive to the right of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from examples.demo.drawing import Canvas, Colour
from examples.demo.layers import JOINTS, Figure

Facing = Literal["left", "right", "front"]
Pair = tuple[float, float]
Places = dict[str, tuple[float, float]]

TALL: Final = 120
"""Pixels from the ground to the top of a person's head."""
_FAR: Final = 0.7  # how bright the arm and the leg on the far side are
_INK: Colour = (24, 22, 26)
_SHADOW: Colour = (18, 18, 28)
_UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.165, 0.15, 0.235, 0.225
_HIP, _SHOULDER, _HEAD = -0.49, -0.79, -0.915


@dataclass(frozen=True, slots=True)
class Clothes:
    """How a person looks; build: how broad, 1 is ordinary."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    short_sleeves: bool = False
    build: float = 1.0


@dataclass(frozen=True, slots=True)
class Pose:
    """How a person stands: angles of upper arms, forearms, thighs and shins, (left, right); the lean of the back."""

    facing: Facing
    arms: Pair
    forearms: Pair
    thighs: Pair
    shins: Pair
    lean: float = 0.0


def walking(phase: float, facing: Facing, *, stride: float = 0.5) -> Pose:
    """Two steps from phase 0 to 1, seen from the side; stride: the swing of the thighs."""
    way = -1.0 if facing == "left" else 1.0
    turn = 2 * np.pi * phase
    swing, lift = np.array([np.sin(turn), -np.sin(turn)]), np.array([np.cos(turn), -np.cos(turn)])
    thighs, arms = swing * stride, -swing * stride
    shins, forearms = thighs - (0.15 + 1.5 * lift.clip(0)) * stride, arms + 0.35
    return Pose(facing, *(_pair(way * angles) for angles in (arms, forearms, thighs, shins)), lean=0.06 * way)


def draw_person(pose: Pose, clothes: Clothes) -> Figure:
    """A person, `TALL` pixels tall where it stands upright."""
    width, height = round(TALL * 1.2), round(TALL * 1.28)
    ground = (width / 2, height - 0.07 * TALL)
    joints = _joints(pose, clothes.build)
    joints[:, 1] -= joints[-2:, 1].max() + 0.035  # it stands on its lower foot
    joints = joints * TALL + np.array(ground)
    at = {name: (float(x), float(y)) for name, (x, y) in zip(JOINTS, joints, strict=True)}
    canvas = Canvas(width, height, fineness=3)
    canvas.ellipse(ground[0], ground[1] + 1, 0.2 * TALL, 0.025 * TALL, _SHADOW, opacity=0.4)
    far, near = ("left", "right") if pose.facing == "right" else ("right", "left")
    light = 1.0 if pose.facing == "front" else _FAR
    if pose.facing != "front":
        _arm(canvas, at, far, clothes, light)
    _leg(canvas, at, far, clothes, light=light, facing=pose.facing)
    _leg(canvas, at, near, clothes, light=1.0, facing=pose.facing)
    _torso(canvas, at, clothes, pose.facing)
    _head(canvas, at["head"], clothes, pose.facing)
    if pose.facing == "front":
        _arm(canvas, at, far, clothes, light)
    _arm(canvas, at, near, clothes, 1.0)
    return Figure("person", canvas.finish(), canvas.solid(), ground, joints.astype(np.float32))


def draw_dog(phase: float, coat: Colour, *, facing_left: bool, tail: float = 0.6, ears: float = 1.0) -> Figure:
    """A dog from the side, two steps from phase 0 to 1; tail: -1 hangs, 1 is up; ears: their length."""
    canvas = Canvas(112, 84, fineness=3)
    swing = float(np.sin(2 * np.pi * phase))
    dark = darker(coat, _FAR)
    canvas.ellipse(56, 79, 32, 3, _SHADOW, opacity=0.4)
    for hip, way, tone in ((34, 1, dark), (72, -1, dark), (37, -1, coat), (75, 1, coat)):
        canvas.limb([(hip, 48), (hip + 5 * swing * way, 62), (hip + 11 * swing * way, 75)], tone, width=7)
    canvas.limb([(30, 40), (16, 40 - 18 * tail)], coat, width=5)
    canvas.limb([(36, 43), (74, 42)], coat, width=20)
    canvas.limb([(76, 38), (84, 25)], coat, width=13)
    canvas.limb([(86, 22), (97, 26)], coat, width=12)
    canvas.limb([(82, 18), (79, 18 + 10 * ears)], dark, width=6)
    canvas.ellipse(102, 24, 2.6, 2.4, _INK)
    canvas.ellipse(90, 19, 1.6, 1.6, _INK)
    if facing_left:
        canvas.mirror()
    return Figure("dog", canvas.finish(), canvas.solid(), (56.0, 78.0))


def darker(colour: Colour, by: float) -> Colour:
    """The colour, `by` times as bright."""
    red, green, blue = (min(255, round(channel * by)) for channel in colour)
    return (red, green, blue)


def _pair(angles: npt.NDArray[np.float64]) -> Pair:
    return (float(angles[0]), float(angles[1]))


def _joints(pose: Pose, build: float) -> npt.NDArray[np.float64]:
    """(13, 2) places, the middle of the hips at (0, `_HIP`)."""
    front = pose.facing == "front"
    # Who faces us has the left hand on our right.
    across = np.array([1.0, -1.0]) if front else np.array([-1.0, 1.0]) * (0.12 if pose.facing == "right" else -0.12)
    up = np.array([np.sin(pose.lean), -np.cos(pose.lean)])
    hip = np.array([0.0, _HIP])
    neck = hip + (_HIP - _SHOULDER) * up
    head = hip + (_HIP - _HEAD) * up
    rows = [head]
    shoulders = [neck + np.array([0.105 * build * side, 0]) for side in across]
    hips = [hip + np.array([0.06 * build * side, 0]) for side in across]
    rows += shoulders
    elbows = [at + _UPPER_ARM * _down(angle) for at, angle in zip(shoulders, pose.arms, strict=True)]
    rows += elbows
    rows += [at + _FOREARM * _down(angle) for at, angle in zip(elbows, pose.forearms, strict=True)]
    rows += hips
    knees = [at + _THIGH * _down(angle) for at, angle in zip(hips, pose.thighs, strict=True)]
    rows += knees
    rows += [at + _SHIN * _down(angle) for at, angle in zip(knees, pose.shins, strict=True)]
    return np.array(rows)


def _down(angle: float) -> npt.NDArray[np.float64]:
    return np.array([np.sin(angle), np.cos(angle)])


def _arm(canvas: Canvas, at: Places, which: str, clothes: Clothes, light: float) -> None:
    shoulder, elbow, wrist = at[f"{which} shoulder"], at[f"{which} elbow"], at[f"{which} wrist"]
    sleeve, skin = darker(clothes.shirt, light * 0.9), darker(clothes.skin, light)
    canvas.limb([elbow, wrist], skin if clothes.short_sleeves else sleeve, width=0.045 * TALL)
    canvas.limb([shoulder, elbow], sleeve, width=0.055 * TALL * clothes.build)
    canvas.ellipse(*wrist, 0.027 * TALL, 0.027 * TALL, skin)


def _leg(canvas: Canvas, at: Places, which: str, clothes: Clothes, *, light: float, facing: Facing) -> None:
    hip, knee, ankle = at[f"{which} hip"], at[f"{which} knee"], at[f"{which} ankle"]
    tone = darker(clothes.trousers, light)
    toe = {"left": -0.055, "right": 0.055, "front": 0.012 if which == "left" else -0.012}[facing] * TALL
    shoe = darker(clothes.shoes, light)
    canvas.limb([knee, ankle], tone, width=0.06 * TALL)
    canvas.limb([hip, knee], tone, width=0.08 * TALL * clothes.build)
    canvas.limb([ankle, (ankle[0] + toe, ankle[1] + 0.01 * TALL)], shoe, width=0.05 * TALL)


def _torso(canvas: Canvas, at: Places, clothes: Clothes, facing: Facing) -> None:
    (left, top), (right, top_2) = at["left shoulder"], at["right shoulder"]
    (low_left, low), (low_right, low_2) = at["left hip"], at["right hip"]
    width = (0.06 if facing == "front" else 0.13 * clothes.build) * TALL
    for down in np.linspace(0, 1, 6):
        y = (top + top_2) / 2 * (1 - down) + (low + low_2) / 2 * down
        ends = [(left * (1 - down) + low_left * down, y), (right * (1 - down) + low_right * down, y)]
        canvas.limb(ends, clothes.shirt if down < 1 else clothes.trousers, width=width)


def _head(canvas: Canvas, at: tuple[float, float], clothes: Clothes, facing: Facing) -> None:
    x, y = at
    radius = 0.07 * TALL
    canvas.limb([(x, y), (x, y + 1.4 * radius)], darker(clothes.skin, 0.88), width=0.7 * radius)
    canvas.ellipse(x, y - 0.15 * radius, 1.06 * radius, 1.12 * radius, clothes.hair)
    to = {"left": -1.0, "right": 1.0, "front": 0.0}[facing]
    canvas.ellipse(x + 0.28 * to * radius, y + 0.18 * radius, 0.86 * radius, 0.95 * radius, clothes.skin)
    if facing == "front":
        for eye in (-0.34, 0.34):
            canvas.ellipse(x + eye * radius, y + 0.1 * radius, 0.13 * radius, 0.15 * radius, _INK)
    else:
        canvas.ellipse(x + 1.12 * to * radius, y + 0.3 * radius, 0.2 * radius, 0.16 * radius, clothes.skin)
        canvas.ellipse(x + 0.7 * to * radius, y + 0.05 * radius, 0.12 * radius, 0.15 * radius, _INK)
