"""Errors as the API tells them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from cvpipe import errors
from cvpipe.api import create_app, guard, problems
from cvpipe.settings import Settings
from tests.api import worker


def subclasses(cls: type[errors.CvpipeError]) -> Iterator[type[errors.CvpipeError]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from subclasses(sub)


#: Errors that no route can meet: they arise in workers, the client or the command line.
ELSEWHERE = {
    "already_running", "call_failed", "invalid_webhook", "lease_lost", "model_loses_too_much", "outside_unavailable",
    "picture_withheld", "stage_failed", "wait_timeout",
}  # fmt: skip


@pytest.mark.parametrize("cls", sorted(set(subclasses(errors.CvpipeError)), key=lambda cls: cls.__name__))
def test_every_error_has_an_explained_type_of_its_status(cls: type[errors.CvpipeError]) -> None:
    if cls.code in ELSEWHERE or cls is errors.ApiError:
        return
    assert problems.TYPES[cls.code].status == cls.status


def test_every_type_has_a_page_that_says_what_to_do(api: httpx.Client) -> None:
    overview = api.get("/problems").text
    for code, known in problems.TYPES.items():
        page = api.get(f"/problems/{code}")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert f"<code>{code}</code>, HTTP status {known.status}." in page.text
        assert f'href="problems/{code}"' in overview
        assert "`" not in page.text
    assert api.get("/problems/nonsense").json()["type"] == "/problems/not_found"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/jobs/", 404, "not_found"),
        ("GET", "/docs/../../etc/passwd", 404, "not_found"),
        ("GET", "/docs/%2e%2e%2fapp.py", 404, "not_found"),
        ("PATCH", "/v1/jobs", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/jobs", 405, "method_not_allowed"),
    ],
)
def test_what_no_route_answers_is_a_problem_too(
    api: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    response = api.request(method, path)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["type"]) == (status, f"/problems/{code}")
    if status == 405:
        assert set(response.headers["allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        pytest.param(b"{", {"Content-Type": "application/json"}, 400, "malformed_body", id="cut off"),
        pytest.param(b"\xff\xfe{}", {"Content-Type": "application/json"}, 400, "malformed_body", id="not UTF-8"),
        pytest.param(b"[" * 15_000, {"Content-Type": "application/json"}, 400, "malformed_body", id="too deep"),
        pytest.param(b"9" * 15_000, {"Content-Type": "application/json"}, 400, "malformed_body", id="a huge number"),
        pytest.param(
            b'{"\\ud800": 1}', {"Content-Type": "application/json"}, 400, "malformed_body", id="half a character"
        ),
        pytest.param(b'{"a": NaN}', {"Content-Type": "application/json"}, 400, "malformed_body", id="no number"),
        pytest.param(b"", {"Content-Type": "application/json"}, 422, "invalid_request", id="empty"),
        pytest.param(b"[]", {"Content-Type": "application/json"}, 422, "invalid_request", id="a list"),
        pytest.param(b"null", {"Content-Type": "application/json"}, 422, "invalid_request", id="null"),
        pytest.param(b"{}", {}, 415, "unsupported_media_type", id="no type"),
        pytest.param(b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", id="plain text"),
        pytest.param(b" " * 300_001, {"Content-Type": "application/json"}, 413, "too_large", id="over the limit"),
    ],
)
def test_a_body_that_is_no_json_request_is_a_problem(
    api: httpx.Client, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    response = api.post("/v1/jobs", content=content, headers=headers)
    assert (response.status_code, response.json()["type"]) == (status, f"/problems/{code}"), response.text


def test_a_body_over_the_limit_is_refused_while_it_arrives(api: httpx.Client) -> None:
    response = api.post("/v1/jobs", content=iter([b" " * 100_000] * 4), headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["type"]) == (413, "/problems/too_large")
    assert "CVPIPE_MAX_BODY_BYTES" in response.json()["detail"]


def test_all_wrong_values_are_listed_at_once(api: httpx.Client) -> None:
    body = {"video": "x", "priority": "high", "range": {"from": -1, "until": 3}, "webhook": {}}
    problem = api.post("/v1/jobs", json=body).json()
    assert [(error["field"], error["part"]) for error in problem["errors"]] == [
        ("video", "body"),
        ("range.from", "body"),
        ("range.until", "body"),
        ("priority", "body"),
        ("webhook.url", "body"),
    ]
    assert problem["field"] == "video"
    assert problem["detail"].endswith("and 2 more")


def test_a_wrong_pipeline_is_named_without_the_inside_of_the_validator(api: httpx.Client) -> None:
    problem = api.post("/v1/jobs", json={"video": "0" * 64, "pipeline": 3}).json()
    assert [error["field"] for error in problem["errors"]] == ["pipeline"]


def test_a_malformed_body_is_told_with_the_place(api: httpx.Client) -> None:
    response = api.post("/v1/jobs", content=b'{"video": 1,}', headers={"Content-Type": "application/json"})
    assert response.json()["detail"] == "the body is not JSON: trailing comma at line 1 column 13"


@pytest.mark.expects_errors
def test_a_bug_is_a_problem_with_an_id_and_without_a_word_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings())

    @app.get("/bug")
    def bug() -> None:
        raise RuntimeError("the inside")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/bug")

    response = asyncio.run(ask())
    problem = response.json()
    assert (response.status_code, problem["type"]) == (500, "/problems/internal")
    assert response.headers["content-type"] == "application/problem+json"
    assert "inside" not in problem["detail"]
    assert problem["instance"].startswith("urn:uuid:")
    assert problem["instance"] in caplog.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_every_answer_carries_the_security_headers(api: httpx.Client) -> None:
    for path in ("/v1/jobs", "/nowhere", "/healthz", "/metrics", "/openapi.json"):
        headers = api.get(path).headers
        assert {name: headers[name] for name in guard.SECURITY_HEADERS} == guard.SECURITY_HEADERS, path


def test_no_other_site_may_read_an_answer(api: httpx.Client) -> None:
    job = worker.submit(api)["id"]
    for method in ("GET", "OPTIONS"):
        response = api.request(
            method,
            f"/v1/jobs/{job}",
            headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
        )
        assert not [name for name in response.headers if name.startswith("access-control")]
    assert "server" not in response.headers


def test_a_problem_document_is_json_of_the_documented_shape(api: httpx.Client) -> None:
    response = api.get("/v1/jobs/none")
    assert problems.Problem.model_validate(json.loads(response.text)).model_dump(exclude_none=True) == {
        "type": "/problems/not_found",
        "title": "The thing named does not exist",
        "status": 404,
        "detail": "there is no job 'none'",
        "instance": "/v1/jobs/none",
    }
