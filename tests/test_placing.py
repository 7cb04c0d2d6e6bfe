"""Lines and zones in metres, on the ground before a calibrated camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cvpipe.camera import parse_camera
from cvpipe.engine.drawings import shapes_of
from cvpipe.errors import InvalidPipeline, NotFound
from cvpipe.pipeline import parse_pipeline, with_cameras
from cvpipe.results import FrameRecord, Objects
from tests.geometry.views import STAND
from tests.sequences import SIZE, same_wherever_cut
from tests.stages.test_to_world import EXACT
from tests.test_camera import pitch_camera, pixel_of

CAMERA = {**EXACT, "width": 1920, "height": 1080}  # stands at y = -60 and looks at the middle of the pitch
BOX = {"name": "box", "polygon": [[-10, -5], [10, -5], [10, 5], [-10, 5]]}
HALF = {"name": "half", "start": [0, -30], "end": [0, 30]}


def walk(places: Sequence[Sequence[float]], *, pan: float = 0) -> list[FrameRecord]:
    """Somebody at these places of the pitch, ten a second, before a camera that turns by so many degrees a second."""
    return meet([[place] for place in places], pan=pan)


def meet(places: Sequence[Sequence[Sequence[float]]], *, pan: float = 0) -> list[FrameRecord]:
    """The same of several, tracks 1, 2 and so on."""
    records = []
    for frame, feet in enumerate(places):
        pose = turned(pan * frame / 10)
        pixels = [np.array(pixel_of(*place, pose=pose)) / 3 for place in feet]  # SIZE is a third of the camera's
        objects = Objects.make(
            stage="people",
            box=[[u - 2, v - 12, u + 2, v] for u, v in pixels],
            score=[0.9] * len(feet),
            label=["person"] * len(feet),
            track=range(1, len(feet) + 1),
        )
        records.append(FrameRecord(frame, frame, frame / 10, objects=objects))
    return records


def turned(degrees: float) -> Any:
    """The stand's camera, looking so many metres' worth of degrees to the right."""
    if not degrees:
        return STAND
    from cvpipe.geometry.pose import Pose

    angle = np.radians(degrees)
    return Pose.looking(np.array([0.0, -60, 18]), (60 * np.sin(angle), 60 * np.cos(angle) - 60, 0.0))


def test_a_line_is_crossed_where_it_lies_on_the_ground() -> None:
    line = {"type": "line_zone", "of": "people", "units": "metres", "camera": CAMERA, "lines": [HALF]}
    found = same_wherever_cut(walk([(x, 3.0) for x in np.arange(-3, 4, 0.4)]), line)
    told = found.told("line_crossed")
    # As one looks from its start (near) to its end (far), the right side is that of the greater x.
    assert [(event["values"]["direction"], event["start_frame"]) for event in told] == [("in", 8)]
    back = same_wherever_cut(walk([(x, 3.0) for x in np.arange(3, -4, -0.4)]), line)
    assert [event["values"]["direction"] for event in back.told("line_crossed")] == ["out"]


def test_a_zone_is_entered_where_it_lies_on_the_ground() -> None:
    zone = {"type": "polygon_zone", "of": "people", "units": "metres", "camera": CAMERA, "zones": [BOX]}
    places = [(0.0, y) for y in np.arange(-12.25, 12, 0.5)]
    found = same_wherever_cut(walk(places), {**zone, "leave_seconds": 0.1})
    inside = [n for n, (_, y) in enumerate(places) if -5 < y < 5]
    counts = [record.values["polygon_zone"]["box"]["count"] for record in found.records]
    assert counts == [int(n in inside) for n in range(len(places))]
    assert [event["kind"] for event in found.told()] == ["zone_entered", "zone_left", "zone_dwell"]


def test_a_pair_is_near_where_it_is_near_on_the_ground() -> None:
    near = {"type": "proximity", "of": "people", "units": "metres", "camera": CAMERA, "distance": 2}
    # Two come to 1.5 m of each other far away; two more are as many pixels apart, close to the camera.
    far = [[(-5.0 + n / 2, 30.0), (5.0, 30.0 + 1.5), (-10.0, -25.0), (-10.0, -24.0)] for n in range(21)]
    found = same_wherever_cut(meet(far), near)
    assert found.value("proximity", 0) == {"pairs": [[3, 4, 1.0]]}
    assert found.value("proximity", 18) == {"pairs": [[3, 4, 1.0], [1, 2, 1.8]]}
    met, still = sorted(found.told("proximity"), key=lambda event: -event["start"])
    assert (met["tracks"], met["start"], met["evidence_time"]) == ([1, 2], 1.8, 2.0)
    assert met["values"]["distance"] == pytest.approx(1.5, abs=0.02)  # boxes count in hundredths of a pixel
    assert (still["tracks"], still["values"]) == ([3, 4], {"distance": 1.0, "seconds": 2.0})


def test_who_strays_from_a_path_is_told_in_metres() -> None:
    path = {"path": [[-20, 0], [20, 0], [20, 30]], "distance": 4.5, "seconds": 0}
    stray = {"type": "path_deviation", "of": "people", "units": "metres", "camera": CAMERA, **path}
    places = [(x, max(0.0, 6 - abs(x))) for x in np.arange(-8.0, 9)]
    found = same_wherever_cut(walk(places), stray)
    told = found.of_track("path_deviation", 1)
    assert told == pytest.approx([y for _, y in places], abs=0.011)
    (event,) = found.told("path_deviation")
    assert (event["start"], event["end"], event["evidence_time"]) == (0.7, 0.9, 0.8)
    spec = parse_pipeline(
        {"name": "p", "stages": [{"type": "detect", "name": "people", "model": "m"}, {"type": "track"}, stray]}
    )
    (way,) = shapes_of(spec, SIZE)
    assert way.points[-1] == pytest.approx(np.array(pixel_of(20, 30)) / 3, abs=0.01)


def test_a_zone_stays_where_it_is_while_the_camera_pans() -> None:
    views = []
    for at in (0.0, 2.0):
        points = [
            {"pixel": pixel_of(x, y, pose=turned(4 * at)), "world": [x, y]}
            for x, y in [(-20, -10), (20, -10), (20, 20), (-20, 20), (0, 5)]
        ]
        views.append({"at": at, "points": points})
    camera = {"width": 1920, "height": 1080, "views": views}
    zone = {"type": "polygon_zone", "of": "people", "units": "metres", "camera": camera, "zones": [BOX]}
    still = same_wherever_cut(walk([(9.0, 0.0)] * 21, pan=4), zone)
    assert [record.values["polygon_zone"]["box"]["count"] for record in still.records] == [1] * 21
    beyond = same_wherever_cut(walk([(11.0, 0.0)] * 21, pan=4), zone)
    assert [record.values["polygon_zone"]["box"]["count"] for record in beyond.records] == [0] * 21
    spec = parse_pipeline({"name": "p", "stages": [{"type": "detect", "name": "people", "model": "m"}, zone]})
    assert shapes_of(spec, SIZE) == ()  # it would have to move


def test_what_is_drawn_lies_around_the_ground() -> None:
    zone = {"type": "polygon_zone", "of": "people", "units": "metres", "camera": CAMERA, "zones": [BOX]}
    line = {"type": "line_zone", "of": "people", "units": "metres", "camera": CAMERA, "lines": [HALF]}
    detect = {"type": "detect", "name": "people", "model": "m"}
    spec = parse_pipeline({"name": "p", "stages": [detect, {"type": "track"}, zone, line]})
    area, way = shapes_of(spec, SIZE)
    assert area.points[0] == pytest.approx(np.array(pixel_of(-10, -5)) / 3, abs=0.01)
    assert (len(area.points), area.is_closed, len(way.points), way.is_closed) == (65, True, 17, False)
    assert way.points[-1] == pytest.approx(np.array(pixel_of(0, 30)) / 3, abs=0.01)


def test_stages_that_need_a_camera_get_it_by_name_and_others_need_none() -> None:
    def find(name: str) -> Any:
        if name != "stand":
            raise NotFound(f"there is no camera {name!r}")
        return parse_camera({"name": "stand", **CAMERA})

    zone = {"type": "polygon_zone", "zones": [BOX], "units": "metres"}
    plain = {"type": "polygon_zone", "name": "plain", "zones": [BOX]}
    spec = parse_pipeline({"name": "p", "stages": [{"type": "undistort", "camera": "stand"}, zone, plain]})
    found = with_cameras(spec, find, default="stand")
    assert [getattr(stage, "camera") and getattr(stage, "camera").name for stage in found.stages] == [  # noqa: B009
        "stand", "stand", None,
    ]  # fmt: skip
    with pytest.raises(InvalidPipeline, match=r"stage 2 \(polygon_zone\) needs a camera"):
        with_cameras(spec, find)
    bare = parse_camera({"name": "stand", **pitch_camera()})
    with pytest.raises(InvalidPipeline, match="the lens of camera 'stand' is not known") as told:
        with_cameras(spec, lambda _: bare, default="stand", field="pipeline")
    assert told.value.field == "pipeline.stages.0.camera"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"camera": "stand"}, "`camera` is for `units: metres`, not pixels"),
        ({"units": "feet"}, "units"),
    ],
)
@pytest.mark.parametrize("stage", [{"type": "polygon_zone", "zones": [BOX]}, {"type": "heat_map"}])
def test_a_camera_in_vain_is_refused(stage: dict[str, Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidPipeline, match=words):
        parse_pipeline({"name": "p", "stages": [{**stage, **options}]})


def test_a_box_has_no_edges_on_the_ground() -> None:
    stages = [{"type": "track"}, {"type": "proximity", "units": "metres", "measure": "boxes", "distance": 2}]
    with pytest.raises(InvalidPipeline, match="on the ground, from anchor to anchor is measured"):
        parse_pipeline({"name": "p", "stages": stages})
