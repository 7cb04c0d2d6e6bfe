"""The demo's clip: cars and people pass a station with a clock and a scoreboard.

It is drawn, so that the truth about it is known.

`python -m examples.demo.scene CLIP.mp4` writes the clip, and the truth beside it as `CLIP.json`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import av
import numpy as np
import numpy.typing as npt

from examples.demo.cars import Car, Shape, draw_car
from examples.demo.drawing import Colour, Picture, place
from examples.demo.figures import TALL, Clothes, draw_dog, draw_person, walking
from examples.demo.layers import Figure, Layers
from examples.demo.street import CLOCK_PANEL, HEIGHT, SIGN_PANEL, WIDTH, draw_panel, draw_street
from examples.demo.truth import Box, CarTruth, FrameTruth, Truth

FPS: Final = 24
SECONDS: Final = 8
GOAL_SECONDS: Final = 4.0

_CLOCK_STARTS: Final = 7 * 60 + 55  # the minute changes on the way
_FAR_LANE: Final = 381.0  # where wheels touch the road
_NEAR_LANE: Final = 467.0


@dataclass(frozen=True, slots=True)
class Ride:
    """A car's way along the street: at `x` pixels when the clip begins, `speed` pixels per second, to the right."""

    name: str
    shape: Shape
    colour: Colour
    plate: str
    x: float
    speed: float

    @property
    def lane(self) -> float:
        """Where its wheels touch the road."""
        return _NEAR_LANE if self.speed > 0 else _FAR_LANE


# No car drives into another, and none hides another's plate. Those further away come first: they are drawn behind.
RIDES: Final = (
    Ride("red saloon", "saloon", (206, 62, 62), "BV 3975", 640, -138),
    Ride("green hatchback", "hatchback", (84, 160, 120), "MX 6284", 912, -122),
    Ride("taxi", "taxi", (246, 190, 52), "KA 4729", 120, 176),
    Ride("blue van", "van", (66, 132, 180), "RT 8351", -320, 146),
)


@dataclass(frozen=True, slots=True)
class Walk:
    """A way along the pavement, on foot: as of a `Ride`. feet: where they touch the ground. clothes: None is a dog."""

    name: str
    x: float
    speed: float
    feet: float
    clothes: Clothes | None


WALKS: Final = (
    Walk(
        "woman in blue",
        610,
        -34,
        330,
        Clothes((224, 172, 138), (70, 44, 30), (58, 96, 190), (40, 44, 60), (30, 30, 36)),
    ),
    Walk(
        "man in red", 96, 42, 336, Clothes((140, 92, 64), (26, 22, 22), (214, 60, 56), (70, 84, 120), (240, 240, 236))
    ),
    Walk("dog", 146, 42, 338, None),
    Walk(
        "woman in green",
        820,
        -46,
        342,
        Clothes((238, 200, 172), (214, 168, 84), (60, 160, 96), (196, 180, 150), (120, 60, 40), short_sleeves=True),
    ),
)
_WALK_SCALE: Final = 0.56
_PHASES: Final = 10  # pictures of one walker


def clock_text(time: float) -> str:
    """What the station's clock shows, minutes and seconds."""
    # A rounding error must not hold the clock back by a second.
    seconds = _CLOCK_STARTS + int(time + 1e-6)
    return f"{seconds // 60:02}:{seconds % 60:02}"


def sign_text(time: float) -> str:
    """What the scoreboard shows."""
    return f"LIONS {2 if time + 1e-6 < GOAL_SECONDS else 3}:1 BEARS"


class Scene:
    """Draws the clip's frames. The same on every machine, but for the last digit of a pixel."""

    def __init__(self) -> None:
        self._street = draw_street()
        self._cars = [draw_car(r.shape, r.colour, r.plate, facing_left=r.speed < 0) for r in RIDES]
        self._walkers = [_walker(walk) for walk in WALKS]
        self._panels: dict[tuple[Box, str], tuple[Picture, Box]] = {}

    def draw(self, number: int) -> tuple[npt.NDArray[np.uint8], FrameTruth]:
        """Frame `number` from 0, (height, width, 3) uint8 RGB, and what it shows."""
        time = number / FPS
        picture = self._street.copy()
        for panel, text in ((CLOCK_PANEL, clock_text(time)), (SIGN_PANEL, sign_text(time))):
            place(picture, self._panel(panel, text)[0], panel[0], panel[1])
        layers = Layers(picture)
        for walk, phases in zip(WALKS, self._walkers, strict=True):
            gone = walk.speed * time
            phase = int(abs(gone) / (0.9 * TALL * _WALK_SCALE) * _PHASES) % _PHASES
            layers.put(phases[phase], walk.x + gone, walk.feet, scale=_WALK_SCALE)
        cars = []
        for ride, car in zip(RIDES, self._cars, strict=True):
            x = ride.x + ride.speed * time
            layers.put(car.figure(x), x, ride.lane)
            cars.append(_car_truth(ride, car, x))
        shown = tuple(car for car in cars if car.box[2] > 0 and car.box[0] < WIDTH)
        things = tuple(thing.truth(WIDTH, HEIGHT) for thing in layers.shown())
        return picture, FrameTruth(number, round(time, 6), clock_text(time), sign_text(time), shown, things)

    def text_box(self, panel: Box, text: str) -> Box:
        """Where the text of a panel stands in the picture."""
        return self._panel(panel, text)[1]

    def _panel(self, panel: Box, text: str) -> tuple[Picture, Box]:
        key = (panel, text)
        if key not in self._panels:
            self._panels[key] = draw_panel(panel, text)
        return self._panels[key]


def make_clip(path: Path, *, frames: int = FPS * SECONDS) -> Truth:
    """Write the clip as H.264 in MP4, and `path` with the suffix `.json` with what it shows; returns that too.

    The file is the same each time with one version of FFmpeg. A keyframe every two seconds lets it be cut into chunks.
    """
    scene = Scene()
    shown = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 2 * FPS
        stream.codec_context.thread_count = 2  # a number of its own: the cores must not change the file
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(frames):
            picture, what = scene.draw(number)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
            shown.append(what)
        container.mux(stream.encode(None))
    truth = Truth(
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        clock_box=scene.text_box(CLOCK_PANEL, clock_text(0)),
        sign_box=scene.text_box(SIGN_PANEL, sign_text(0)),
        frames=tuple(shown),
    )
    truth.write(path.with_suffix(".json"))
    return truth


def _walker(walk: Walk) -> list[Figure]:
    """Its pictures, one for each phase."""
    phases = [number / _PHASES for number in range(_PHASES)]
    if walk.clothes is None:
        return [draw_dog(phase, (176, 128, 74), facing_left=walk.speed < 0) for phase in phases]
    facing: Literal["left", "right"] = "left" if walk.speed < 0 else "right"
    return [draw_person(walking(phase, facing, stride=0.42), walk.clothes) for phase in phases]


def _car_truth(ride: Ride, car: Car, x: float) -> CarTruth:
    y = ride.lane - car.ground
    box, plate_box = (
        (round(b[0] + x, 2), round(b[1] + y, 2), round(b[2] + x, 2), round(b[3] + y, 2))
        for b in (car.box, car.plate_box)
    )
    in_view = plate_box[0] >= 0 and plate_box[2] <= WIDTH
    return CarTruth(ride.name, ride.plate, box, plate_box, in_view)


if __name__ == "__main__":
    make_clip(Path(sys.argv[1]))
