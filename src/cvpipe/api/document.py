"""The OpenAPI document: what FastAPI derives from the routes, with problem documents and the options of all stages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from cvpipe import stages
from cvpipe.api.events import JobProgress
from cvpipe.api.frames import FrameRecord
from cvpipe.api.problems import Problem, problem_examples, responses
from cvpipe.api.uploads import VERSION as TUS_VERSION
from cvpipe.pipeline import PipelineSpec

if TYPE_CHECKING:
    from fastapi import FastAPI

VERSION: Final = "1"

DESCRIPTION: Final = """\
Post a recorded video and a pipeline; get one record for every frame, in order, while the job runs and after it.

1. `PUT /v1/videos` sends the video (or let the job name a file on the server).
2. `POST /v1/jobs` says which pipeline is to look at it.
3. `GET /v1/jobs/{id}/events` follows the job live; `GET /v1/jobs/{id}/frames` asks for records by time.

Errors are problem documents (RFC 9457). Their `type` is stable, and is the address of a page that says what to do.
A query parameter that an operation under `/v1` does not have is refused (422), not ignored.
Times of jobs are seconds since the epoch; times in a video are seconds since its first frame; boxes are
`x1, y1, x2, y2` in pixels of the displayed source frame.
"""

TAGS: Final = [
    {"name": "videos", "description": "Recorded files, known by their sha256."},
    {"name": "jobs", "description": "One pipeline on one video."},
    {"name": "results", "description": "What a job has found: live, by time, and as files."},
    {"name": "cameras", "description": "How pixels become places on the ground."},
    {"name": "catalogue", "description": "What pipelines can be made of."},
    {"name": "keys", "description": "Who may do what, in the name of which tenant."},
    {"name": "health", "description": "For supervisors and load balancers."},
]

_REF: Final = "#/components/schemas/"

_JOB_EXAMPLES: Final = {
    "named": {
        "summary": "A built-in pipeline on an uploaded video",
        "value": {
            "video": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "pipeline": "edges",
            "labels": {"camera": "3"},
        },
    },
    "inline": {
        "summary": "A pipeline of its own on ten seconds of a file on the server, with a webhook",
        "value": {
            "path": "/srv/videos/door.mp4",
            "range": {"from": 60, "to": 70},
            "pipeline": {
                "name": "two-a-second",
                "stages": [{"type": "decimate", "fps": 2}, {"type": "resize", "width": 640, "height": 360}],
            },
            "webhook": {"url": "https://example.com/hooks", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        },
    },
}


def build(app: FastAPI) -> dict[str, Any]:
    """The document of `app`, an OpenAPI 3.1 object."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info=app.license_info,
        separate_input_output_schemas=False,
    )
    schemas: dict[str, Any] = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _, extra = models_json_schema(
        [(Problem, "serialization"), (FrameRecord, "serialization"), (JobProgress, "serialization")],
        ref_template=_REF + "{model}",
    )
    schemas |= extra["$defs"]
    _describe_pipelines(schemas)
    _describe_jobs(document)
    _describe_events(document["paths"]["/v1/jobs/{job_id}/events"]["get"])
    _describe_headers(document["paths"])
    _describe_identity(document["paths"])
    _tidy(document)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"]["examples"] = problem_examples()
    return document


def _describe_pipelines(schemas: dict[str, Any]) -> None:
    """Stages are found when the process starts, so the union of their options is made here and not in a model."""
    kinds = stages.discover()
    _, options = models_json_schema(
        [(cls.Options, "validation") for cls in kinds.values()], ref_template=_REF + "{model}"
    )
    schemas |= options["$defs"]
    schemas.pop("StageOptions", None)
    for cls in kinds.values():
        schema = schemas[cls.Options.__name__]
        schema["required"] = ["type", *(name for name in schema.get("required", []) if name != "type")]
    pipeline = PipelineSpec.model_json_schema(ref_template=_REF + "{model}")
    pipeline.pop("$defs", None)
    pipeline["properties"]["stages"]["items"] = {
        "oneOf": [{"$ref": _REF + cls.Options.__name__} for _, cls in sorted(kinds.items())],
        "discriminator": {
            "propertyName": "type",
            "mapping": {kind: _REF + cls.Options.__name__ for kind, cls in sorted(kinds.items())},
        },
    }
    schemas["PipelineSpec"] = pipeline


