from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.calibration import calibrate
from cvpipe.camera import CameraSpec, parse_camera, read_camera
from cvpipe.errors import InvalidRequest
from cvpipe.geometry.pitches import pitch
from cvpipe.geometry.pose import Pose, project
from tests.geometry.views import LENS, PINHOLE, STAND, on_ground

FIELD = pitch("football")
LENS_DOCUMENT = {"fx": 1400, "fy": 1400, "cx": 959.5, "cy": 539.5, "coefficients": [-0.12, 0.03, 0.0005, -0.0004]}


def pixel_of(*place: float, lens: Any = PINHOLE, pose: Pose = STAND) -> list[float]:
    found: list[float] = project(pose, lens, on_ground([place]))[0].tolist()
    return found


def pitch_camera(**changes: Any) -> dict[str, Any]:
    """The stand's camera by spots and crossings of the football pitch that it sees."""
    return {
        "name": "stand",
        "pitch": "football",
        "points": [
            {"pixel": pixel_of(0, 0), "spot": "centre-spot"},
            {"pixel": pixel_of(0, 34), "crossing": ["halfway-line", "far-touchline"]},
            {"pixel": pixel_of(-36, 20.16), "crossing": ["left-penalty-area-front", "left-penalty-area-far"]},
            {"pixel": pixel_of(36, 20.16), "crossing": ["right-penalty-area-front", "right-penalty-area-far"]},
            {"pixel": pixel_of(9.15, 0), "spot": "centre-circle-right"},
        ],
        **changes,
    }


def test_a_camera_is_calibrated_by_spots_and_crossings_of_a_pitch() -> None:
    found = calibrate(parse_camera(pitch_camera()))
    pixels = np.array([pixel_of(-11, 7), pixel_of(30, -12)])
    located = found.ground.at(0).locate(pixels, np.ones((2, 2)))
    assert located.position == pytest.approx(np.array([[-11, 7], [30, -12]]), abs=1e-5)
    assert found.rms_pixels == pytest.approx(0, abs=1e-6)
    assert found.poses == ()


def test_a_camera_is_calibrated_by_lines_of_a_pitch() -> None:
    lines = ["far-touchline", "halfway-line", "left-penalty-area-front", "left-penalty-area-far"]
    document = {
        "pitch": "football",
        "lens": LENS_DOCUMENT,
        "lines": [
            {"line": name, "pixels": [
                pixel_of(*(np.array(FIELD.lines[name][0]) * s + np.array(FIELD.lines[name][1]) * (1 - s)), lens=LENS)
                for s in (0.35, 0.6)
            ]}
            for name in lines
        ],
    }  # fmt: skip
    found = calibrate(parse_camera(document))
    assert found.poses[0].position == pytest.approx([0, -60, 18], abs=1e-4)
    assert [miss.mark for miss in found.misses] == [f"lines.{n}" for n in range(4) for _ in range(2)]


def test_reprojection_error_names_the_mark_that_is_off() -> None:
    document = pitch_camera(lens={**LENS_DOCUMENT, "coefficients": []})  # a pose: half of the observations are spare
    document["points"][1]["pixel"][0] += 30
    document["points"].append({"pixel": pixel_of(-20, 10), "world": [-20, 10]})
    found = calibrate(parse_camera(document))
    assert found.rms_pixels is not None
    assert 2 < found.rms_pixels < 30
    assert found.worst is not None
    assert found.worst.mark == "points.1"


def test_latitudes_and_longitudes_become_metres_about_their_middle() -> None:
    corners = [[48.1370, 11.5740], [48.1370, 11.5760], [48.1380, 11.5760], [48.1380, 11.5740]]
    pixels = [[100, 900], [1800, 880], [1300, 300], [500, 310]]
    document = {"points": [{"pixel": p, "geo": c} for p, c in zip(pixels, corners, strict=True)]}
    found = calibrate(parse_camera(document))
    assert found.plane is not None
    assert (found.plane.latitude, found.plane.longitude) == pytest.approx((48.1375, 11.575))
    here = found.ground.at(0).locate(np.array(pixels, float), np.ones((4, 2))).position
    assert here[:, 0] == pytest.approx([-74.4, 74.4, 74.4, -74.4], abs=0.1)  # 0.002 degrees of 74,400 m
    assert found.plane.to_degrees(here) == pytest.approx(np.array(corners), abs=1e-9)


def test_a_pose_says_all_and_its_deviations_make_it_unsure() -> None:
    document = {"lens": LENS_DOCUMENT, "pose": {"position": [0, -60, 18], "looks_at": [0, 0, 0]}}
    pixels = np.array([pixel_of(10, 5, lens=LENS)])
    exact = calibrate(parse_camera(document)).ground.at(0)
    located = exact.locate(pixels, np.zeros((1, 2)))
    assert located.position == pytest.approx(np.array([[10, 5]]), abs=1e-6)
    assert exact.covariance_of(located) == pytest.approx(0, abs=1e-12)
    document["pose"] |= {"angle_deviation": 0.1, "position_deviation": 0.05}
    unsure = calibrate(parse_camera(document)).ground.at(0)
    said = np.sqrt(np.diag(unsure.covariance_of(unsure.locate(pixels, np.zeros((1, 2))))[0]))
    rng, found = np.random.default_rng(3), []
    for _ in range(250):  # turned about its own axes, and moved
        wrong = Pose.looking(np.array([0, -60, 18]) + rng.normal(0, 0.05, 3), [0, 0, 0])
        turn = Pose(rng.normal(0, np.radians(0.1), 3), np.zeros(3)).matrix
        matrix = turn @ STAND.matrix
        sees = CameraSpec.model_validate(
            {
                "lens": LENS_DOCUMENT,
                "pose": {"position": wrong.position.tolist(), "rotation": _vector(matrix)},
            }
        )
        found.append(calibrate(sees).ground.at(0).locate(pixels, np.zeros((1, 2))).position[0])
    assert np.array(found).std(axis=0) == pytest.approx(said, rel=0.15)


