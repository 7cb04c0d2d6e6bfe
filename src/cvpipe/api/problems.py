"""Errors as the API tells them: RFC 9457 problem documents, and a page for each that says what to do about it."""

from __future__ import annotations

import html
import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any, Final, Literal, NamedTuple

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Route

from cvpipe.api.docs import page
from cvpipe.errors import CvpipeError, NotFound, QuotaExceeded, explain

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 2

_log = logging.getLogger(__name__)

Part = Literal["body", "query", "path", "header"]


class FieldError(BaseModel):
    """One thing wrong with one value."""

    field: str = Field(description="Path of the value, such as `pipeline.stages.1.fps`; empty: the whole part.")
    part: Part = Field(description="Where in the request the value is.")
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). `type` is stable and leads to a page that explains it."""

    type: str = Field(description="`/problems/<code>`: decide by this, not by the words.")
    title: str = Field(description="What kind of problem it is; the same for every problem of a type.")
    status: int = Field(ge=400, le=599, description="The HTTP status, once more.")
    detail: str = Field(description="What was wanted, what came, and what to do.")
    instance: str | None = Field(
        default=None, description="What the request was about; of an internal error, its id in the log."
    )
    field: str | None = Field(
        default=None, description="Path of the first offending value, such as `pipeline.stages.1.fps`."
    )
    errors: list[FieldError] | None = Field(default=None, description="Everything that is wrong with the values sent.")


class ProblemType(NamedTuple):
    """One kind of problem: its HTTP status, its title, and what the one who meets it can do."""

    status: int
    title: str
    remedy: str


TYPES: Final[Mapping[str, ProblemType]] = {
    "malformed_body": ProblemType(
        400,
        "The body is not JSON",
        "Send one JSON document, in UTF-8.",
    ),
    "unauthenticated": ProblemType(
        401,
        "No API key came and no token, or none that is good",
        "Send `Authorization: Bearer cvp_...`. `cvpipe keys create`, on the machine of the service, makes a key. "
        "A token of an identity provider is taken where the operator has named one.",
    ),
    "forbidden": ProblemType(
        403,
        "The key may not do this",
        "Use a key with the scope that the detail names, or ask the operator for one.",
    ),
    "not_found": ProblemType(
        404,
        "The thing named does not exist",
        "Check the id or the name; what is past its retention or deleted is gone.",
    ),
    "method_not_allowed": ProblemType(
        405,
        "The address does not know this method",
        "Use one of the methods in the header Allow.",
    ),
    "not_acceptable": ProblemType(
        406,
        "No form of the answer that the client accepts",
        "Ask for a media type that the operation's page lists, or send no Accept header.",
    ),
    "conflict": ProblemType(
        409,
        "The state of the thing forbids the request",
        "Read its state again, then decide.",
    ),
    "precondition_failed": ProblemType(
        412,
        "Another version of the protocol of resumable uploads",
        "Send `Tus-Resumable: 1.0.0`, the version that the header Tus-Version of the answer names.",
    ),
    "checksum_mismatch": ProblemType(
        460,
        "A part of an upload arrived changed",
        "Send the part again: the upload is where it was before.",
    ),
    "too_large": ProblemType(
        413,
        "The request is over a limit",
        "Send less, or ask the operator to raise the limit that the detail names.",
    ),
    "quota_exceeded": ProblemType(
        429,
        "The key has taken what it may for now",
        "Try again after the seconds in the header Retry-After, or ask the operator for a larger quota.",
    ),
    "out_of_space": ProblemType(
        507,
        "There is no room for what was sent",
        "Delete videos that are no longer needed, or ask the operator to make room or to raise the quota.",
    ),
    "unsupported_media_type": ProblemType(
        415,
        "The body is of a media type that is not read here",
        "Send JSON with `Content-Type: application/json`, and videos as raw bytes, not as a form.",
    ),
    "range_not_satisfiable": ProblemType(
        416,
        "The file has no such part",
        "Ask for a part inside the file, whose size is in the header Content-Range, or leave out Range.",
    ),
    "invalid_request": ProblemType(
        422,
        "A value of the request is wrong",
        "Correct the values listed under `errors`.",
    ),
    "address_refused": ProblemType(
        422,
        "The address may not be called",
        "Give the final http or https address of a server that everybody can reach. The operator opens private "
        "networks with CVPIPE_OUTSIDE_NETWORKS, and the service's own machine with CVPIPE_OUTSIDE_LOOPBACK.",
    ),
    "invalid_pipeline": ProblemType(
        422,
        "The pipeline is wrong",
        "Correct the value at `field`. GET /v1/stages lists all stages and the schema of their options.",
    ),
    "invalid_stage": ProblemType(
        500,
        "A file that should hold a stage does not",
        "Nothing is wrong with the request. The operator mends the file that `detail` names, or takes it away.",
    ),
    "invalid_model": ProblemType(
        422,
        "A model's card or file is wrong",
        "Correct the card in the folder of models. GET /v1/models lists the models that can be read.",
    ),
    "model_unreadable": ProblemType(
        422,
        "Not an ONNX file, or damaged",
        "Export the network as one ONNX file, and send that.",
    ),
    "model_external_data": ProblemType(
        422,
        "The model's weights are kept in other files",
        "Save the model with all of its data in one file: `onnx.save(onnx.load(FILE), NEW)`.",
    ),
    "model_too_complex": ProblemType(
        422,
        "The model's graph is larger or more deeply nested than accepted",
        "Simplify the graph when exporting it, with constants folded.",
    ),
    "model_unsupported": ProblemType(
        422,
        "ONNX Runtime does not know an operator or a type of the model",
        "Export the model for an operator set that ONNX Runtime implements, without operators of your own.",
    ),
    "model_unrecognised": ProblemType(
        422,
        "No family reads the outputs of the model",
        "Name a family, and what its outputs need; the page on models lists all families with their layouts.",
    ),
    "model_memory": ProblemType(
        422,
        "Loading or running the model takes more memory than allowed",
        "Ask the operator to raise CVPIPE_MODEL_MEMORY_BYTES, or export the model for a smaller picture.",
    ),
    "model_timeout": ProblemType(
        422,
        "Loading or running the model takes longer than allowed",
        "Ask the operator to raise CVPIPE_MODEL_TIMEOUT_SECONDS, or export the model for a smaller picture.",
    ),
    "model_crashed": ProblemType(
        422,
        "The process that tried the model died",
        "ONNX Runtime fails on this model. Check it with the ONNX checker, and export it anew.",
    ),
    "video_error": ProblemType(
        422,
        "The video cannot be used",
        "Try another copy of the video, or convert it first.",
    ),
    "media_unreadable": ProblemType(
        422,
        "The file is no video, or damaged beyond reading",
        "See if the file plays elsewhere; send it again if the copy is broken.",
    ),
    "media_truncated": ProblemType(
        422,
        "The file is cut off before anything of it can be seen",
        "Send the whole file. A recording that was cut short may be mended with a repair tool for its container.",
    ),
    "frame_damaged": ProblemType(
        422,
        "The frame asked for is damaged",
        "Ask for a frame before it, or from the next keyframe on; a better copy of the file may have it whole.",
    ),
    "frames_damaged": ProblemType(
        422,
        "Some frames of the video are damaged",
        "The others have results; the job's `gaps` name those that have none. A better copy of the file may have them.",
    ),
    "no_video_stream": ProblemType(
        422,
        "There is no video stream to look at",
        "Send a file with a video stream, or name a stream that `cvpipe video probe` lists.",
    ),
    "encrypted": ProblemType(
        422,
        "The video is encrypted",
        "Decrypt it first; cvpipe takes no keys.",
    ),
    "format_not_allowed": ProblemType(
        422,
        "The container is not on the list of allowed ones",
        "Convert the file, for example to MP4 or Matroska; a stream copy is enough.",
    ),
    "codec_not_allowed": ProblemType(
        422,
        "The codec is not on the list of allowed ones",
        "Convert the video, for example to H.264 in MP4.",
    ),
    "pixel_format_unsupported": ProblemType(
        422,
        "The pictures are of a kind that cannot be converted",
        "Convert the video, for example to H.264 with the pixel format yuv420p.",
    ),
    "bad_dimensions": ProblemType(
        422,
        "The pictures have no size, or are too long on one side",
        "See if the file plays elsewhere; scale it down if it does.",
    ),
    "too_many_pixels": ProblemType(
        422,
        "The pictures are larger than allowed",
        "Scale the video down, or ask the operator to raise CVPIPE_MAX_PIXELS.",
    ),
    "too_many_streams": ProblemType(
        422,
        "The file has more streams than allowed",
        "Copy the streams that matter into a file of their own.",
    ),
    "too_many_frames": ProblemType(
        422,
        "The video has more frames than allowed",
        "Cut it into several files.",
    ),
    "too_much_memory": ProblemType(
        422,
        "Decoding the video takes more memory than allowed",
        "Scale the video down, or ask the operator to raise CVPIPE_DECODER_MEMORY_BYTES.",
    ),
    "input_changed": ProblemType(
        422,
        "The file is no longer the one that the work began with",
        "Submit the job again once nothing writes to the file any more.",
    ),
    "decode_timeout": ProblemType(
        422,
        "Decoding took longer than allowed",
        "Repair the job if the machine was only busy; else convert the video, or raise CVPIPE_DECODER_TIMEOUT_SECONDS.",
    ),
    "decoder_crashed": ProblemType(
        422,
        "The decoder process died",
        "The part of the video was tried again; if it crashes the decoder each time, convert the video.",
    ),
    "internal": ProblemType(
        500,
        "Something broke inside the service",
        "The service's log says more under the id in `instance`. Please report it.",
    ),
    "extra_missing": ProblemType(
        501,
        "A feature is not installed",
        "Ask the operator to install the extra that the detail names.",
    ),
    "unavailable": ProblemType(
        503,
        "Something the service needs does not answer",
        "Try again after the seconds in the header Retry-After.",
    ),
    "store_unavailable": ProblemType(
        503,
        "The store does not answer",
        "Try again after the seconds in the header Retry-After. Nothing that was acknowledged is lost.",
    ),
    "decoder_unavailable": ProblemType(
        503,
        "No decoder process can be started",
        "Try again after the seconds in the header Retry-After; the worker's log says why.",
    ),
    "gpu_out_of_memory": ProblemType(
        503,
        "The GPU's memory does not hold one picture's work",
        "Use a smaller network or input size, or lower CVPIPE_LOADED_MODELS_BYTES so that fewer models share the GPU.",
    ),
    "no_room_for_models": ProblemType(
        507,
        "The models of the pipeline are larger than the memory set aside for them",
        "Use smaller models or fewer at once, or ask the operator to raise CVPIPE_LOADED_MODELS_BYTES.",
    ),
    "device_unavailable": ProblemType(
        503,
        "A device was asked for by name and is not there",
        "Start a worker on a machine that has the device, or let `device` be `auto`.",
    ),
}
"""By code, the last part of `type`. Codes of failed jobs are the same words."""

_CODE_OF_STATUS: Final = {
    400: "malformed_body",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_request",
    503: "unavailable",
}


class HttpProblem(Exception):
    """A problem of HTTP itself, raised by a route: `code` is a key of TYPES."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = headers


