"""`cvpipe stages`: the stages that pipelines are made of."""

from __future__ import annotations

import dataclasses
import difflib
import json
from typing import Annotated, Any

import typer

from cvpipe.cli import output
from cvpipe.cli.options import Json
from cvpipe.errors import NotFound

app = typer.Typer(name="stages", help="Stages that pipelines are made of.", no_args_is_help=True)


@app.command()
def ls(as_json: Json = False) -> None:
    """List all stages."""
    from cvpipe.stages import describe

    stages = describe()
    if as_json:
        output.as_json([dataclasses.asdict(stage) for stage in stages])
        return
    output.columns(("TYPE", "SCOPE", "DEVICE", "SUMMARY"), [(s.type, s.scope, s.device, s.summary) for s in stages])


@app.command()
def show(
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="As `stages ls` lists it.")], as_json: Json = False
) -> None:
    """Show a stage and its options."""
    from cvpipe.stages import describe

    stages = {stage.type: stage for stage in describe()}
    if kind not in stages:
        near = difflib.get_close_matches(kind, stages, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(stages)}"
        raise NotFound(f"there is no stage {kind!r}; {hint}")
    stage = stages[kind]
    if as_json:
        output.as_json(dataclasses.asdict(stage))
        return
    output.line(f"{stage.type} ({stage.scope}, {stage.device}): {stage.summary}")
    output.line()
    required = stage.schema.get("required", ())
    output.columns(
        ("OPTION", "KIND", "DEFAULT", "DESCRIPTION"),
        [
            (name, _kind(option), "required" if name in required else _default(option), option.get("description", ""))
            for name, option in stage.schema["properties"].items()
            if name != "type"
        ],
    )


def _kind(option: dict[str, Any]) -> str:
    if "enum" in option:
        return "|".join(map(str, option["enum"]))
    if "const" in option:
        return str(option["const"])
    if "anyOf" in option:
        return "|".join(_kind(part) for part in option["anyOf"] if part.get("type") != "null")
    if option.get("type") == "array":
        return f"list of {_kind(option['items'])}" if "items" in option else "list"
    return str(option.get("type") or option.get("$ref", "").rpartition("/")[2] or "any")


def _default(option: dict[str, Any]) -> str:
    return json.dumps(option["default"]) if option.get("default") is not None else "-"
