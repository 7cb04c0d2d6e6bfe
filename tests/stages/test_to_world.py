from __future__ import annotations

import math
import types
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.geometry.pose import Pose, rotation_vector
from cvpipe.results import FrameRecord, Objects
from cvpipe.stages.to_world import ToWorld, ToWorldOptions
from tests.geometry.views import STAND
from tests.test_camera import LENS_DOCUMENT, pitch_camera, pixel_of

EXACT = {"lens": {**LENS_DOCUMENT, "coefficients": []}, "pose": {"position": [0, -60, 18], "looks_at": [0, 0, 0]}}
TALL = 40.0  # pixels


def make_stage(camera: Any = EXACT, *, size: tuple[int, int] = (1920, 1080), **options: Any) -> ToWorld:
    stage = ToWorld(ToWorldOptions(name="to_world", camera=camera, **options))
    stage.size = size
    stage.open(types.SimpleNamespace())  # type: ignore[arg-type]
    return stage


def box_at(x: float, y: float, *, noise: Sequence[float] = (0, 0)) -> list[float]:
    """The box of somebody who stands at a place of the pitch."""
    u, v = np.array(pixel_of(x, y)) + noise
    return [u - TALL / 5, v - TALL, u + TALL / 5, v]


def make_record(
    frame: int, places: Sequence[Sequence[float]], *, fps: float = 25, tracks: Sequence[int] | None = None, **extra: Any
) -> FrameRecord:
    boxes = [box_at(*place) for place in places]
    objects = Objects.make(
        stage="people", box=boxes, score=[0.9] * len(boxes), label=["person"] * len(boxes),
        track=range(1, len(boxes) + 1) if tracks is None else tracks, **extra,
    )  # fmt: skip
    return FrameRecord(frame, frame, frame / fps, objects=objects)


def told(record: FrameRecord) -> list[dict[str, Any]]:
    return [(values or {})["to_world"] for values in record.objects.values]


def test_feet_are_on_the_ground_where_they_were_drawn() -> None:
    found = told(make_stage().update(make_record(0, [(0, 0), (-30, 12), (25, -14)])))
    for value, place in zip(found, [(0, 0), (-30, 12), (25, -14)], strict=True):
        # Boxes are kept to a hundredth of a pixel: some millimetres of ground.
        assert value["position"] == pytest.approx(place, abs=0.02)
    assert "geo" not in found[0]


def test_a_runner_has_a_speed_a_direction_and_a_way_behind_him() -> None:
    stage = make_stage()
    for frame in range(101):
        record = stage.update(make_record(frame, [(-10 + 5 * frame / 25, -5), (3, 3 - 2 * frame / 25)]))
    runner, walker = told(record)
    assert runner["speed"] == pytest.approx(5, abs=0.02)
    assert runner["direction"] % 360 == pytest.approx(0, abs=0.5)
    assert runner["distance"] == pytest.approx(20, abs=0.1)
    assert walker["direction"] == pytest.approx(270, abs=1)
    assert walker["distance"] == pytest.approx(8, abs=0.1)


def test_deviations_are_what_the_noise_of_boxes_makes() -> None:
    rng = np.random.default_rng(8)
    places = np.array([[0.0, 0.0], [-20.0, 25.0], [18.0, -20.0]])
    sigma = (0.03 * TALL * 2 / 5, 0.03 * TALL)  # across and down, as `box_deviation` says
    sigma = (max(0.5, sigma[0]), sigma[1])
    errors, speeds = [], []
    for _ in range(20):
        stage = make_stage()
        for frame in range(26):
            moved = places + np.array([2 * frame / 25, 0])
            record = make_record(frame, [(x, y) for x, y in moved])
            shifted = record.objects.box + np.tile(rng.normal(0, sigma, (3, 2)), 2).astype(np.float32)
            objects = Objects.make(
                stage="people", box=shifted, score=[0.9] * 3, label=["person"] * 3, track=record.objects.track
            )
            found = told(stage.update(FrameRecord(frame, frame, frame / 25, objects=objects)))
            errors.append([(np.array(v["position"]) - m) / v["deviation"] for v, m in zip(found, moved, strict=True)])
        speeds.append([(v["speed"] - 2) / v["speed_deviation"] for v in found])
    assert np.std(errors, axis=0) == pytest.approx(1, abs=0.2)
    assert np.std(speeds) == pytest.approx(1, abs=0.3)


def test_a_worse_calibration_makes_places_less_sure_but_distances_hardly() -> None:
    rough, fine = (
        told(make_stage(pitch_camera(pixel_deviation=d)).update(make_record(0, [(-30, 12), (-29, 12)])))
        for d in (8.0, 0.1)
    )
    assert rough[0]["deviation"][1] > 1.5 * fine[0]["deviation"][1]
    assert rough[0]["nearest"]["distance"] == pytest.approx(1, abs=0.02)
    assert rough[0]["nearest"]["deviation"] < 1.1 * fine[0]["nearest"]["deviation"]


def test_each_is_told_who_is_nearest() -> None:
    found = told(make_stage().update(make_record(0, [(0, 0), (3, 4), (20, 4)], tracks=[7, -1, 9])))
    assert [v["nearest"]["object"] for v in found] == [1, 0, 1]
    assert [v["nearest"]["track"] for v in found] == [None, 7, None]
    assert found[2]["nearest"]["distance"] == pytest.approx(17, abs=0.03)


