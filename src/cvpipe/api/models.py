"""`/v1/models`: send a model, look at one, take one away. A worker looks at what is sent; this process never does."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from cvpipe.api.identity import MODELS, READ, AdditionName, IdentityDep
from cvpipe.api.problems import HttpProblem, responses
from cvpipe.api.resources import LifecycleDep, SettingsDep
from cvpipe.errors import InvalidRequest
from cvpipe.inference.cards import ModelCard, Task, find_card
from cvpipe.job import JobError
from cvpipe.modelfiles import Wish, additions, name_of, read_wish
from cvpipe.sources.upload import check_free
from cvpipe.tenants import id_of

router = APIRouter(prefix="/v1", tags=["catalogue"])

NAME = r"^[a-z0-9][a-z0-9._-]*$"

_WRITE_BYTES = 2**20
_WRITTEN = {
    "labels": " Names with commas between.", "keypoints": " Names with commas between.",
    "mean": " One number, or three with commas between.", "scale": " One number, or three with commas between.",
    "options": " A JSON object.", "extra": " A JSON object.",
}  # fmt: skip

ModelRef = Annotated[
    str,
    Path(
        max_length=100,
        pattern=r"^[a-z0-9][a-z0-9._-]*(@[A-Za-z0-9][A-Za-z0-9._-]*)?$",
        description="`name`, or `name@version`.",
        examples=["yolox-nano@1"],
    ),
]


def _said(field: str, **limits: Any) -> Any:
    """A query parameter that is described as the field of a wish is; those of lists and pairs are written as text."""
    return Query(description=f"{Wish.model_fields[field].description}{_WRITTEN.get(field, '')}", **limits)


class Addition(BaseModel):
    """A model on its way in."""

    id: str
    state: Literal["waiting", "added", "refused"] = Field(description="`waiting`: a worker looks at it, or will.")
    model: ModelCard | None = Field(default=None, description="Its card, once it is `added`.")
    new: bool | None = Field(default=None, description="`false`: this file was there already, with this card.")
    why: str | None = Field(default=None, description="Why this family was taken.")
    others: list[str] = Field(default_factory=list, description="Further families that would read it.")
    notes: list[str] = Field(default_factory=list, description="What was done to the file, and what was guessed.")
    outputs: list[list[int]] = Field(default_factory=list, description="Shapes of the outputs for one picture.")
    milliseconds: float | None = Field(default=None, description="Of one call with one thread.")
    error: JobError | None = Field(default=None, description="Why it was `refused`.")


class Removed(BaseModel):
    """What was removed."""

    removed: list[str] = Field(description="As `name@version`.")


@router.post(
    "/models",
    operation_id="addModel",
    dependencies=[MODELS],
    summary="Add a model",
    status_code=202,
    response_model=Addition,
    response_description="The file has arrived; a worker looks at it.",
    responses=responses(
        "too_large", "unsupported_media_type", "invalid_request", "invalid_model", "internal", "unavailable",
        "store_unavailable", "out_of_space",
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The ONNX file's bytes: `curl --data-binary @net.onnx '.../v1/models?name=net'`.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
        }
    },
)  # fmt: skip
async def add_model(  # noqa: PLR0917 - FastAPI hands them over by name
    request: Request,
    response: Response,
    lifecycle: LifecycleDep,
    settings: SettingsDep,
    identity: IdentityDep,
    name: Annotated[str | None, _said("name", max_length=64, pattern=NAME, examples=["net"])] = None,
    filename: Annotated[
        str | None,
        Query(
            max_length=255, pattern=r"^[^\x00-\x1f\x7f/\\]+$", description="What to call it after, without a `name`."
        ),
    ] = None,
    family: Annotated[str | None, _said("family", max_length=64)] = None,
    task: Annotated[Task | None, _said("task")] = None,
    labels: Annotated[str | None, _said("labels", max_length=40_000)] = None,
    keypoints: Annotated[str | None, _said("keypoints", max_length=4_000)] = None,
    input_size: Annotated[
        str | None,
        Query(pattern=r"^\d{1,4}x\d{1,4}$", examples=["640x384"], description="Pixels, where the file leaves it open."),
    ] = None,
    color: Annotated[Literal["bgr", "rgb"] | None, _said("color")] = None,
    mean: Annotated[str | None, _said("mean", max_length=100, examples=["127.5"])] = None,
    scale: Annotated[str | None, _said("scale", max_length=100, examples=["127.5"])] = None,
    resize: Annotated[Literal["letterbox", "stretch"] | None, _said("resize")] = None,
    anchor: Annotated[Literal["top-left", "centre"] | None, _said("anchor")] = None,
    pad: Annotated[int | None, _said("pad", ge=0, le=255)] = None,
    options: Annotated[str | None, _said("options", max_length=10_000, examples=["{}"])] = None,
    extra: Annotated[str | None, _said("extra", max_length=10_000, examples=["{}"])] = None,
    score: Annotated[float | None, _said("score_threshold", ge=0, le=1)] = None,
    iou: Annotated[float | None, _said("iou_threshold", ge=0, le=1)] = None,
    fuse: Annotated[bool, _said("fuse")] = False,
    fix_size: Annotated[bool, _said("fix_size")] = False,
    keep_batch: Annotated[bool, Query(description="Leave the batch dimension as it is.")] = False,
    licence: Annotated[str, _said("licence", max_length=200)] = "",
    source: Annotated[str, _said("source", max_length=1000)] = "",
) -> Any:
    """Send an ONNX file as the raw body; parameters mean what the options of `cvpipe models add` mean.

    A worker reads it in a process with limits, proposes a family, frees the batch, tries it, and keeps it with its
    card. Ask for what came of it at `Location`. The same file with the same parameters again adds nothing.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HttpProblem("unsupported_media_type", "send the file as the raw body, not as a form")
    called = filename or (f"{name}.onnx" if name else "")
    if not called:
        raise InvalidRequest("give a `name`, or the `filename` to make one from", field="name")
    if name is None:
        name_of(called)
    wish = read_wish(
        {
            "name": name, "family": family, "task": task, "labels": labels, "keypoints": keypoints,
            "input_size": input_size, "color": color, "mean": mean, "scale": scale, "resize": resize,
            "anchor": anchor, "pad": pad, "options": _object(options, "options"), "extra": _object(extra, "extra"),
            "score_threshold": score, "iou_threshold": iou, "fuse": fuse, "fix_size": fix_size,
            "free_batch": not keep_batch, "licence": licence, "source": source,
        }
    )  # fmt: skip
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    limit = min(settings.max_model_bytes, identity.quotas.upload_bytes or settings.max_model_bytes)
    if size > limit:
        raise additions.too_large(limit)
    await anyio.to_thread.run_sync(check_free, settings, size)
    tenant = identity.tenant
    incoming = await anyio.to_thread.run_sync(lambda: additions.Incoming(settings.data_dir, tenant, limit=limit))
    try:
        made = await _receive(request, incoming, wish, called)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    await anyio.to_thread.run_sync(lifecycle.add_model, made)
    response.headers["Location"] = f"/v1/models/additions/{id_of(made)}"
    return Addition(id=id_of(made), state="waiting")