class ProblemResponse(JSONResponse):
    """A problem document on its way out."""

    media_type = MEDIA_TYPE


def respond(
    code: str,
    detail: str,
    *,
    status: int | None = None,
    instance: str | None = None,
    field: str | None = None,
    errors: Sequence[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """The answer for a problem of the type `code`."""
    known = TYPES.get(code, TYPES["internal"])
    problem = Problem(
        type=f"/problems/{code}",
        title=known.title,
        status=status or known.status,
        detail=detail,
        instance=instance,
        field=field or None,
        errors=list(errors) if errors else None,
    )
    sent = dict(headers or {})
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        sent.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return ProblemResponse(problem.model_dump(exclude_none=True), status_code=problem.status, headers=sent)


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What a route declares in its OpenAPI `responses` for the problems `codes`."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(TYPES[code].status, []).append(code)
    return {
        status: {
            "description": " ".join(f"{TYPES[code].title} (`{code}`)." for code in some),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in some},
                }
            },
        }
        for status, some in sorted(by_status.items())
    }


def problem_examples() -> dict[str, dict[str, Any]]:
    """An example of each type, for the components of an OpenAPI document."""
    return {
        code: {
            "summary": known.title,
            "value": {
                "type": f"/problems/{code}",
                "title": known.title,
                "status": known.status,
                "detail": known.remedy,
            },
        }
        for code, known in TYPES.items()
    }


