"""Tenants: whose a job, a video or an addition is.

Inside the service such a thing is named `<tenant>/<id>`, in every key of the store, in every task and in every path; to
the outside the tenant is left out. Whoever asks for an id without naming its tenant finds nothing.
"""

from __future__ import annotations

import re
from typing import Final

DEFAULT: Final = "default"
"""The tenant of a service without keys, and of keys that are made without naming one."""

PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,31}$"
"""A tenant's name: a part of keys and paths, whatever the file system."""


def is_tenant(name: str) -> bool:
    """Whether a tenant may be called so."""
    return re.fullmatch(PATTERN, name) is not None


def owned(tenant: str, id: str) -> str:
    """The name inside the service of what `tenant` calls `id`."""
    return f"{tenant}/{id}"


def parted(name: str) -> tuple[str, str]:
    """The tenant and the id that a name inside the service is made of. Raises: ValueError where it has no tenant."""
    tenant, _, rest = name.partition("/")
    if not (tenant and rest):
        raise ValueError(f"wanted <tenant>/<id>, got {name!r}")
    return tenant, rest


def tenant_of(name: str) -> str:
    """Whose it is. Raises: ValueError."""
    return parted(name)[0]


def id_of(name: str) -> str:
    """What its tenant calls it. Raises: ValueError."""
    return parted(name)[1]
