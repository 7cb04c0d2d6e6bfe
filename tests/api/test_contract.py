"""The running service and its OpenAPI document agree, whatever is sent (schemathesis)."""

from __future__ import annotations

from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from cvpipe.api import create_app
from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.api import worker
from tests.api.conftest import Service

#: Rules between two values (`from` before `to`, a path below an open folder) have no words in a schema, and that of
#: `like` (`FRAME:OBJECT`) is not in it. Marks of a camera must determine it.
MORE_THAN_A_SCHEMA = {"submitJob", "listFrames", "getClip", "addModel", "searchJob", "addCamera", "putCamera"}
#: Of the job that the tests make: it has no gaps to repair, and no embeddings to search.
ALSO_ANSWERED = {"repairJob": 409, "searchJob": 404}

EXAMPLES = settings(max_examples=25, suppress_health_check=list(HealthCheck))


def load(*modes: GenerationMode) -> Any:
    schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
    schema.config.generation.update(modes=list(modes))
    refusals = schema.config.checks.negative_data_rejection
    refusals.expected_statuses = [*refusals.expected_statuses, "413"]  # one that is too long may be too long in all
    return schema


anything = load(GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
valid = load(GenerationMode.POSITIVE).include(path_regex="job_id")


def check(case: Any, service: Service) -> Any:
    beyond = case.operation.definition.raw["operationId"] in MORE_THAN_A_SCHEMA
    # Cases of the coverage phase pass for valid though a parameter they are not about is wrong.
    beyond = beyond or any(part.mode is GenerationMode.NEGATIVE for part in case.meta.components.values())
    return case.call_and_validate(base_url=service.url, excluded_checks=[positive_data_acceptance] if beyond else [])


@anything.parametrize()
@EXAMPLES
def test_whatever_is_sent_is_answered_as_documented(case: Any, service: Service) -> None:
    check(case, service)


@valid.parametrize()
@EXAMPLES
def test_answers_about_a_job_that_exists_are_as_documented(
    case: Any, service: Service, api: httpx.Client, store: Store
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
    response = check(case, service)
    allowed = {422, ALSO_ANSWERED.get(case.operation.definition.raw["operationId"])}
    assert response.status_code < 300 or response.status_code in allowed, response.text
