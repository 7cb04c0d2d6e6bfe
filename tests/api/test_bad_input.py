"""Whatever a client sends, it gets an answer that explains itself; the service never breaks."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_from_bytes

import httpx
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cvpipe import stages
from cvpipe.api.problems import TYPES
from tests.api import worker

EXAMPLES = settings(max_examples=150, suppress_health_check=list(HealthCheck))

numbers = st.integers() | st.floats() | st.sampled_from([2**63, 2**64, -(2**70), 10**400, 1e308, 5e-324, -0.0])
texts = st.text(st.characters(codec=None), max_size=40)  # with halves of surrogate pairs
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

KINDS = sorted(stages.discover())
OPTIONS = sorted({name for cls in stages.discover().values() for name in cls.Options.model_fields})
REQUEST = ("video", "path", "pipeline", "range", "priority", "labels", "webhook", "annotate", "chunk_seconds")

some_stages = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(KINDS) | values},
        optional={
            name: values | st.sampled_from(["people", 1, 640, "gray", "letterbox"])
            for name in OPTIONS
            if name != "type"
        },
    )
    | values,
    max_size=4,
)
pipelines = st.fixed_dictionaries(
    {"name": st.just("p") | values, "stages": some_stages | values}, optional={"version": values, "description": values}
)
requests = st.fixed_dictionaries(
    {"pipeline": st.sampled_from(["edges", "people"]) | st.just(worker.PIPELINE) | pipelines | values},
    optional={
        "video": values,
        "path": values | texts.map(lambda name: f"/{name}"),
        "range": st.fixed_dictionaries({}, optional={"from": numbers, "to": numbers}) | values,
        "priority": numbers,
        "labels": st.dictionaries(texts, texts, max_size=3) | values,
        "webhook": st.fixed_dictionaries({"url": texts.map(lambda host: f"http://{host}")}, optional={"secret": texts}),
        "chunk_seconds": numbers,
    },
)


def check(response: httpx.Response) -> None:
    """An answer is a success or an explained problem of the client's."""
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        code = problem["type"].removeprefix("/problems/")
        assert TYPES[code].status == response.status_code == problem["status"]
        assert problem["detail"]


@pytest.fixture
def video(api: httpx.Client) -> str:
    return str(worker.upload(api)["id"])


@EXAMPLES
@given(body=values | requests)
def test_any_json_as_a_request_is_accepted_or_explained(api: httpx.Client, video: str, body: Any) -> None:
    if isinstance(body, dict) and "path" not in body:
        body = {"video": video} | body
    response = api.post("/v1/jobs", content=json.dumps(body), headers={"Content-Type": "application/json"})
    event(str(response.status_code))
    check(response)
    if response.status_code == 202:  # then it can be read again, too
        assert api.get(response.headers["location"]).json() == response.json()


@EXAMPLES
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(["application/json", "application/json; charset=latin-1", "text/plain", ""]),
)
def test_any_bytes_as_a_request_are_explained(api: httpx.Client, body: bytes, kind: str) -> None:
    response = api.post("/v1/jobs", content=body, headers={"Content-Type": kind})
    check(response)
    assert response.status_code >= 400


ADDRESSES = (
    "/v1/jobs",
    "/v1/jobs/{}",
    "/v1/jobs/{}/frames",
    "/v1/jobs/{}/exports/{}",
    "/v1/videos/{}",
    "/docs/{}",
    "/problems/{}",
    "/{}",
)
PARAMETERS = ("from", "to", "limit", "cursor", "state", "label", "frames", "x")


@EXAMPLES
@given(
    path=st.sampled_from(ADDRESSES),
    parts=st.lists(st.binary(min_size=1, max_size=20), min_size=2, max_size=2),
    query=st.lists(st.tuples(st.sampled_from(PARAMETERS), st.binary(max_size=30)), max_size=4),
    accept=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)
def test_any_address_is_answered_or_explained(
    api: httpx.Client, path: str, parts: list[bytes], query: list[tuple[str, bytes]], accept: str
) -> None:
    address = path.format(*(quote_from_bytes(part, safe="") for part in parts))
    words = "&".join(f"{quote(name)}={quote_from_bytes(value)}" for name, value in query)
    check(api.get(f"{address}?{words}", headers={"Accept": accept.strip()}))


@EXAMPLES
@given(
    name=st.sampled_from(["Idempotency-Key", "Last-Event-ID", "Range", "Content-Encoding", "Expect"]),
    value=st.binary(max_size=40).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")),
)
def test_any_header_is_taken_or_explained(api: httpx.Client, video: str, name: str, value: bytes) -> None:
    body = json.dumps({"video": video, "pipeline": worker.PIPELINE}).encode()
    for method, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs/j/events"), ("GET", "/docs/favicon.svg")):
        headers = [(b"Content-Type", b"application/json"), (name.encode(), value.strip())]
        try:
            response = api.request(method, path, content=body if method == "POST" else None, headers=headers)
        except (
            httpx.LocalProtocolError,
            httpx.RemoteProtocolError,
            httpx.ReadError,
            httpx.WriteError,
            httpx.ReadTimeout,
        ):
            continue  # not HTTP any more: refused by the client, or by the server's parser before the service sees it
        if response.headers.get("content-type", "").startswith("application/problem+json"):
            check(response)
        assert response.status_code < 500


words = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(EXAMPLES, max_examples=50)
@given(
    labels=st.dictionaries(words.filter(bool), words, max_size=5),
    description=words,
    span=st.none() | st.fixed_dictionaries({"from": st.floats(0, 1e6)}, optional={"to": st.floats(2e6, 1e7)}),
    fps=st.floats(0, 1000, exclude_min=True),
    priority=st.integers(0, 9),
)
def test_what_is_accepted_comes_back_as_it_was(
    api: httpx.Client, video: str, labels: dict[str, str], description: str, span: Any, fps: float, priority: int
) -> None:
    pipeline = {"name": "p", "description": description, "stages": [{"type": "decimate", "fps": fps}]}
    response = api.post(
        "/v1/jobs",
        json={"video": video, "pipeline": pipeline, "labels": labels, "range": span, "priority": priority},
    )
    assert response.status_code == 202, response.text
    job = api.get(response.headers["location"]).json()
    assert job == response.json()
    assert (job["labels"], job["priority"], job["pipeline"]["description"]) == (labels, priority, description)
    assert job["pipeline"]["stages"][0]["fps"] == fps
    assert job["range"] == (None if span is None else {"from": 0, "to": None} | span)
    assert api.get("/v1/jobs", params={"limit": 1}).json()["jobs"] == [job]
