"""`cvpipe stages`: the stages that pipelines are made of."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Annotated

import typer

from cvpipe.cli import output
from cvpipe.cli.options import Json
from cvpipe.errors import NotFound

app = typer.Typer(name="stages", help="Stages that pipelines are made of.", no_args_is_help=True)


@app.command()
def ls(as_json: Json = False) -> None:
    """List all stages."""
    from cvpipe.pipeline.listing import describe

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
    from cvpipe.pipeline.listing import describe
    from cvpipe.pipeline.reference import default_of, kind_of

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
    options = {name: told for name, told in stage.schema["properties"].items() if name != "type"}
    output.columns(
        ("OPTION", "KIND", "DEFAULT", "DESCRIPTION"),
        [
            (name, kind_of(told), "required" if name in required else default_of(told), told.get("description", ""))
            for name, told in options.items()
        ],
    )