def _describe_jobs(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    request = schemas["JobRequest"]
    request["properties"]["pipeline"]["anyOf"] = [
        {"type": "string", "description": "Name of a pipeline that `GET /v1/pipelines` lists."},
        {"$ref": _REF + "PipelineSpec"},
    ]
    request["oneOf"] = [
        {"required": [one], "properties": {one: {"type": "string"}, other: {"type": "null"}}}
        for one, other in (("video", "path"), ("path", "video"))
    ]
    described = schemas["Job"]["properties"]["pipeline"]["description"]
    schemas["Job"]["properties"]["pipeline"] = {"$ref": _REF + "PipelineSpec", "description": described}
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]
    body["content"]["application/json"]["examples"] = _JOB_EXAMPLES


def _describe_events(operation: dict[str, Any]) -> None:
    answer = operation["responses"]["200"]
    answer["description"] = "`progress`: data is a JobProgress; `frame`: a FrameRecord; `done`, the last one: the Job."
    # The schema is that of one event; OpenAPI has the word `itemSchema` for it only from 3.2 on.
    answer["content"] = {}
    answer["content"]["text/event-stream"] = {
        "schema": {
            "description": "Each event (https://html.spec.whatwg.org/multipage/server-sent-events.html).",
            "oneOf": [
                {
                    "type": "object",
                    "required": ["event", "data", "id"],
                    "properties": {
                        "event": {"const": kind},
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": _REF + model},
                        },
                        "id": {"type": "string", "description": "Hand it back as `Last-Event-ID`."},
                    },
                }
                for kind, model in (("progress", "JobProgress"), ("frame", "FrameRecord"), ("done", "Job"))
            ],
        },
        "example": 'event: frame\ndata: {"frame":12,"pts":6144,"time":0.48,"status":"ok","objects":[],"values":{}}\n'
        "id: 1767225600125-0_480-13\n\n",
    }


def _describe_headers(paths: dict[str, Any]) -> None:
    location = {"description": "Address of what was made.", "schema": {"type": "string", "format": "uri-reference"}}
    for path, method, statuses in (
        ("/v1/videos", "put", ("200", "201")),
        ("/v1/jobs", "post", ("202",)),
        ("/v1/models", "post", ("202",)),
    ):
        for status in statuses:
            paths[path][method]["responses"][status]["headers"] = {"Location": location}
    paths["/v1/jobs"]["post"]["responses"]["202"]["headers"]["Idempotent-Replayed"] = {
        "description": "`true`: the Idempotency-Key was known, this is its job.",
        "schema": {"type": "string", "const": "true"},
    }
    paths["/v1/jobs/{job_id}/frames"]["get"]["responses"]["200"]["headers"] = {
        "Cvpipe-Complete": {
            "description": "NDJSON without `limit`: `true` where the job was over, so that no record is missing.",
            "schema": {"type": "string", "enum": ["true", "false"]},
        }
    }
    retry = {"description": "Seconds.", "schema": {"type": "integer"}}
    for operation in _operations(paths):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "Tus-Resumable":  # without it a 412, as with another version
                schema = {"type": "string", "const": TUS_VERSION, "examples": [TUS_VERSION]}
                parameter |= {"required": True, "schema": schema}
        if "503" in operation["responses"]:
            operation["responses"]["503"]["headers"] = {"Retry-After": retry}


def _describe_identity(paths: dict[str, Any]) -> None:
    """Whatever needs a key may be refused for want of one."""
    refused = {str(status): answer for status, answer in responses("unauthenticated", "forbidden").items()}
    challenge = {"description": "How to identify oneself (RFC 6750).", "schema": {"type": "string"}}
    refused["401"]["headers"] = {"WWW-Authenticate": challenge}
    for operation in _operations(paths):
        if "security" in operation:
            told = operation["responses"]
            wrong = {status: answer for status, answer in (told | refused).items() if status >= "400"}
            operation["responses"] = {s: a for s, a in told.items() if s < "400"} | dict(sorted(wrong.items()))


def _operations(paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in paths.values():
        yield from operations.values()


def _tidy(document: dict[str, Any]) -> None:
    """Take out what FastAPI and pydantic put in that says nothing: null for parameters, titles made from names."""
    for operation in _operations(document["paths"]):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            choices = [choice for choice in schema.pop("anyOf", ()) if choice != {"type": "null"}]
            parameter["schema"] = {**schema, **choices[0]} if choices else schema
            for name in ("title", "description", "examples"):
                moved = parameter["schema"].pop(name, None)
                if name == "examples" and moved:
                    parameter["example"] = moved[0]
    for schema in document["components"]["schemas"].values():
        for described in schema.get("properties", {}).values():
            described.pop("title", None)
