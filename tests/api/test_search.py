"""/v1/jobs/{id}/search on a running service."""

from typing import Any

import httpx
import numpy as np
import pytest

from cvpipe.embeddings import to_value
from cvpipe.results import FrameRecord
from cvpipe.store import Store
from tests.api import worker


@pytest.fixture
def job(api: httpx.Client, store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job of 30 frames with one person each, who turns by 10 degrees a frame."""
    plain = worker.make_record

    def make_record(frame: int) -> FrameRecord:
        turned = np.radians(10 * frame)
        record = plain(frame)
        value = to_value(np.array([np.cos(turned), np.sin(turned)], np.float32))
        return FrameRecord(
            frame, record.pts, record.time, objects=record.objects.with_values("who", {0: value}), values=record.values
        )

    monkeypatch.setattr(worker, "make_record", make_record)
    job = str(worker.submit(api)["id"])
    worker.run(store, job, chunks=3)
    return job


def test_the_most_alike_come_first(api: httpx.Client, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvpipe.api.search._PAGE", 7)
    body = api.get(f"/v1/jobs/{job}/search", params={"like": "12:0", "top": 3}).json()
    assert body["complete"] is True
    assert [row["frame"] for row in body["matches"]] in ([11, 13, 10], [11, 13, 14], [13, 11, 10], [13, 11, 14])
    first = body["matches"][0]
    assert first["score"] == pytest.approx(np.cos(np.radians(10)), abs=1e-3)
    assert (first["object"], first["stage"], first["label"], first["track"]) == (0, "who", "person", None)
    assert first["box"] == [first["frame"], 1, first["frame"] + 9, 20]
    assert first["time"] == first["frame"] / 10


def test_how_many_is_asked_for(api: httpx.Client, job: str) -> None:
    assert len(api.get(f"/v1/jobs/{job}/search", params={"like": "0:0"}).json()["matches"]) == 10
    assert len(api.get(f"/v1/jobs/{job}/search", params={"like": "0:0", "top": 1000}).json()["matches"]) == 29


@pytest.mark.parametrize(
    ("params", "status", "kind", "field"),
    [
        ({"like": "99:0"}, 404, "not_found", "like"),
        ({"like": "3"}, 404, "not_found", "like"),
        ({"like": "3:0", "stage": "whom"}, 404, "not_found", "like"),
        ({"like": "three"}, 422, "invalid_request", "like"),
        ({"like": "3:0", "top": 0}, 422, "invalid_request", "top"),
        ({}, 422, "invalid_request", "like"),
    ],
    ids=["no frame", "no embedding", "no stage", "no place", "none", "nothing asked"],
)
def test_what_is_wrong_is_told(
    api: httpx.Client, job: str, params: dict[str, Any], status: int, kind: str, field: str
) -> None:
    response = api.get(f"/v1/jobs/{job}/search", params=params)
    assert response.status_code == status, response.text
    assert response.json()["type"] == f"/problems/{kind}"
    assert response.json()["field"] == field


def test_an_unknown_job_is_told(api: httpx.Client) -> None:
    assert api.get("/v1/jobs/nothing/search", params={"like": "0:0"}).status_code == 404
