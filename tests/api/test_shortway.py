"""Submissions answered before FastAPI sees them: as FastAPI would have."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.api import worker

ORDINARY = {"content-type": "application/json; charset=utf-8"}
"""Another spelling of the same media type, which goes the ordinary way."""


def posted(api: httpx.Client, body: bytes, **headers: str) -> list[tuple[int, dict[str, str], Any]]:
    """Status, headers and body of the answers by the short and by the ordinary way, without what is each job's own."""
    found = []
    for media_type in ({"content-type": "application/json"}, ORDINARY):
        answer = api.post("/v1/jobs", content=body, headers={**headers, **media_type})
        text = re.sub(r"\b[0-9a-z]{26}\b", "ID", answer.text)
        text = re.sub(r'"created_at":[0-9.]+', '"created_at":0', text)
        text = re.sub(r"\b\d+ jobs? ahead|a free worker", "SOME ahead", text)
        kept = {
            name: value for name, value in answer.headers.items() if name not in ("date", "location", "content-length")
        }
        found.append((answer.status_code, kept, text))
    return found


def test_a_job_is_answered_the_same_by_both_ways(api: httpx.Client) -> None:
    video = worker.upload(api)["id"]
    body = httpx.Request(
        "POST",
        "http://x",
        json={"video": video, "pipeline": worker.PIPELINE, "labels": {"ort": "Straße"}, "priority": 7},
    ).content
    short, ordinary = posted(api, body)
    assert short == ordinary
    assert short[0] == 202
    assert '"ort":"Straße"' in short[2]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 422, id="nothing"),
        pytest.param(b"{", 400, id="no JSON"),
        pytest.param(b'{"path": "/x", "pipeline": "edges", "chunk_seconds": NaN}', 400, id="no number"),
        pytest.param(b'{"path": "/x", "pipeline": "edges", "priority": true}', 422, id="true is no number"),
        pytest.param(b'{"path": "/x", "pipelin": "edges"}', 422, id="a word misspelt"),
        pytest.param(b'{"path": "/x", "pipeline": "edge"}', 404, id="no such pipeline"),
        pytest.param(b'{"path": "/etc/passwd", "pipeline": "edges"}', 422, id="a path outside"),
        pytest.param(b'{"video": "' + b"0" * 64 + b'", "pipeline": "edges"}', 404, id="no such video"),
        pytest.param(
            b'{"path": "/x", "pipeline": "edges", "labels": {"a": "' + b"x" * 300_000 + b'"}}', 413, id="long"
        ),
    ],
)
def test_what_is_wrong_is_told_the_same_by_both_ways(api: httpx.Client, body: bytes, status: int) -> None:
    short, ordinary = posted(api, body)
    assert short == ordinary
    assert short[0] == status
    assert short[1]["content-type"] == "application/problem+json"


def test_an_idempotency_key_holds_across_both_ways(api: httpx.Client) -> None:
    request = {"video": worker.upload(api)["id"], "pipeline": worker.PIPELINE}
    first = api.post("/v1/jobs", json=request, headers={"Idempotency-Key": "k"})
    again = api.post("/v1/jobs", json=request, headers={"Idempotency-Key": "k", **ORDINARY})
    assert again.json()["id"] == first.json()["id"]
    assert [answer.headers.get("idempotent-replayed") for answer in (first, again)] == [None, "true"]


def test_a_query_is_looked_at(api: httpx.Client) -> None:
    request = {"video": worker.upload(api)["id"], "pipeline": worker.PIPELINE}
    assert api.post("/v1/jobs?priority=9", json=request).json()["field"] == "priority"


def test_a_submission_is_counted_under_its_route(api: httpx.Client) -> None:
    def counted() -> float:
        found = re.search(
            r'cvpipe_http_requests_total\{method="POST",route="/v1/jobs",status="202"\} ([0-9.]+)',
            api.get("/metrics").text,
        )
        return float(found[1]) if found else 0.0

    before = counted()
    worker.submit(api)
    assert counted() == before + 1
