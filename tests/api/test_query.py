"""Query parameters that do not exist are told, not ignored."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from cvpipe.api import create_app
from cvpipe.settings import Settings

VIDEO = "0" * 64
PATHS = create_app(Settings(data_dir=Path("/nonexistent"))).openapi()["paths"]
IN_PATHS = {"video_id": VIDEO, "number": "1", "format": "png", "name": "frames.ndjson", "addition_id": "0" * 32}
"""What stands in paths where any word will not do."""
OPERATIONS = [
    (method, re.sub(r"\{(\w+)\}", lambda found: IN_PATHS.get(found[1], "j1"), path))
    for path, operations in PATHS.items()
    for method in operations
]
STRICT = [(method, path) for method, path in OPERATIONS if path.startswith("/v1/")]
PROBES = ["/healthz", "/readyz", "/metrics", "/docs", "/problems", "/openapi.json"]


def test_there_are_routes_of_each_kind() -> None:
    assert {method for method, _ in STRICT} == {"get", "put", "post", "delete", "head", "options", "patch"}
    assert sum(method == "get" for method, _ in STRICT) >= 12
    assert {path for _, path in OPERATIONS} - {path for _, path in STRICT} <= set(PROBES)


@pytest.mark.parametrize(("method", "path"), STRICT, ids=str)
def test_every_route_refuses_a_parameter_that_it_does_not_know(api: httpx.Client, method: str, path: str) -> None:
    answer = api.request(method, path, params={"zzz": "1", "yyy": "2"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    if method == "head":  # has no body
        return
    problem = answer.json()
    assert (problem["type"], problem["field"]) == ("/problems/invalid_request", "zzz")
    assert [(one["part"], one["field"]) for one in problem["errors"]] == [("query", "zzz"), ("query", "yyy")]
    assert problem["detail"].startswith("zzz: there is no such query parameter")


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/jobs?limmit=5", "limmit: there is no such query parameter (did you mean 'limit'?)"),
        (f"/v1/videos/{VIDEO}/clip?form=1&to=2", "form: there is no such query parameter (did you mean 'from'?)"),
        (f"/v1/videos/{VIDEO}/frames/1.png?formt=png", "formt: there is no such query parameter (there is: width)"),
        ("/v1/stages?a=", "a: there is no such query parameter"),
        ("/v1/jobs?limit=2&limit=3&Limit=4", "Limit: there is no such query parameter (did you mean 'limit'?)"),
    ],
)
def test_the_nearest_name_is_told(api: httpx.Client, path: str, detail: str) -> None:
    assert api.get(path).json()["detail"] == detail


@pytest.mark.parametrize("path", PROBES)
def test_probes_and_pages_take_what_load_balancers_and_browsers_add(api: httpx.Client, path: str) -> None:
    assert api.get(path, params={"zzz": "1"}).status_code == 200


def test_known_parameters_are_taken(api: httpx.Client) -> None:
    params = [("state", "queued"), ("state", "failed"), ("label", "a=b"), ("limit", "5")]
    assert api.get("/v1/jobs", params=params).status_code == 200
