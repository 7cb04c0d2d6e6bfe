"""/v1/cameras on a running service: adding one, versions, jobs that keep theirs, chessboards."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cvpipe.broker import Bell
from cvpipe.job import JobState
from cvpipe.settings import Settings
from cvpipe.store import Store
from cvpipe.work import camera as work_on_camera
from cvpipe.work import ingest
from cvpipe.work.bench import Bench
from tests.api import worker
from tests.boards import COLUMNS, ROWS, make_board_clip
from tests.test_camera import pitch_camera, pixel_of

UNNAMED = {"name": "players", "stages": [{"type": "to_world"}]}
PLAYERS = {"name": "players", "stages": [{"type": "to_world", "camera": "stand"}]}


class _Silent(Bell):
    """Rings for nobody."""

    def __init__(self) -> None:
        pass

    def ring(self, _rings: object) -> None:
        pass

    def close(self) -> None:
        pass


def add(api: httpx.Client, status: int = 201, **changes: Any) -> dict[str, Any]:
    response = api.post("/v1/cameras", json=pitch_camera(**changes))
    assert response.status_code == status, response.text
    return response.json()


def test_a_camera_tells_how_well_its_marks_fit(api: httpx.Client) -> None:
    response = api.post("/v1/cameras", json=pitch_camera())
    assert (response.status_code, response.headers["Location"]) == (201, "/v1/cameras/stand@1")
    made = response.json()
    assert (made["name"], made["version"], made["state"]) == ("stand", 1, "ready")
    assert made["reprojection"]["marks"] == 5
    assert made["reprojection"]["rms"] == pytest.approx(0, abs=0.001)
    assert api.get("/v1/cameras/stand").json() == api.get("/v1/cameras/stand@1").json() == made
    assert api.get("/v1/cameras").json() == {"cameras": [made]}


def test_a_camera_that_fits_badly_names_its_worst_mark(api: httpx.Client) -> None:
    document = pitch_camera(lens={"fx": 1400, "fy": 1400, "cx": 959.5, "cy": 539.5})
    document["points"][1]["pixel"][1] += 25
    made = api.post("/v1/cameras", json=document).json()
    assert made["reprojection"]["worst_mark"] == "points.1"
    assert made["reprojection"]["worst"] > 2
    assert made["position"][2] > 10


def test_the_same_camera_again_is_no_new_version_and_another_one_is_a_conflict(api: httpx.Client) -> None:
    add(api)
    assert add(api, 200)["version"] == 1
    problem = add(api, 409, pixel_deviation=2.0)
    assert problem["type"].endswith("/conflict")
    assert "PUT /v1/cameras/stand" in problem["detail"]
    response = api.put("/v1/cameras/stand", json=pitch_camera(pixel_deviation=2.0))
    assert (response.status_code, response.json()["version"]) == (201, 2)
    assert api.put("/v1/cameras/stand", json=pitch_camera(pixel_deviation=2.0)).status_code == 200
    assert api.get("/v1/cameras/stand@1").json()["camera"]["pixel_deviation"] == 1
    assert api.get("/v1/cameras/stand@3").status_code == 404


def test_a_job_keeps_the_camera_that_it_began_with(api: httpx.Client) -> None:
    add(api)
    by_stage = worker.submit(api, pipeline=PLAYERS)
    by_job = worker.submit(api, pipeline=UNNAMED, camera="stand@1")
    api.put("/v1/cameras/stand", json=pitch_camera(pixel_deviation=3.0))
    assert api.delete("/v1/cameras/stand").status_code == 204
    assert api.delete("/v1/cameras/stand").status_code == 404
    for job in (by_stage, by_job):
        camera = api.get(f"/v1/jobs/{job['id']}").json()["pipeline"]["stages"][0]["camera"]
        assert (camera["name"], camera["version"], camera["pixel_deviation"]) == ("stand", 1, 1)
    inline = worker.submit(api, pipeline=UNNAMED, camera=pitch_camera(name="own"))
    assert inline["pipeline"]["stages"][0]["camera"]["name"] == "own"


@pytest.mark.parametrize(
    ("changes", "status", "field", "said"),
    [
        ({"pipeline": PLAYERS}, 404, "pipeline.stages.0.camera", "there is no camera 'stand'"),
        ({"pipeline": UNNAMED}, 422, "pipeline.stages.0.camera", "needs a camera"),
        ({"pipeline": PLAYERS, "camera": {"points": [{"pixel": [1, 2]}]}}, 422, "camera", "a point needs one of"),
    ],
)  # fmt: skip
def test_jobs_whose_camera_is_missing_or_wrong_are_refused(
    api: httpx.Client, changes: dict[str, Any], status: int, field: str, said: str
) -> None:
    video = worker.upload(api)["id"]
    response = api.post("/v1/jobs", json={"video": video, **changes})
    assert (response.status_code, response.json()["field"]) == (status, field)
    assert said in response.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"points": [{"pixel": [1, 2], "world": [0, 0]}]}, None, "at least 4 points"),
        ({"points": [{"pixel": [1, 2], "spot": "nowhere"}]}, None, "points.0: a pitch of football has no spot"),
        ({"points": [{"pixel": [1, "x"], "world": [0, 0]}]}, "points.0.pixel.1", "valid number"),
        ({"name": "No Name"}, "name", "pattern"),
    ],
)  # fmt: skip
def test_cameras_that_make_no_sense_are_refused(
    api: httpx.Client, changes: dict[str, Any], field: str | None, said: str
) -> None:
    response = api.post("/v1/cameras", json=pitch_camera(**changes))
    assert (response.status_code, response.json().get("field")) == (422, field)
    assert said in response.json()["detail"]
    assert api.get("/v1/cameras").json() == {"cameras": []}


def test_a_camera_needs_a_name_and_only_one(api: httpx.Client) -> None:
    nameless = {key: value for key, value in pitch_camera().items() if key != "name"}
    assert api.post("/v1/cameras", json=nameless).json()["field"] == "name"
    assert api.put("/v1/cameras/west", json=nameless).json()["name"] == "west"
    assert api.put("/v1/cameras/west", json=pitch_camera(name="east")).status_code == 422


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_board_clip(tmp_path_factory.mktemp("boards") / "board.mp4").read_bytes()


def test_a_worker_finds_the_lens_in_the_video_of_a_chessboard(
    api: httpx.Client, settings: Settings, store: Store, board: bytes
) -> None:
    bench = Bench(settings, store, _Silent())
    try:
        video = worker.upload(api, board)["id"]
        ingest(bench, f"probe:{worker.named(video)}")
        chessboard = {"video": video, "columns": COLUMNS, "rows": ROWS}
        # Points as this lens sees them from the stand, roughly: what matters is that they are used with it.
        places = ([-20, 0], [20, 0], [20, 20], [-20, 20], [0, 9])
        points = [{"pixel": [value / 4 for value in pixel_of(*place)], "world": place} for place in places]
        add(api, chessboard=chessboard, points=points, pitch=None)
        assert api.get("/v1/cameras/stand").json()["state"] == "calibrating"
        response = api.post("/v1/jobs", json={"video": video, "pipeline": PLAYERS})
        assert (response.status_code, response.json()["field"]) == (409, "pipeline.stages.0.camera")
        work_on_camera(bench, f"camera:{worker.named('stand')}@1")
        work_on_camera(bench, f"camera:{worker.named('stand')}@1")  # a message that came twice
        known = api.get("/v1/cameras/stand").json()
        assert known["state"] == "ready"
        assert known["camera"]["lens"]["fx"] == pytest.approx(390, abs=8)
        assert known["camera"].get("chessboard") is None
        assert len(known["position"]) == 3
        assert worker.submit(api, pipeline=PLAYERS)["state"] == JobState.queued
    finally:
        bench.close()


def test_a_video_without_a_chessboard_fails_the_camera_with_a_reason(
    api: httpx.Client, settings: Settings, store: Store, board: bytes
) -> None:
    bench = Bench(settings, store, _Silent())
    try:
        video = worker.upload(api, board)["id"]
        ingest(bench, f"probe:{worker.named(video)}")
        add(api, chessboard={"video": video, "columns": 11, "rows": 3}, points=[], pitch=None)
        work_on_camera(bench, f"camera:{worker.named('stand')}@1")
        known = api.get("/v1/cameras/stand").json()
        assert (known["state"], known["error"]["code"]) == ("failed", "invalid_request")
        assert "11 x 3 inner corners was seen whole on 0 of 12" in known["error"]["message"]
        response = api.post("/v1/jobs", json={"video": video, "pipeline": PLAYERS})
        assert "has no lens" in response.json()["detail"]
    finally:
        bench.close()


def test_a_chessboard_s_video_must_be_there(api: httpx.Client) -> None:
    response = api.post("/v1/cameras", json=pitch_camera(chessboard={"video": "0" * 64, "columns": 8, "rows": 5}))
    assert (response.status_code, response.json()["field"]) == (404, "chessboard.video")
    assert api.get("/v1/cameras").json() == {"cameras": []}
