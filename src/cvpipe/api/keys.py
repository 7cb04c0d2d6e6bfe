"""`/v1/keys`: the keys of all tenants, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from cvpipe.api.identity import ADMIN
from cvpipe.api.problems import responses
from cvpipe.api.resources import StoreDep
from cvpipe.keys import ApiKey, KeyRequest, MadeKey

router = APIRouter(prefix="/v1", tags=["keys"])

KeyId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{12}$", description="The part of it that is no secret.", examples=["3f9a1c2b7d5e"])
]


class KeyList(BaseModel):
    """All keys, revoked ones too."""

    keys: list[ApiKey]


@router.post(
    "/keys",
    operation_id="createKey",
    dependencies=[ADMIN],
    summary="Make a key",
    status_code=201,
    response_model=MadeKey,
    response_description="The key, which is shown this once.",
    responses=responses(
        "malformed_body", "too_large", "unsupported_media_type", "invalid_request", "internal", "store_unavailable"
    ),
)
def create_key(request: KeyRequest, store: StoreDep) -> MadeKey:
    """Make a key for a tenant; a tenant is there as soon as it has a key. Of the secret only a hash is kept."""
    key, text = store.make_key(request)
    return MadeKey(**key.model_dump(), key=text)


@router.get(
    "/keys",
    operation_id="listKeys",
    dependencies=[ADMIN],
    summary="List keys",
    response_model=KeyList,
    response_description="All keys, the oldest first.",
    responses=responses("invalid_request", "internal", "store_unavailable"),
)
def list_keys(store: StoreDep) -> KeyList:
    """The keys of all tenants, without their secrets, which nobody knows."""
    return KeyList(keys=store.keys())


@router.delete(
    "/keys/{key_id}",
    operation_id="revokeKey",
    dependencies=[ADMIN],
    summary="Revoke a key",
    response_model=ApiKey,
    response_description="The key, which is good for nothing any more.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def revoke_key(key_id: KeyId, store: StoreDep) -> ApiKey:
    """Revoke a key, within a second everywhere. What it has submitted goes on; the key stays listed."""
    return store.revoke_key(key_id)
