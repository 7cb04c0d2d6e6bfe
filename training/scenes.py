"""Drawn scenes by the thousand, each with the exact truth about it; for training, and with other seeds for tests.

People walk or stand and wave, dogs walk, cars drive, one in front of the other, before all kinds of backgrounds. The
figures are those of the demo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal, get_args

import av
import cv2
import numpy as np
import numpy.typing as npt

from examples.demo.cars import Shape, draw_car
from examples.demo.drawing import Canvas, Colour
from examples.demo.figures import TALL, Clothes, Pose, draw_dog, draw_person, walking
from examples.demo.layers import Figure, Layers, Shown
from examples.demo.street import draw_street
from examples.demo.truth import FrameTruth

VERSION: Final = 1
"""Of the scenes: one more when what they show changes, which calls for a new training."""
FPS: Final = 12

SEEN: Final = (28.0, 190.0)
"""Height of the smallest and of the largest people to learn from, in pixels of what the network sees."""

Image = npt.NDArray[np.uint8]
Kind = Literal["walker", "stander", "dog", "car"]
Generator = np.random.Generator

_HEIGHTS: Final = {"walker": TALL, "stander": TALL, "dog": 65, "car": 85}
_SIZES: Final = {"walker": 1.0, "stander": 1.0, "dog": 0.55, "car": 0.65}
"""Heights, as a share of a person's as near by."""
_SPEEDS: Final = {"walker": 0.35, "stander": 0.0, "dog": 0.8, "car": 1.6}
"""Own heights per second."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One figure in all its phases. way: -1 where it goes to the left, 1 to the right."""

    kind: Kind
    phases: tuple[Figure, ...]
    way: int


@dataclass(frozen=True, slots=True)
class Part:
    """An actor's part in a scene: where it stands at first, in pixels; its height in pixels; its first phase."""

    actor: Actor
    x: float
    y: float
    tall: float
    phase: float


class Cast:
    """Actors, drawn once: drawing them takes longer than putting a scene together."""

    def __init__(self, seed: int, *, people: int = 100, dogs: int = 30, cars: int = 40, phases: int = 5) -> None:
        """phases: pictures of each walker."""
        rng = np.random.default_rng([seed, 1])
        self.actors = [_person(rng, phases) for _ in range(people)]
        self.actors += [_dog(rng, max(2, phases - 2)) for _ in range(dogs)]
        self.actors += [_car(rng) for _ in range(cars)]
        self.street = draw_street()


class Scene:
    """A background and some actors before it; they move."""

    def __init__(self, cast: Cast, rng: Generator, *, width: int, height: int, tall: tuple[float, float]) -> None:
        """A scene by chance, of width x height pixels. tall: of the furthest and of the nearest person, in pixels."""
        self._back = _background(rng, cast.street, width, height)
        self._parts = [_part(rng, cast.actors, width, height, tall) for _ in range(rng.integers(1, 7))]
        self._parts.sort(key=lambda part: part.y)
        self._screens = {
            int(rng.integers(0, len(self._parts))): (_screen(rng), float(rng.uniform(0, width)))
            for _ in range(rng.choice([0, 1], p=[0.7, 0.3]))
        }
        self._light = (rng.uniform(0.8, 1.15), rng.uniform(0.85, 1.2), rng.uniform(0.95, 1.05, 3))
        self._blur = max(0.0, rng.uniform(-0.6, 0.8))
        self._noise = max(0.0, rng.uniform(-5, 5))
        self._rng = rng

    def draw(self, time: float = 0.0) -> tuple[Image, list[Shown]]:
        """The picture at `time` in seconds, (height, width, 3) RGB, and what can be seen on it, from far to near."""
        layers = Layers(self._back.copy())
        for number, part in enumerate(self._parts):
            figures, speed = part.actor.phases, _SPEEDS[part.actor.kind]
            figure = figures[int(part.phase + time * len(figures)) % len(figures)]
            x = part.x + part.actor.way * speed * part.tall * time
            layers.put(figure, x, part.y, scale=part.tall / _HEIGHTS[part.actor.kind])
            if number in self._screens:
                screen, at = self._screens[number]
                layers.put(screen, at, part.y + 0.02 * part.tall, scale=part.tall / 100)
        return self._seen(layers.picture), layers.shown()

    def _seen(self, picture: Image) -> Image:
        """As a camera would see it."""
        gain, gamma, tint = self._light
        table = 255 * np.clip((np.linspace(0, 1, 256)[:, None] ** gamma) * gain * tint, 0, 1)
        picture = cv2.LUT(picture, table.astype(np.uint8)[None])
        if self._blur > 0.2:
            picture = cv2.GaussianBlur(picture, (0, 0), self._blur)
        if self._noise:
            grain = self._rng.standard_normal(picture.shape, np.float32) * np.float32(self._noise)
            picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
        return np.asarray(picture, np.uint8)


