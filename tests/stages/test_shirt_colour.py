from __future__ import annotations

from typing import Any

import numpy as np

from cvpipe.colours import lab_of
from cvpipe.frames import Frame, View
from cvpipe.results import Objects
from cvpipe.stages.shirt_colour import ShirtColour, ShirtColourOptions
from examples.demo.scene import WALKS, Scene

SOURCE = View.of(200, 120)


def picture(view: View = SOURCE) -> np.ndarray:
    """Two players on grass: heads, shirts and shorts; noise on the first shirt."""
    image = np.full((120, 200, 3), (40, 140, 60), np.uint8)
    for left, shirt in ((20, (40, 30, 200)), (120, (180, 60, 20))):
        image[10:26, left + 12 : left + 28] = (120, 160, 220)
        image[26:64, left + 5 : left + 35] = shirt
        image[64:110, left + 8 : left + 32] = (250, 250, 250)
    image[30:34, 20:60] = 255  # a stripe
    return image


def people(*boxes: list[float]) -> Objects:
    return Objects.make(stage="players", box=list(boxes), score=[0.9] * len(boxes), label=["person"] * len(boxes))


def colours(objects: Objects, image: np.ndarray, view: View = SOURCE, **options: Any) -> list[Any]:
    stage = ShirtColour(ShirtColourOptions(name="shirt", of="players", **options))
    (found,) = stage.process([Frame(0, 0, 0.0, view, image)], [objects])
    assert found.objects is not None
    return [(values or {}).get("shirt") for values in found.objects.values]


def test_the_colour_is_that_of_the_shirt_not_of_hair_shorts_or_grass() -> None:
    told = colours(people([20, 8, 60, 112], [120, 8, 160, 112]), picture())
    assert [value["rgb"] for value in told] == ["#c81e28", "#143cb4"]
    assert told[0]["lab"] == [43.3, 63.3, 40.0]


def test_boxes_that_leave_the_frame_count_with_what_is_on_it() -> None:
    told = colours(people([-10, 8, 60, 112], [190, 8, 230, 112], [300, 8, 340, 112]), picture())
    assert told[0] is not None
    assert told[2] is None


def test_people_too_small_to_tell_have_no_colour() -> None:
    assert colours(people([20, 8, 24, 18]), picture()) == [None]


def test_objects_of_other_stages_have_none() -> None:
    other = Objects.make(stage="balls", box=[[20, 8, 60, 112]], score=[0.9], label=["ball"])
    assert colours(other, picture()) == [None]


def test_shirts_of_the_drawn_street_have_the_colours_they_were_drawn_with() -> None:
    picture, truth = Scene().draw(0)
    boxes = [list(thing.box) for thing in truth.things if thing.label == "person"]
    assert len(boxes) == 3
    image = np.ascontiguousarray(picture[..., ::-1])
    told = colours(people(*boxes), image, View.of(image.shape[1], image.shape[0]))
    for box, value in zip(boxes, told, strict=True):
        walk = min(WALKS, key=lambda walk: abs(walk.x - (box[0] + box[2]) / 2) + (1000 if walk.clothes is None else 0))
        assert walk.clothes is not None
        assert np.linalg.norm(np.array(value["lab"]) - lab_of(walk.clothes.shirt)) < 10, walk.name