def _vector(matrix: Any) -> list[float]:
    from cvpipe.geometry.pose import rotation_vector

    return list(rotation_vector(matrix))


def test_a_camera_that_pans_has_a_view_for_each_time() -> None:
    first = pitch_camera()["points"]
    second = [{**point, "pixel": [point["pixel"][0] - 300, point["pixel"][1]]} for point in first]
    found = calibrate(parse_camera({"pitch": "football", "views": [
        {"at": 0, "points": first}, {"at": 4, "points": second}]}))  # fmt: skip
    spot = np.array([pixel_of(0, 0)])
    for time, moved in [(0.0, 0), (2.0, 150), (4.0, 300)]:
        located = found.ground.at(time).locate(spot - [[moved, 0]], np.ones((1, 2)))
        assert located.position == pytest.approx(np.zeros((1, 2)), abs=1e-4)
    assert found.misses[5].mark == "views.1.points.0"


def test_a_camera_is_the_same_at_another_size() -> None:
    spec = parse_camera(pitch_camera(width=1920, height=1080, lens={**LENS_DOCUMENT, "coefficients": []}))
    half = spec.scaled(960, 540)
    located = calibrate(half).ground.at(0).locate(np.array([pixel_of(-11, 7)]) / 2, np.ones((1, 2)))
    assert located.position == pytest.approx(np.array([[-11, 7]]), abs=1e-4)
    assert half.pixel_deviation == 0.5
    assert spec.scaled(1920, 1080) is spec
    assert parse_camera(pitch_camera()).scaled(960, 540).points[0].pixel == tuple(pixel_of(0, 0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"points": []}, "give `points`, `lines`, `views`, or a `lens` and a `pose`"),
        ({"points": [{"pixel": [1, 2]}]}, "points.0: a point needs one of .*; got none"),
        ({"points": [{"pixel": [1, 2], "world": [0, 0], "spot": "x"}]}, "got world and spot"),
        ({"points": [{"pixel": [1], "world": [0, 0]}]}, r"points.0.pixel.1 is missing"),
        ({"pitch": "soccer"}, "pitch.kind"),
        ({"pose": {"position": [0, 0, 5], "looks_at": [9, 9, 0]}}, "`pose` or `points`, not both"),
        ({"points": [], "pose": {"position": [0, 0, 5], "looks_at": [9, 9, 0]}}, "a `pose` needs a `lens`"),
        ({"width": 100}, "both `width` and `height`"),
        ({"focal": 3}, "focal is not known here"),
        ({"points": [], "views": [{"at": 2}, {"at": 1}]}, "in order of their times"),
    ],
)  # fmt: skip
def test_a_camera_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        parse_camera(pitch_camera(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pitch": None}, "points.0: name the `pitch`"),
        ({"points": [{"pixel": [1, 2], "spot": "middle"}]}, "points.0: a pitch of football has no spot 'middle'; it"),
        ({"points": [{"pixel": [1, 2], "crossing": ["left-goal-line", "halfway-line"]}]}, "parallel"),
        ({"points": [], "lines": [{"line": "baseline", "pixels": [[1, 2]]}]}, "lines.0: .* no line 'baseline'"),
        ({"points": [{"pixel": [1, 2], "world": [0, 0]}]}, "at least 4 points"),
        ({"points": [{"pixel": [1, 2], "world": [0, 0]}, {"pixel": [3, 4], "geo": [1, 1]}]}, "or none of them"),
        ({"points": [], "lens": LENS_DOCUMENT}, "knows its lens only"),
        ({"points": [{"pixel": [n, n * n], "world": [n, 0, 1]} for n in range(5)]}, "need a lens"),
    ],
)  # fmt: skip
def test_a_camera_that_can_t_be_calibrated_says_why(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=f"camera 'stand': .*{said}"):
        calibrate(parse_camera(pitch_camera(**changes)))


def test_a_camera_is_read_from_yaml_and_json(tmp_path: Path) -> None:
    document = pitch_camera()
    del document["name"]
    (tmp_path / "main.json").write_text(json.dumps(document))
    assert read_camera(tmp_path / "main.json").name == "main"
    (tmp_path / "west.yaml").write_text("points:\n- {pixel: [1, 2], world: [0, 0]}\n")
    assert read_camera(tmp_path / "west.yaml").points[0].pixel == (1, 2)
    (tmp_path / "bad.yaml").write_text("points: [1")
    with pytest.raises(InvalidRequest, match=r"is not valid YAML or JSON: line 1, column 11: expected ',' or '\]'"):
        read_camera(tmp_path / "bad.yaml")
    with pytest.raises(InvalidRequest, match="no such file"):
        read_camera(tmp_path / "none.yaml")
