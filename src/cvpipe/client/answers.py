"""From a response of the service to a value or an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json  # half the time of the standard library's

from cvpipe.errors import ApiError
from cvpipe.results import FrameRecord

M = TypeVar("M", bound=BaseModel)


def check(response: httpx.Response) -> None:
    """Raises: ApiError where the response is not 2xx."""
    if response.is_success:
        return
    problem: Any = None
    if "json" in response.headers.get("content-type", ""):
        try:
            problem = from_json(response.content)
        except ValueError:
            problem = None
    if not isinstance(problem, dict):
        raise malformed(response, "a problem document")
    raise ApiError(problem, status=response.status_code)


def document(response: httpx.Response) -> dict[str, Any]:
    """The JSON object that a 2xx response holds.

    Raises: ApiError where it is not 2xx, or holds something else (code `malformed-answer`).
    """
    check(response)
    try:
        value = from_json(response.content)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise malformed(response, "a JSON object")
    return value


def listed(body: Mapping[str, Any], key: str, *, response: httpx.Response) -> list[dict[str, Any]]:
    """The list of JSON objects under `key` of a document; raises as `document`."""
    value = body.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise malformed(response, f"a list `{key}`")
    return value


def read_as(model: type[M], value: Mapping[str, Any], *, response: httpx.Response) -> M:
    """`value` as a model; raises ApiError (code `malformed-answer`) where it does not fit."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise malformed(response, f"a {model.__name__}: {where}: {first['msg']}") from error


def read_records(rows: list[dict[str, Any]], *, response: httpx.Response) -> list[FrameRecord]:
    """Frame records from JSON; raises ApiError (code `malformed-answer`) where one does not fit."""
    try:
        return [FrameRecord.from_dict(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise malformed(response, f"frame records ({type(error).__name__}: {error})") from error


def malformed(response: httpx.Response, wanted: str) -> ApiError:
    """An answer that cvpipe's API does not give: most often another program listens at that address."""
    kind = response.headers.get("content-type", "no content type")
    detail = (
        f"{response.request.method} {response.request.url.copy_with(userinfo=b'', query=None)} answered "
        f"{response.status_code} ({kind}), but not with {wanted}; is this the address of a cvpipe service?"
    )
    return ApiError({"type": "malformed-answer", "detail": detail}, status=response.status_code)