def install(app: FastAPI) -> None:
    """Have `app` answer every error with a problem document. `app.state.routes`: all its routes."""
    app.add_exception_handler(CvpipeError, on_cvpipe_error)
    app.add_exception_handler(HttpProblem, _on_http_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


async def on_cvpipe_error(request: Request, error: Exception) -> ProblemResponse:
    """The answer for an error of ours."""
    assert isinstance(error, CvpipeError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("%s %s: %s: %s", request.method, request.url.path, error.code, error)
    return respond(
        error.code,
        error.message,
        status=error.status,
        instance=request.url.path,
        field=error.field,
        headers=retry_after(error),
    )


def retry_after(error: CvpipeError) -> dict[str, str]:
    """The header that says when to try again, where the error knows."""
    return {"Retry-After": str(max(1, ceil(error.retry_after_seconds)))} if isinstance(error, QuotaExceeded) else {}


async def _on_http_problem(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HttpProblem)
    return respond(error.code, error.detail, instance=request.url.path, headers=error.headers)


async def _on_http_exception(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    code = _CODE_OF_STATUS.get(error.status_code, "invalid_request" if error.status_code < 500 else "internal")
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:  # Starlette's own words say nothing more than the status
        detail = f"{request.method} {request.url.path}: {TYPES[code].title.lower()}"
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)  # Starlette names the methods of the first route that fits, not of all
    return respond(code, detail, status=error.status_code, instance=request.url.path, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of all routes with the request's path."""
    routes: Sequence[Route] = request.app.state.routes
    fitting = [route.methods or () for route in routes if route.path_regex.match(request.scope["path"])]
    return ", ".join(sorted(method for methods in fitting for method in methods))


async def _on_bug(request: Request, error: Exception) -> ProblemResponse:
    instance = uuid.uuid4().urn
    # The server logs the traceback right after this; the line here ties it to the answer.
    _log.error("%s %s failed: %s: %s", request.method, request.url.path, instance, type(error).__name__)
    return respond("internal", "The service's log has the details.", instance=instance)


async def _on_validation_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        detail = f"the body is not JSON: {first.get('ctx', {}).get('error', 'syntax error')}"
        return respond("malformed_body", detail, instance=request.url.path)
    if isinstance(error.body, bytes):  # FastAPI hands the body on unread where it is not declared to be JSON
        sent = request.headers.get("content-type")
        detail = f"wanted Content-Type application/json, got {sent or 'none'}"
        return respond("unsupported_media_type", detail, instance=request.url.path)
    found: dict[tuple[Part, str], FieldError] = {}
    for item in error.errors():
        one = _field_error(item, error.body)
        found.setdefault((one.part, one.field), one)
    errors = list(found.values())
    detail = "; ".join(f"{one.field or one.part}: {one.detail}" for one in errors[:3])
    if len(errors) > 3:
        detail += f"; and {len(errors) - 3} more"
    return respond("invalid_request", detail, instance=request.url.path, field=errors[0].field, errors=errors)


def _field_error(item: Mapping[str, Any], body: Any) -> FieldError:
    part, *path = item["loc"]
    if part == "body":
        path = _path_in(body, path, missing=item["type"] == "missing")
    return FieldError(
        field=".".join(str(step) for step in path),
        part=part if part in ("body", "query", "path", "header") else "body",
        detail=explain(item),
    )


def _path_in(body: Any, path: Sequence[str | int], *, missing: bool) -> list[str | int]:
    """The steps of pydantic's `loc` that lead through the body; the rest name members of unions."""
    steps: list[str | int] = []
    value = body
    for number, step in enumerate(path):
        if isinstance(value, Mapping):
            leads = step in value
        else:
            leads = isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)
        if leads:
            value = value[step]
        if leads or (missing and number == len(path) - 1):
            steps.append(step)
    return steps


router = APIRouter(include_in_schema=False)


@router.get("/problems")
async def list_problems() -> HTMLResponse:
    """All problem types on one page."""
    rows = "".join(
        f'<tr><td><a href="problems/{code}">{code}</a><td>{known.status}<td>{html.escape(known.title)}'
        for code, known in TYPES.items()
    )
    return page("Problems", f"<table><tr><th>code<th>status<th>what{rows}</table>", files="docs")


@router.get("/problems/{code}")
async def explain_problem(code: str) -> HTMLResponse:
    """What one problem type means and what to do about it."""
    if code not in TYPES:
        raise NotFound(f"there is no problem type {code!r}")
    known = TYPES[code]
    remedy = re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(known.remedy))
    body = (
        f"<p><code>{code}</code>, HTTP status {known.status}.</p><h2>What to do</h2><p>{remedy}</p>"
        '<p><a href="../problems">All problems</a></p>'
    )
    return page(known.title, body, files="../docs")
