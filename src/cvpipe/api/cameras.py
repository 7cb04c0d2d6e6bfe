"""`/v1/cameras`: how to come from the pixels of a camera to places on the ground."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel

from cvpipe.api.identity import READ, SUBMIT, TenantDep
from cvpipe.api.problems import responses
from cvpipe.api.resources import LifecycleDep, StoreDep
from cvpipe.api.strict import StrictRoute
from cvpipe.camera import NAME, CameraSpec
from cvpipe.cameras import Camera
from cvpipe.errors import InvalidRequest
from cvpipe.store import StoredCamera
from cvpipe.tenants import owned

router = APIRouter(prefix="/v1", tags=["cameras"], route_class=StrictRoute)

CameraName = Annotated[
    str, Path(alias="ref", max_length=64, pattern=NAME, description="Its `name`.", examples=["main-stand"])
]
CameraRef = Annotated[
    str,
    Path(
        max_length=80,
        pattern=NAME.removesuffix("$") + r"(@[1-9][0-9]{0,8})?$",
        description="`name`, or `name@version`.",
        examples=["main-stand@2"],
    ),
]
_ERRORS = (
    "malformed_body", "not_found", "conflict", "too_large", "unsupported_media_type", "invalid_request", "internal",
    "unavailable", "store_unavailable",
)  # fmt: skip


class CameraList(BaseModel):
    """All cameras, by name, each in its newest version."""

    cameras: list[Camera]


@router.post(
    "/cameras",
    operation_id="addCamera",
    dependencies=[SUBMIT],
    summary="Add a camera",
    status_code=201,
    response_model=Camera,
    response_description="The camera; `calibrating` while a worker looks for its lens.",
    responses={200: {"model": Camera, "description": "It was there already, just so."}, **responses(*_ERRORS)},
)
def add_camera(spec: CameraSpec, response: Response, lifecycle: LifecycleDep, tenant: TenantDep) -> Any:
    """Keep a camera under its name, and tell how well its marks fit.

    It is calibrated at once from points, lines, views or a pose. With a `chessboard` a worker looks for the lens in
    that video first. Another camera of the same name is a conflict: `PUT` makes a new version.
    """
    if "name" not in spec.model_fields_set:
        raise InvalidRequest("give the camera a `name`", field="name")
    return _put(spec, response, lifecycle, tenant, create=True)


@router.put(
    "/cameras/{ref}",
    operation_id="putCamera",
    dependencies=[SUBMIT],
    summary="Make a new version of a camera",
    status_code=201,
    response_model=Camera,
    response_description="The new version; jobs that have begun keep theirs.",
    responses={200: {"model": Camera, "description": "The newest version says just so."}, **responses(*_ERRORS)},
)
def put_camera(
    name: CameraName, spec: CameraSpec, response: Response, lifecycle: LifecycleDep, tenant: TenantDep
) -> Any:
    """Keep a camera under a name, as its next version; the first one where there is none yet."""
    if "name" in spec.model_fields_set and spec.name != name:
        raise InvalidRequest(f"the body calls it {spec.name!r}, the address {name!r}", field="name")
    return _put(spec.model_copy(update={"name": name}), response, lifecycle, tenant, create=False)


def _put(spec: CameraSpec, response: Response, lifecycle: LifecycleDep, tenant: str, *, create: bool) -> Camera:
    stored, is_new = lifecycle.put_camera(tenant, spec, create=create)
    response.headers["Location"] = f"/v1/cameras/{stored.spec.name}@{stored.spec.version}"
    if not is_new:
        response.status_code = 200
    return _told(stored)


@router.get(
    "/cameras",
    operation_id="listCameras",
    dependencies=[READ],
    summary="List cameras",
    response_model=CameraList,
    response_description="All cameras.",
    responses=responses("invalid_request", "internal", "store_unavailable"),
)
def list_cameras(store: StoreDep, tenant: TenantDep) -> Any:
    """The newest version of every camera, by name."""
    return CameraList(cameras=[_told(stored) for stored in store.cameras(tenant)])


@router.get(
    "/cameras/{ref}",
    operation_id="getCamera",
    dependencies=[READ],
    summary="A camera and how well it is known",
    response_model=Camera,
    response_description="The camera.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def get_camera(ref: CameraRef, store: StoreDep, tenant: TenantDep) -> Any:
    """The newest version of `name`, or `name@version`."""
    name, _, version = ref.partition("@")
    return _told(store.camera(owned(tenant, name), int(version) if version else None))


@router.delete(
    "/cameras/{ref}",
    operation_id="removeCamera",
    dependencies=[SUBMIT],
    summary="Remove a camera",
    status_code=204,
    response_model=None,
    response_description="Nothing of the camera is left.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def remove_camera(name: CameraName, store: StoreDep, tenant: TenantDep) -> None:
    """Remove a camera with all its versions. Jobs that have begun with it go on: they keep what they need of it."""
    store.remove_camera(owned(tenant, name))


def _told(stored: StoredCamera) -> Camera:
    return Camera.of(stored.spec, state=stored.state, created_at=stored.created_at, error=stored.error)
