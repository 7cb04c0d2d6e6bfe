from __future__ import annotations

from typing import Any

import pytest

from cvpipe.camera import CameraSpec, parse_camera
from cvpipe.errors import InvalidPipeline, InvalidRequest, NotFound
from cvpipe.pipeline import PipelineSpec, parse_pipeline, with_cameras
from tests.test_camera import pitch_camera


def make_pipeline(**options: Any) -> PipelineSpec:
    return parse_pipeline({"name": "players", "stages": [{"type": "edges"}, {"type": "to_world", **options}]})


def find(name: str) -> CameraSpec:
    if name != "stand":
        raise NotFound(f"there is no camera {name!r}")
    return parse_camera(pitch_camera(version=3))


def test_names_become_the_cameras_that_they_name_now() -> None:
    spec = with_cameras(make_pipeline(camera="stand"), find)
    again = parse_pipeline(spec.model_dump(mode="json"))  # as a worker reads it
    assert again.model_dump()["stages"][1]["camera"]["version"] == 3
    assert again == spec


def test_a_stage_without_a_camera_gets_that_of_the_job() -> None:
    camera = parse_camera(pitch_camera(name="other"))
    for default, name in [(camera, "other"), ("stand", "stand")]:
        found = with_cameras(make_pipeline(), find, default=default)
        assert found.model_dump()["stages"][1]["camera"]["name"] == name
    own = with_cameras(make_pipeline(camera=pitch_camera()), find, default=camera)
    assert own.model_dump()["stages"][1]["camera"]["name"] == "stand"


def test_mistakes_are_told_with_the_path_of_the_stage() -> None:
    with pytest.raises(NotFound, match="no camera 'west'") as missing:
        with_cameras(make_pipeline(camera="west"), find, field="pipeline")
    assert missing.value.field == "pipeline.stages.1.camera"
    with pytest.raises(NotFound, match="no camera 'west'") as missing:
        with_cameras(make_pipeline(), find, default="west", field="pipeline")
    assert missing.value.field == "camera"  # the job's
    with pytest.raises(InvalidPipeline, match=r"stage 2 \(to_world\) needs a camera: name one in the stage"):
        with_cameras(make_pipeline(), find)
    with pytest.raises(InvalidRequest, match="camera 'stand': wanted at least 4 points"):
        with_cameras(make_pipeline(camera=pitch_camera(points=pitch_camera()["points"][:2])), find)
    with pytest.raises(InvalidPipeline, match=r"stage 2 \(to_world\): camera: points.0: a point needs one of"):
        make_pipeline(camera={"points": [{"pixel": [1, 2]}]})


def test_pipelines_without_cameras_stay_as_they_are() -> None:
    spec = parse_pipeline({"name": "edges", "stages": [{"type": "edges"}]})
    assert with_cameras(spec, find) == spec