async def _receive(request: Request, incoming: additions.Incoming, wish: Wish, filename: str) -> str:
    """Write the body to disk. Memory: `_WRITE_BYTES` and one piece off the socket."""
    in_thread = anyio.to_thread.run_sync
    try:
        pending, size = bytearray(), 0
        async for piece in request.stream():
            pending += piece
            size += len(piece)
            if len(pending) >= _WRITE_BYTES:
                await in_thread(incoming.write, pending)
                pending = bytearray()
        if not size:
            raise InvalidRequest("the body is empty; send the ONNX file's bytes as they are")
        await in_thread(incoming.write, pending)
        return await in_thread(incoming.keep, wish, filename)
    finally:
        await in_thread(incoming.discard)


def _object(text: str | None, field: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("wanted a JSON object", field=field)
    return value


@router.get(
    "/models/additions/{addition_id}",
    operation_id="getAddition",
    dependencies=[MODELS],
    summary="What came of a model that was sent",
    response_model=Addition,
    response_description="The addition; kept for a day.",
    responses=responses("not_found", "invalid_request", "internal"),
)
def get_addition(addition_id: AdditionName, settings: SettingsDep) -> Any:
    """`waiting` until a worker that serves the queue `media` is done with it; then `added`, or `refused`."""
    result = additions.result_of(settings.data_dir, addition_id)
    if result is None:
        return Addition(id=id_of(addition_id), state="waiting")
    if "error" in result:
        return Addition(id=id_of(addition_id), state="refused", error=JobError.model_validate(result["error"]))
    return Addition(id=id_of(addition_id), state="added", **result["added"])


@router.get(
    "/models/{ref}",
    operation_id="getModel",
    dependencies=[READ],
    summary="A model's card",
    response_model=ModelCard,
    response_description="The card.",
    responses=responses("not_found", "invalid_request", "invalid_model", "internal"),
)
def get_model(ref: ModelRef, settings: SettingsDep) -> Any:
    """The card of `name@version`, or of the newest version of `name`."""
    return find_card(settings.models_path, ref)


@router.delete(
    "/models/{ref}",
    operation_id="removeModel",
    dependencies=[MODELS],
    summary="Remove a model",
    response_model=Removed,
    response_description="It is gone.",
    responses=responses("not_found", "conflict", "invalid_request", "internal", "unavailable", "store_unavailable"),
)
def remove_model(ref: ModelRef, lifecycle: LifecycleDep) -> Any:
    """Remove `name@version`, or all versions of `name`. Refused while a job that isn't over names one of them."""
    return Removed(removed=lifecycle.remove_model(ref))
