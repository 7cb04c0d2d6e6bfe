"""Cameras through both clients, on the real API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cvpipe import CameraSpec
from cvpipe.errors import ApiError, InvalidRequest
from tests.api import worker
from tests.client.conftest import OneClient
from tests.client.server import Service
from tests.test_camera import pitch_camera

ConnectTo = Callable[[str], OneClient]


def test_a_camera_from_its_file_to_a_job(connect_to: ConnectTo, service: Service, tmp_path: Path) -> None:
    one = connect_to(service.url)
    document = {key: value for key, value in pitch_camera().items() if key != "name"}
    (tmp_path / "main-stand.json").write_text(json.dumps(document))
    made = one.add_camera(tmp_path / "main-stand.json")
    assert (made.name, made.version, made.state, made.reprojection.marks) == ("main-stand", 1, "ready", 5)
    assert one.add_camera(made.camera).version == 1
    with pytest.raises(ApiError, match="another camera") as conflict:
        one.add_camera({**document, "name": "main-stand", "pixel_deviation": 2})
    assert conflict.value.code == "conflict"
    assert one.add_camera({**document, "name": "main-stand", "pixel_deviation": 2}, replace=True).version == 2
    assert one.camera("main-stand@1").camera == CameraSpec.model_validate(made.camera)
    assert [camera.version for camera in one.cameras()] == [2]

    (tmp_path / "v.mp4").write_bytes(b"a video")
    video = one.upload(tmp_path / "v.mp4")
    pipeline = {"name": "players", "stages": [*worker.PIPELINE["stages"], {"type": "to_world"}]}
    job = one.submit(pipeline, video=video, camera="main-stand@1")
    assert job.pipeline["stages"][1]["camera"]["version"] == 1
    job = one.submit(pipeline, video=video, camera=tmp_path / "main-stand.json")
    assert job.pipeline["stages"][1]["camera"]["version"] is None
    one.remove_camera("main-stand")
    assert one.cameras() == []
    with pytest.raises(ApiError, match="no camera 'main-stand'"):
        one.camera("main-stand")


def test_a_camera_without_a_name_is_not_sent(connect_to: ConnectTo, service: Service) -> None:
    with pytest.raises(InvalidRequest, match="with a `name`"):
        connect_to(service.url).add_camera({"points": []})
