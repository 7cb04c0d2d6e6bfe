"""The OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvpipe import stages
from cvpipe.api import create_app, openapi
from cvpipe.settings import Settings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(data_dir=Path("/nonexistent"))).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_file_is_what_the_code_says(root: Path) -> None:
    stale = openapi.differences(root / openapi.FILE)
    assert not stale, f"run `make openapi`:\n{stale}"


def test_the_file_can_be_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "api.yaml"
    assert openapi.main([str(file), "--check"]) == 1
    assert openapi.main([str(file)]) == 0
    assert openapi.main([str(file), "--check"]) == 0
    file.write_text(file.read_text().replace("operationId: submitJob", "operationId: other"))
    assert openapi.main([str(file), "--check"]) == 1
    told = capsys.readouterr().err
    assert "-      operationId: other" in told
    assert "+      operationId: submitJob" in told


def test_the_file_reads_back_as_the_document(document: dict[str, Any]) -> None:
    assert yaml.safe_load(openapi.render()) == document


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for name, operation in operations(document):
        assert operation["summary"], name
        assert len(operation["description"]) > 40, name
        assert set(operation["tags"]) <= tags, name
        for status, response in operation["responses"].items():
            assert response["description"] != "Successful Response", name
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (name, status)
        assert "500" in operation["responses"], name
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter["name"])


def test_all_that_is_referred_to_is_there_and_all_that_is_there_is_referred_to(document: dict[str, Any]) -> None:
    referred: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            referred.update(item for key, item in value.items() if key == "$ref")
            referred.update(value.get("discriminator", {}).get("mapping", {}).values())
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(document)
    # Of the examples, those of problems that no operation answers with belong to failed jobs.
    present = {f"#/components/{kind}/{name}" for kind, items in document["components"].items() for name in items}
    assert referred <= present
    assert {name for name in present - referred if "/schemas/" in name} == set()


def test_the_options_of_every_stage_are_part_of_a_request(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    either = schemas["JobRequest"]["properties"]["pipeline"]["anyOf"]
    assert {"$ref": "#/components/schemas/PipelineSpec"} in either
    items = schemas["PipelineSpec"]["properties"]["stages"]["items"]
    assert sorted(items["discriminator"]["mapping"]) == sorted(stages.discover())
    for kind, reference in items["discriminator"]["mapping"].items():
        schema = schemas[reference.rsplit("/", 1)[-1]]
        assert schema["properties"]["type"]["const"] == kind
        assert "type" in schema["required"]


def test_examples_of_requests_are_valid_requests(document: dict[str, Any]) -> None:
    from cvpipe.job import JobRequest
    from cvpipe.pipeline import parse_pipeline

    examples = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 2
    for example in examples.values():
        request = JobRequest.model_validate(example["value"])
        if isinstance(request.pipeline, dict):
            parse_pipeline(request.pipeline)