def pictures(cast: Cast, seed: int, *, side: int) -> Iterator[tuple[Image, list[Shown]]]:
    """Single pictures without end, (side, side, 3) RGB, with the traces of compression that video has."""
    rng = np.random.default_rng([seed, 2])
    while True:
        picture, shown = Scene(cast, rng, width=side, height=side, tall=SEEN).draw()
        quality = int(rng.integers(40, 96))
        good, packed = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
        assert good
        yield np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8), shown


def write_video(
    path: Path, cast: Cast, seed: int, *, scenes: int, frames: int, size: tuple[int, int], tall: tuple[float, float]
) -> list[FrameTruth]:
    """Write `scenes` scenes of `frames` frames each as H.264 in MP4; returns what each frame shows.

    size: (width, height). tall: of the furthest and of the nearest person, in pixels.
    """
    width, height = size
    rng = np.random.default_rng([seed, 3])
    truth: list[FrameTruth] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, FPS)
        for _ in range(scenes):
            scene = Scene(cast, rng, width=width, height=height, tall=tall)
            for step in range(frames):
                picture, shown = scene.draw(step / FPS)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = len(truth), Fraction(1, FPS)
                container.mux(stream.encode(frame))
                things = tuple(thing.truth(width, height) for thing in shown)
                truth.append(FrameTruth(len(truth), round(len(truth) / FPS, 6), "", "", (), things))
        container.mux(stream.encode(None))
    return truth


def fingerprint() -> list[int]:
    """Mean colours of the parts of one scene: numbers that change when the scenes do, and not with a rounding error."""
    cast = Cast(1, people=3, dogs=1, cars=1, phases=2)
    rng = np.random.default_rng(1)
    drawn = np.concatenate([Scene(cast, rng, width=96, height=96, tall=(40, 90)).draw()[0] for _ in range(3)])
    cells = cv2.resize(drawn, (4, 12), interpolation=cv2.INTER_AREA)
    return [int(value) for value in cells.reshape(-1)]


def _colour(rng: Generator, low: int = 20, high: int = 250) -> Colour:
    red, green, blue = (int(channel) for channel in rng.integers(low, high, 3))
    return (red, green, blue)


def _person(rng: Generator, phases: int) -> Actor:
    skin = np.array([(238, 200, 172), (224, 172, 138), (190, 134, 98), (140, 92, 64), (92, 60, 44)][rng.integers(0, 5)])
    red, green, blue = (int(channel) for channel in (skin + rng.integers(-12, 13, 3)).clip(0, 255))
    clothes = Clothes(
        skin=(red, green, blue),
        hair=_colour(rng, 15, 130),
        shirt=_colour(rng),
        trousers=_colour(rng, 20, 200),
        shoes=_colour(rng, 10, 230),
        short_sleeves=bool(rng.random() < 0.4),
        build=float(rng.uniform(0.85, 1.25)),
    )
    if rng.random() < 0.65:
        facing: Literal["left", "right"] = "left" if rng.random() < 0.5 else "right"
        stride, begin = float(rng.uniform(0.25, 0.65)), float(rng.random())
        poses = [walking(begin + n / phases, facing, stride=stride) for n in range(phases)]
        return Actor("walker", tuple(draw_person(pose, clothes) for pose in poses), -1 if facing == "left" else 1)
    return Actor("stander", tuple(draw_person(pose, clothes) for pose in _waving(rng, phases)), 0)


def _waving(rng: Generator, phases: int) -> list[Pose]:
    """Seen from the front: each arm hangs or is raised, and moves a little."""
    raised = rng.random(2) < 0.45
    arms = np.where(raised, rng.uniform(1.2, 2.7, 2), rng.uniform(0.05, 0.6, 2))
    bend = np.where(raised, rng.uniform(0.0, 1.2, 2), rng.uniform(-0.5, 0.3, 2))
    thighs, sway = rng.uniform(0.02, 0.22, 2), rng.uniform(0.05, 0.3)
    sides = np.array([1.0, -1.0])  # who faces us has the left hand on our right
    poses = []
    for phase in range(phases):
        swing = sway * np.sin(2 * np.pi * phase / phases)
        angles = [sides * (arms + swing * raised), sides * (arms + bend + 2 * swing * raised), sides * thighs]
        upper, fore, thigh = ((float(pair[0]), float(pair[1])) for pair in angles)
        poses.append(Pose("front", upper, fore, thigh, thigh, lean=float(swing * 0.1)))
    return poses


def _dog(rng: Generator, phases: int) -> Actor:
    facing_left = bool(rng.random() < 0.5)
    coat = _brown(rng)
    tail, ears, begin = float(rng.uniform(-0.6, 1)), float(rng.uniform(0.2, 1.3)), float(rng.random())
    figures = [draw_dog(begin + n / phases, coat, facing_left=facing_left, tail=tail, ears=ears) for n in range(phases)]
    return Actor("dog", tuple(figures), -1 if facing_left else 1)


