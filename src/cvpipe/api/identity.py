"""Who asks, what they may do, and whose the job or video of a path is.

A route says what it needs with `dependencies=[READ]` or another of these, which also puts it into the OpenAPI document;
a route whose path names a job or a video gets it as the store names it, the tenant of who asks included.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes

from cvpipe.errors import Unauthenticated
from cvpipe.keys import Identity
from cvpipe.scopes import Scope
from cvpipe.tenants import owned

_BEARER: Final = HTTPBearer(
    scheme_name="key",
    bearerFormat="cvp_...",
    auto_error=False,
    description="An API key; or, where the operator has named an identity provider (CVPIPE_OIDC_ISSUER), a token of "
    "it: a JWT. A service that only its own machine reaches may run without keys, and then needs none.",
)


async def _identity(request: Request) -> Identity:
    identity: Identity | None = request.state.identity
    if identity is None:  # the gate lets nobody so far whom it does not know
        raise Unauthenticated("wanted the header `Authorization: Bearer cvp_...`, got none")
    return identity


IdentityDep = Annotated[Identity, Depends(_identity)]


async def _allowed(wanted: SecurityScopes, identity: IdentityDep, _header: Annotated[Any, Security(_BEARER)]) -> None:
    identity.check(wanted.scopes)


READ: Final = Security(_allowed, scopes=[Scope.read])
SUBMIT: Final = Security(_allowed, scopes=[Scope.submit])
MODELS: Final = Security(_allowed, scopes=[Scope.models])
METRICS: Final = Security(_allowed, scopes=[Scope.metrics])
ADMIN: Final = Security(_allowed, scopes=[Scope.admin])


async def _tenant(identity: IdentityDep) -> str:
    return identity.tenant


TenantDep = Annotated[str, Depends(_tenant)]


async def _job(
    job_id: Annotated[
        str,
        Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The job's id.", examples=["019b76da8c7d3f1c9a5e7b2d40"]),
    ],
    tenant: TenantDep,
) -> str:
    return owned(tenant, job_id)


async def _video(
    video_id: Annotated[
        str,
        Path(
            pattern=r"^[0-9a-f]{64}$",
            description="The video's sha256, in lower-case hexadecimal.",
            examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        ),
    ],
    tenant: TenantDep,
) -> str:
    return owned(tenant, video_id)


async def _addition(
    addition_id: Annotated[
        str,
        Path(
            pattern=r"^[0-9a-f]{32}$",
            description="As `POST /v1/models` gave it.",
            examples=["0123456789abcdef0123456789abcdef"],
        ),
    ],
    tenant: TenantDep,
) -> str:
    return owned(tenant, addition_id)


async def _upload(
    upload_id: Annotated[
        str,
        Path(
            pattern=r"^[0-9a-f]{32}$",
            description="As `POST /v1/uploads` gave it.",
            examples=["0123456789abcdef0123456789abcdef"],
        ),
    ],
    tenant: TenantDep,
) -> str:
    return owned(tenant, upload_id)


JobName = Annotated[str, Depends(_job)]
"""The job of the path, named as the store names it: `<tenant>/<id>`, so that no route can reach another tenant's."""
VideoName = Annotated[str, Depends(_video)]
"""The video of the path, `<tenant>/<sha256>`."""
AdditionName = Annotated[str, Depends(_addition)]
"""The model on its way in, `<tenant>/<id>`."""
UploadName = Annotated[str, Depends(_upload)]
"""The resumable upload of the path, `<tenant>/<id>`."""
