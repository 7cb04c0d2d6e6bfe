"""The running service and its OpenAPI document agree, whatever is sent (schemathesis)."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from cvpipe.api import create_app
from cvpipe.keys import KeyRequest
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.api import worker
from tests.api.conftest import Service
from tests.servers import RedisServer

#: Rules between two values (`from` before `to`, a path below an open folder) have no words in a schema, and that of
#: `like` (`FRAME:OBJECT`) is not in it. Marks of a camera must determine it. How large an upload may be is up to the
#: operator.
MORE_THAN_A_SCHEMA = {
    "submitJob",
    "listFrames",
    "listEvents",
    "getClip",
    "addModel",
    "searchJob",
    "addCamera",
    "putCamera",
    "createUpload",
}
#: Of the job that the tests make: it is over, and has no gaps, embeddings, webhook or crops.
ALSO_ANSWERED = {
    **dict.fromkeys(("repairJob", "retryJob", "pauseJob", "resumeJob", "testWebhook", "redeliverMessage"), 409),
    **dict.fromkeys(("searchJob", "downloadCrop"), 404),
}

#: Of which requests are made: one for each kind of field. Each is tried with all that is wrong in any of its fields, so
#: that all of them would take minutes; tests/stages looks at each stage's options.
STAGES = {"decimate", "crop", "detect", "track", "line_zone"}

#: CVPIPE_CONTRACT_EXAMPLES asks for more than the suite does (docs/architecture/07-tests.md).
ASKED = int(os.environ.get("CVPIPE_CONTRACT_EXAMPLES", "25"))
EXAMPLES = settings(max_examples=ASKED, suppress_health_check=list(HealthCheck))


schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


def load(*modes: GenerationMode) -> Any:
    document = create_app(Settings()).openapi()
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)  # each request has a key; test_identity.py asks what happens without
    schemas = document["components"]["schemas"]
    schemas["Asked"] = deepcopy(schemas["PipelineSpec"])
    schemas["JobRequest"]["properties"]["pipeline"]["anyOf"][1] = {"$ref": "#/components/schemas/Asked"}
    stages = schemas["Asked"]["properties"]["stages"]["items"]
    kept = {kind: ref for kind, ref in stages["discriminator"]["mapping"].items() if kind in STAGES}
    stages["oneOf"] = [{"$ref": ref} for ref in kept.values()]
    stages["discriminator"]["mapping"] = kept
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(modes=list(modes))
    refusals = schema.config.checks.negative_data_rejection
    # One that is too long may be too long in all; of resumable uploads the version is looked at first.
    refusals.expected_statuses = [*refusals.expected_statuses, "412", "413"]
    schema.config.checks.missing_required_header.expected_statuses = ["412", "422"]
    return schema


anything = load(GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
valid = load(GenerationMode.POSITIVE).include(path_regex="job_id")


@pytest.fixture(scope="module")
def guarded(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("guarded")
    service = Service(
        Settings(
            redis_url=redis_server.url, data_dir=folder / "data", port=0, auth="keys", max_upload_bytes=3_000_000,
            max_body_bytes=300_000,
        )
    )  # fmt: skip
    service.start()
    yield service
    service.stop()
    answers = Counter[str]()
    for family in service.app.state.metrics.requests.collect():
        for sample in family.samples:
            answers[f"{sample.labels['status'][0]}xx"] += int(sample.value)
    print(f"\n{answers.total()} requests: {dict(sorted(answers.items()))}")
    if told := os.environ.get("CVPIPE_CONTRACT_ANSWERS"):
        with Path(told).open("a", encoding="utf-8") as file:
            file.write(json.dumps(answers) + "\n")
    assert answers["5xx"] == 0


@pytest.fixture
def service(guarded: Service, redis_url: str) -> Service:
    """A service that lets in only who has a key, knowing nothing and holding no files."""
    assert redis_url == guarded.settings.redis_url
    shutil.rmtree(guarded.settings.data_dir, ignore_errors=True)
    return guarded


@pytest.fixture
def key(store: Store, service: Service) -> str:
    """A key for everything."""
    return store.make_key(KeyRequest(name="contract", scopes=frozenset({Scope.admin})))[1]


@pytest.fixture
def api(service: Service, key: str) -> Iterator[httpx.Client]:
    """A client of the service, with the key."""
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def check(case: Any, service: Service, key: str) -> Any:
    beyond = case.operation.definition.raw["operationId"] in MORE_THAN_A_SCHEMA
    # Cases of the coverage phase pass for valid though a parameter they are not about is wrong.
    beyond = beyond or any(part.mode is GenerationMode.NEGATIVE for part in case.meta.components.values())
    excluded = [positive_data_acceptance] if beyond else []
    if any(name.lower().startswith("x-schemathesis-") for name in case.headers or ()):
        excluded.append(negative_data_rejection)  # HTTP has whoever does not know a header pass over it
    return case.call_and_validate(
        base_url=service.url,
        headers={"Authorization": f"Bearer {key}"},
        excluded_checks=excluded,
        timeout=60,  # by itself 10 s, which a busy machine may take
    )


@anything.parametrize()
@EXAMPLES
def test_whatever_is_sent_is_answered_as_documented(case: Any, service: Service, key: str) -> None:
    check(case, service, key)


@valid.parametrize()
@EXAMPLES
def test_answers_about_a_job_that_exists_are_as_documented(
    case: Any, service: Service, api: httpx.Client, store: Store, key: str
) -> None:
    listed = api.get("/v1/jobs", params={"limit": 1}).json()["jobs"]
    if listed:
        job = listed[0]["id"]
    else:  # the first example, or the one before deleted it
        job = worker.submit(api)["id"]
        worker.plan(store, job, chunks=3)
        for chunk in range(3):
            worker.work_chunk(store, job, chunk)
        exports = {"frames.ndjson": b"{}\n"}
        worker.finish(store, job, folder=service.settings.data_dir, exports=exports)
    case.path_parameters["job_id"] = job
    if "name" in case.path_parameters:
        case.path_parameters["name"] = "frames.ndjson"
    response = check(case, service, key)
    allowed = {422, ALSO_ANSWERED.get(case.operation.definition.raw["operationId"])}
    assert response.status_code < 300 or response.status_code in allowed, response.text