def test_all_distances_are_told_on_request() -> None:
    record = make_stage(distances="all").update(make_record(0, [(0, 0), (3, 4), (20, 4)]))
    pairs = record.values["to_world"]["distances"]
    assert [pair["objects"] for pair in pairs] == [[0, 1], [0, 2], [1, 2]]
    assert pairs[0]["distance"] == pytest.approx(5, abs=0.02)
    with pytest.raises(ValueError, match="leave out `when`"):
        ToWorldOptions(distances="all", when="score > 0.5")
    assert "nearest" not in told(make_stage(distances="none").update(make_record(0, [(0, 0), (3, 4)])))[0]


def test_what_is_in_the_sky_has_no_place() -> None:
    sky = Objects.make(stage="birds", box=[[900, 10, 920, 20]], score=[0.9], label=["bird"])
    record = FrameRecord(0, 0, 0.0, objects=Objects.concat((make_record(0, [(0, 0)]).objects, sky)))
    found = make_stage().update(record).objects.values
    assert found[1] is None
    assert found[0] is not None
    assert "nearest" not in found[0]["to_world"]


def test_ankles_stand_where_boxes_do_not() -> None:
    left, right = pixel_of(-0.2, 3), pixel_of(0.2, 3)
    points = np.zeros((17, 3))
    points[15], points[16] = [*left, 0.9], [*right, 0.8]
    faint = points.copy()
    faint[15:, 2] = 0.1
    record = make_record(0, [(0, -3), (8, -3)], keypoints=[points, faint])
    found = told(make_stage(point="keypoints").update(record))
    assert found[0]["position"] == pytest.approx([0, 3], abs=0.02)
    assert found[1]["position"] == pytest.approx([8, -3], abs=0.02)  # not sure enough: the box


def test_latitude_longitude_and_compass() -> None:
    corners = {
        (0, 0): [48.0, 11.0],
        (10, 0): [48.0, 11.0001342],
        (10, 20): [48.00018, 11.0001342],
        (0, 20): [48.00018, 11.0],
    }
    camera = {"points": [{"pixel": pixel_of(*place), "geo": geo} for place, geo in corners.items()]}
    stage = make_stage(camera)
    for frame in range(26):
        record = stage.update(make_record(frame, [(5, 5 + 4 * frame / 25)]))
    value = told(record)[0]
    assert value["geo"] == pytest.approx([48.000081, 11.0000671], abs=2e-6)
    assert value["direction"] % 360 == pytest.approx(0, abs=1)  # north
    assert value["speed"] == pytest.approx(4, abs=0.05)


def test_a_video_of_another_size_is_understood() -> None:
    camera = {**EXACT, "width": 1920, "height": 1080}
    record = make_record(0, [(12, 5)])
    half = Objects.make(stage="people", box=record.objects.box / 2, score=[0.9], label=["person"])
    found = make_stage(camera, size=(960, 540)).update(FrameRecord(0, 0, 0.0, objects=half))
    assert told(found)[0]["position"] == pytest.approx([12, 5], abs=0.05)


@pytest.mark.parametrize("cut", [1, 13, 40])
def test_it_goes_on_in_another_process_exactly(cut: int) -> None:
    def results(moved_at: int | None) -> list[bytes]:
        stage, found = make_stage(pitch_camera()), []
        for frame in range(60):
            if frame == moved_at:
                state = msgpack.unpackb(msgpack.packb(stage.state()))
                stage = make_stage(pitch_camera())
                stage.restore(state)
            angle = frame / 20
            places = [(9 * math.cos(angle), 9 * math.sin(angle)), (frame / 30, 4)]
            found.append(stage.update(make_record(frame, places)).pack())
        return found

    assert results(cut) == results(None)


def test_damaged_frames_and_other_stages_pass_by() -> None:
    stage = make_stage(of="cars")
    record = make_record(0, [(0, 0)])
    assert stage.update(record) is record
    assert stage.references() == ("cars",)
    damaged = FrameRecord(0, 0, 0.0, status="decode_error", objects=record.objects)
    assert make_stage().update(damaged) is damaged


def test_a_stage_without_a_camera_says_so_when_it_is_opened() -> None:
    with pytest.raises(InvalidPipeline, match="'to_world' needs a camera"):
        make_stage(None)


def test_one_who_stands_still_before_a_panning_camera_stays_where_he_is() -> None:
    def seen(degrees: float, place: tuple[float, float]) -> list[float]:
        matrix = STAND.matrix @ Pose(np.radians([0, 0, degrees]), np.zeros(3)).matrix
        pose = Pose(rotation_vector(matrix), -matrix @ STAND.position)
        return pixel_of(*place, pose=pose)

    marks = [(-20, -10), (20, -10), (20, 25), (-20, 25), (0, 0)]
    views = [
        {"at": at, "points": [{"pixel": seen(degrees, place), "world": place} for place in marks]}
        for at, degrees in ((0.0, -6.0), (2.0, 6.0))
    ]
    stage = make_stage({"views": views})
    for frame in range(51):
        u, v = seen(-6 + 12 * frame / 50, (4, 7))
        objects = Objects.make(
            stage="people", box=[[u - 8, v - 40, u + 8, v]], score=[0.9], label=["person"], track=[1]
        )
        (value,) = told(stage.update(FrameRecord(frame, frame, frame / 25, objects=objects)))
        assert value["position"] == pytest.approx([4, 7], abs=0.03)
    assert (value["speed"] < 0.05, value["distance"]) == (True, 0)
