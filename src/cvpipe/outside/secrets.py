"""Secrets: what the operator keeps for servers outside, by name. A job names one, and never sees it.

Each is for one server: a job that names it with another address gets nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, TypeAdapter, ValidationError

from cvpipe.errors import AddressRefused, InvalidRequest, explain
from cvpipe.outside.targets import Target

_NEVER: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "idempotency-key"})
_VALUE: Final = re.compile(r"[\x20-\x7e]+")


class _Secret(BaseModel):
    """One secret. server: `https://host`, with a port where it is not the scheme's. header: what carries it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str
    value: SecretStr
    header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$", to_lower=True)] = Field(
        default="authorization"
    )


_FILE: Final = TypeAdapter(dict[str, _Secret])


class Secrets:
    """The operator's secrets; nothing of them is in `repr`."""

    def __init__(self, known: Mapping[str, _Secret]) -> None:
        self._known = dict(known)

    @classmethod
    def read(cls, path: Path | None) -> Secrets:
        """From a YAML file; None: there are none. Raises: InvalidRequest, which tells no value."""
        if path is None:
            return cls({})
        try:
            raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            known = _FILE.validate_python(raw or {})
        except OSError as error:
            raise InvalidRequest(f"CVPIPE_OUTSIDE_SECRETS: {path} can't be read: {error.strerror}") from None
        except yaml.YAMLError:
            raise InvalidRequest(f"CVPIPE_OUTSIDE_SECRETS: {path} is not YAML") from None
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidRequest(f"CVPIPE_OUTSIDE_SECRETS: {explain(first, name=where)}") from None
        for name, secret in known.items():
            if secret.header in _NEVER or not _VALUE.fullmatch(secret.value.get_secret_value()):
                raise InvalidRequest(f"CVPIPE_OUTSIDE_SECRETS: {name}: a header can't carry this")
        return cls(known)

    def headers(self, name: str | None, url: str) -> dict[str, str]:
        """The header that carries a secret to an address. Raises: InvalidRequest, AddressRefused."""
        if name is None:
            return {}
        secret = self._known.get(name)
        if secret is None:
            raise InvalidRequest(f"there is no secret {name!r}; the operator keeps them in CVPIPE_OUTSIDE_SECRETS")
        if Target.parse(url).origin != Target.parse(secret.server).origin:
            raise AddressRefused(f"the secret {name!r} is for another server")
        return {secret.header: secret.value.get_secret_value()}
