"""`cvpipe pipelines`: what can be named in `--pipeline`, and a check of what one writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvpipe.cli import output
from cvpipe.cli.options import Json, load_settings
from cvpipe.errors import InvalidRequest

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


@app.command("validate", hidden=True)
@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML or JSON file.")],
    models: Annotated[bool, typer.Option(help="Also check that its models are here.")] = True,
    as_json: Json = False,
) -> None:
    """Check a pipeline file: every option, what its stages need of each other, and that its models are here.

    Files of cameras are read, and the addresses and secrets of servers outside are looked at; what only a service can
    know is noted.
    """
    from cvpipe.cli.notes import notes_on
    from cvpipe.pipeline import load_pipeline, plan_segments
    from cvpipe.pipeline.cards import check_cards

    settings = load_settings()
    spec = load_pipeline(file, settings=settings, files=True)
    found = list(spec.models())
    if models:
        cards = check_cards(spec, settings.models_path)
        found = list(dict.fromkeys(card.ref for card in cards.values()))
    notes = notes_on(spec, settings)
    segments: list[dict[str, Any]] = [
        {"kind": part.kind, "queue": part.queue, "stages": [spec.stages[n].name for n in part.stages]}
        for part in plan_segments(spec)
    ]
    if as_json:
        output.as_json({"ok": True, "pipeline": spec.name, "segments": segments, "models": found, "notes": notes})
        return
    output.line(f"{file} is right: {spec.name}, {' > '.join(_kinds(spec))}")
    for part in segments:
        output.line(f"  {part['kind']} on queue {part['queue']}: {', '.join(part['stages']) or 'no stage'}")
    for name in found:
        output.line(f"  model {name}")
    for note in notes:
        output.line(f"  note: {note}")


@app.command()
def graph(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline, or a YAML or JSON file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="X.svg", help="Draw it there, as SVG.")] = None,
    as_json: Json = False,
) -> None:
    """Show what runs where, and which stage looks at what another has found."""
    from dataclasses import asdict

    from cvpipe.pipeline import load_pipeline
    from cvpipe.pipeline.graph import as_svg, as_text, groups_of

    spec = load_pipeline(pipeline, settings=load_settings(), files=True)
    if out is not None:
        try:
            out.write_text(as_svg(spec), encoding="utf-8")
        except OSError as error:
            raise InvalidRequest(f"can't write {out}: {error.strerror}", field="--out") from error
    if as_json:
        output.as_json({"pipeline": spec.name, "version": spec.version, "groups": [asdict(g) for g in groups_of(spec)]})
        return
    output.line(str(out) if out is not None else as_text(spec))


def _kinds(spec: PipelineSpec) -> list[str]:
    return [str(getattr(options, "type", "")) for options in spec.stages]


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
