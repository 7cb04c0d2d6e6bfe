"""`cvpipe keys`: who may use the service. Works on its store, so whoever can reach that can make keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvpipe.cli import extras, output
from cvpipe.cli.doors import open_store
from cvpipe.cli.options import Json, load_settings
from cvpipe.errors import InvalidRequest, explain
from cvpipe.scopes import Scope
from cvpipe.tenants import DEFAULT

if TYPE_CHECKING:
    from cvpipe.keys import ApiKey

app = typer.Typer(name="keys", no_args_is_help=True, help="Make, list and revoke API keys, on the store.")

_QUOTAS = "upload_bytes, stored_bytes, video_minutes_per_day, open_jobs, streams, requests_per_minute"
_MAX_DAYS = 100 * 366
_SCOPES = "; ".join(f"`{scope}`: {scope.meaning}" for scope in Scope)


@app.command()
def create(  # noqa: PLR0917 - Typer hands them over by name
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what uses it.")],
    tenant: Annotated[str, typer.Option(help="Whose jobs and videos it is for.")] = DEFAULT,
    scope: Annotated[
        list[Scope] | None, typer.Option(help=f"What it may do; may be repeated. {_SCOPES}. Default: submit and read.")
    ] = None,
    quota: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help=f"How much it may take; may be repeated. {_QUOTAS}.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="Good for so long. Default: until it is revoked.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it. It is shown this once: only a hash of it is kept."""
    extras.require("api", what="cvpipe keys")
    from pydantic import ValidationError

    from cvpipe.keys import KeyRequest
    from cvpipe.quotas import read_quotas

    wanted: dict[str, Any] = {"name": name, "tenant": tenant}
    if scope:
        wanted["scopes"] = scope
    if quota:
        try:
            wanted["quotas"] = read_quotas(" ".join(quota))
        except ValueError as error:
            raise InvalidRequest(str(error), field="--quota") from None
    if days is not None:
        if not 0 < days <= _MAX_DAYS:
            raise InvalidRequest(f"must be greater than 0, and at most {_MAX_DAYS}; got {days:g}", field="--days")
        wanted["expires_in_seconds"] = days * 24 * 3600
    try:
        request = KeyRequest(**wanted)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        said = _SAID.get(str(first["loc"][0]), str(first["loc"][0]))
        raise InvalidRequest(explain(first), field=said) from None
    with open_store(load_settings()) as store:
        key, text = store.make_key(request)
    if as_json:
        output.as_json({**key.model_dump(mode="json"), "key": text})
        return
    output.line(text)
    output.note(f"this is the key {key.id} of the tenant {key.tenant}, and shown this once; it may {_may(key)}")


@app.command()
def ls(as_json: Json = False) -> None:
    """All keys, revoked ones too, the oldest first."""
    extras.require("api", what="cvpipe keys")
    with open_store(load_settings()) as store:
        keys = store.keys()
    if as_json:
        output.as_json([key.model_dump(mode="json") for key in keys])
        return
    rows = [(key.id, key.tenant, _may(key), _state(key), _day(key.last_used_at), key.name) for key in keys]
    output.columns(("ID", "TENANT", "MAY", "STATE", "LAST USED", "NAME"), rows)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The first 12 characters behind `cvp_`, or the key.")],
    as_json: Json = False,
) -> None:
    """Have a key be good for nothing any more, within a second. What it has submitted goes on."""
    extras.require("api", what="cvpipe keys")
    parts = key_id.split("_")
    if len(parts) == 3 and parts[0] == "cvp":
        key_id = parts[1]
    with open_store(load_settings()) as store:
        key = store.revoke_key(key_id)
    if as_json:
        output.as_json(key.model_dump(mode="json"))
    else:
        output.line(f"{key.id} revoked ({key.name})")


_SAID = {
    "name": "NAME", "tenant": "--tenant", "scopes": "--scope", "expires_in_seconds": "--days", "quotas": "--quota",
}  # fmt: skip


def _may(key: ApiKey) -> str:
    return ",".join(key.scopes)


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "good"
    return "expired" if time.time() >= key.expires_at else f"until {_day(key.expires_at)}"


def _day(at: float | None) -> str:
    return "-" if at is None else time.strftime("%Y-%m-%d", time.localtime(at))