def _brown(rng: Generator) -> Colour:
    light = rng.uniform(40, 230)
    red, green, blue = (round(light * share) for share in (1.0, rng.uniform(0.7, 1.0), rng.uniform(0.45, 0.95)))
    return (red, green, blue)


def _car(rng: Generator) -> Actor:
    shapes = get_args(Shape)
    facing_left = bool(rng.random() < 0.5)
    plate = "".join(chr(65 + letter) for letter in rng.integers(0, 26, 2)) + f" {rng.integers(1000, 10000)}"
    car = draw_car(shapes[rng.integers(0, len(shapes))], _colour(rng), plate, facing_left=facing_left)
    middle = (car.box[0] + car.box[2]) / 2
    figures = [car.figure(float(gone)) for gone in (0, 9)]
    centred = [Figure(f.label, f.picture, f.solid, (middle, f.ground[1])) for f in figures]
    return Actor("car", tuple(centred), -1 if facing_left else 1)


def _part(rng: Generator, actors: list[Actor], width: int, height: int, range_: tuple[float, float]) -> Part:
    people = [actor for actor in actors if actor.kind in ("walker", "stander")]
    others = [actor for actor in actors if actor.kind not in ("walker", "stander")]
    some = people if rng.random() < 0.55 else others
    actor = some[rng.integers(0, len(some))]
    low, high = range_
    tall = _SIZES[actor.kind] * low * (high / low) ** float(rng.random())
    x = float(rng.uniform(-0.05, 1.05)) * width
    y = float(np.clip(rng.uniform(tall * 0.9, height * 1.12), 0.2 * height, 1.25 * height))
    return Part(actor, x, y, tall, float(rng.uniform(0, len(actor.phases))))


def _screen(rng: Generator) -> Figure:
    """Something that only hides: a post, a bush, a box."""
    canvas = Canvas(120, 160, fineness=2)
    kind = rng.integers(0, 3)
    colour = _colour(rng)
    if kind == 0:
        canvas.rectangle(60 - rng.uniform(3, 8), 10, 60 + rng.uniform(3, 8), 158, colour)
    elif kind == 1:
        for _ in range(6):
            canvas.ellipse(60 + rng.uniform(-30, 30), 130 + rng.uniform(-20, 15), *rng.uniform(14, 26, 2), colour)
    else:
        canvas.rectangle(60 - rng.uniform(12, 45), 158 - rng.uniform(25, 80), 60 + rng.uniform(12, 45), 158, colour)
    return Figure("", canvas.finish(), canvas.solid(), (60.0, 157.0))


def _background(rng: Generator, street: Image, width: int, height: int) -> Image:
    if rng.random() < 0.35:
        tall = int(street.shape[0] * rng.uniform(0.35, 1.0))
        wide = min(street.shape[1], max(1, round(tall * width / height)))
        top, left = rng.integers(0, street.shape[0] - tall + 1), rng.integers(0, street.shape[1] - wide + 1)
        part = street[top : top + tall, left : left + wide]
        return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    mix = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    top_colour, bottom_colour = (np.array(_colour(rng, 10, 245), np.float32) for _ in range(2))
    picture = np.broadcast_to(top_colour * (1 - mix) + bottom_colour * mix, (height, width, 3)).copy()
    for cells in (3, 9, 30, 90):
        grain = rng.standard_normal((cells, max(2, cells * width // height), rng.choice([1, 3])), np.float32)
        grain = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
        picture += grain * np.float32(max(0.0, rng.uniform(-10, 15)))
    canvas = np.clip(picture, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 10)):
        _clutter(rng, canvas)
    return canvas


def _clutter(rng: Generator, canvas: Image) -> None:
    """A shape that is none of the things."""
    height, width = canvas.shape[:2]
    colour = _colour(rng)
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    wide, tall = (int(size) for size in rng.uniform(0.03, 0.4, 2) * height)
    kind = rng.integers(0, 5)
    if kind == 0:
        cv2.rectangle(canvas, (x, y), (x + wide, y + tall), colour, -1 if rng.random() < 0.7 else 2)
    elif kind == 1:
        cv2.ellipse(canvas, (x, y), (wide // 2, tall // 2), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 2:
        corners = np.array((x, y)) + rng.integers(-wide - 1, wide + 1, (int(rng.integers(3, 6)), 2))
        cv2.fillPoly(canvas, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    elif kind == 3:
        end = (x + int(rng.integers(-wide, wide + 1)), y + int(rng.integers(-tall, tall + 1)))
        cv2.line(canvas, (x, y), end, colour, int(rng.integers(1, 7)), cv2.LINE_AA)
    else:
        text = "".join(chr(65 + letter) for letter in rng.integers(0, 26, rng.integers(2, 8)))
        size = float(rng.uniform(0.3, 1.2)) * height / 256
        cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, size, colour, int(rng.integers(1, 3)), cv2.LINE_AA)
