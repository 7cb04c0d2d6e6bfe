"""Nothing that should not be told is in an answer, an error or a log."""

from __future__ import annotations

import logging

import httpx
import pytest

from cvpipe.scopes import Scope
from tests.api.test_identity import GUARDED, PROVIDER, WEBHOOK_SECRET, House, guarded, have, house

__all__ = ["guarded", "house"]  # fixtures


def told(answer: httpx.Response) -> str:
    return "\n".join([*(f"{name}: {value}" for name, value in answer.headers.items()), answer.text])


@pytest.mark.expects_errors
def test_no_key_secret_or_path_is_in_any_answer_or_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    right, reader = house.key(Scope.admin), house.key(Scope.read)
    mine = have(house, "listJobs")
    answers: dict[str, str] = {}
    last = {"deleteJob", "deleteVideo", "revokeKey", "removeModel", "removeCamera", "endUpload", "cancelJob"}
    for operation_id in sorted(GUARDED, key=lambda name: name in last):
        for who, key in (("right", right), ("reader", reader), ("wrong", right[:-1] + "x"), ("none", None)):
            answers[f"{operation_id} ({who})"] = told(house.ask(operation_id, key, mine))
    token = PROVIDER.token(scope="cvpipe:admin")
    for who, one in (("a token", token), *PROVIDER.bad(scope="cvpipe:admin").items()):
        for operation_id in ("listJobs", "createUpload", "submitJob"):
            answers[f"{operation_id} ({who})"] = told(house.ask(operation_id, one, mine))
    with house.client(right) as api:
        for name, path in (
            ("health", "/healthz"), ("metrics", "/metrics"), ("document", "/openapi.json"), ("nothing", "/v1/nothing"),
            ("outside", "/v1/jobs/../../etc/passwd"), ("query", f"/v1/jobs?key={right}"),
            ("token", f"/v1/jobs?access_token={token}"),
        ):  # fmt: skip
            answers[name] = told(api.get(path))
        wrong = {
            "path": "/etc/passwd",
            "pipeline": "edges",
            "webhook": {"url": "http://x.example", "secret": "whsec_?"},
        }
        answers["wrong job"] = told(api.post("/v1/jobs", json=wrong))
    # What the client of the test logs is left out.
    ours = [record for record in caplog.records if record.name.startswith(("cvpipe", "uvicorn.error"))]
    log = "\n".join(record.getMessage() for record in ours)
    assert len(answers) > 4 * len(GUARDED)
    assert "cvpipe" in answers["metrics"]
    settings = house.service.settings
    for what, secret in (
        ("a key", right[-64:]), ("another key", reader[-64:]), ("a webhook's secret", WEBHOOK_SECRET),
        ("what a token says", token.split(".")[1]), ("a token's signature", token.split(".")[2]),
        ("the data directory", str(settings.data_dir)), ("the store's address", str(settings.redis_url)),
        ("a traceback", "Traceback (most recent call last)"),
    ):  # fmt: skip
        assert [name for name, text in answers.items() if secret in text] == [], what
        assert secret not in log, what
