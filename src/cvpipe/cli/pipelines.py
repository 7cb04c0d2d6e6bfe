"""`cvpipe pipelines`: what can be named in `--pipeline`, and a check of what one writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvpipe.cli import output
from cvpipe.cli.options import Json, load_settings

if TYPE_CHECKING:
    from cvpipe.pipeline import PipelineSpec

app = typer.Typer(name="pipelines", help="Pipelines that jobs can name.", no_args_is_help=True)


@app.command()
def ls(as_json: Json = False) -> None:
    """List the built-in pipelines and those in CVPIPE_PIPELINES_DIR."""
    from cvpipe.pipeline import list_pipelines

    found = list_pipelines(load_settings())
    if as_json:
        output.as_json([spec.model_dump(mode="json") for spec in found])
        return
    rows = [(spec.name, spec.version, " > ".join(_kinds(spec)), _first_line(spec.description)) for spec in found]
    output.columns(("NAME", "VERSION", "STAGES", "DESCRIPTION"), rows)


@app.command()
def show(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline, or a YAML or JSON file.")],
    as_json: Json = False,
) -> None:
    """Show a pipeline with all defaults, as YAML."""
    from cvpipe.pipeline import load_pipeline

    document = load_pipeline(pipeline, settings=load_settings(), files=True).model_dump(mode="json")
    if as_json:
        output.as_json(document)
        return
    import yaml

    output.line(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip())


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML or JSON file.")],
    models: Annotated[bool, typer.Option(help="Also check that its models are here.")] = True,
    as_json: Json = False,
) -> None:
    """Check a pipeline file: every option, what its stages need of each other, and that its models are here."""
    from cvpipe.pipeline import load_pipeline, plan_segments
    from cvpipe.pipeline.cards import check_cards

    settings = load_settings()
    spec = load_pipeline(file, settings=settings, files=True)
    found = check_cards(spec, settings.models_path) if models else list(spec.models())
    segments: list[dict[str, Any]] = [
        {"kind": part.kind, "queue": part.queue, "stages": [spec.stages[n].name for n in part.stages]}
        for part in plan_segments(spec)
    ]
    if as_json:
        output.as_json({"ok": True, "pipeline": spec.name, "segments": segments, "models": found})
        return
    output.line(f"{file} is right: {spec.name}, {' > '.join(_kinds(spec))}")
    for part in segments:
        output.line(f"  {part['kind']} on queue {part['queue']}: {', '.join(part['stages']) or 'no stage'}")
    for name in found:
        output.line(f"  model {name}")


def _kinds(spec: PipelineSpec) -> list[str]:
    return [str(getattr(options, "type", "")) for options in spec.stages]


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
