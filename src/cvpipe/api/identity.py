"""Who asks: the tenant that every job, video and addition of a request belongs to."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from cvpipe.tenants import DEFAULT, owned


async def _tenant() -> str:
    return DEFAULT


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


JobName = Annotated[str, Depends(_job)]
"""The job of the path, named as the store names it: `<tenant>/<id>`, so that no route can reach another tenant's."""
VideoName = Annotated[str, Depends(_video)]
"""The video of the path, `<tenant>/<sha256>`."""
AdditionName = Annotated[str, Depends(_addition)]
"""The model on its way in, `<tenant>/<id>`."""
