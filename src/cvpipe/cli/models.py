"""`cvpipe models`: the model cards on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvpipe.cli import models_add, models_care, models_tune, output
from cvpipe.cli.options import Json, load_settings

if TYPE_CHECKING:
    from cvpipe.inference.cards import ModelCard

app = typer.Typer(name="models", help="Models that stages can name.", no_args_is_help=True)
app.command()(models_add.add)
app.command()(models_care.check)
app.command()(models_care.bench)
app.command()(models_care.rm)
app.command()(models_tune.tune)
app.command()(models_tune.quantize)


@app.command()
def ls(as_json: Json = False) -> None:
    """List the model cards in CVPIPE_MODELS_DIR (default: the folder `models` of the data directory)."""
    from cvpipe.inference.cards import load_cards

    settings = load_settings()
    cards = load_cards(settings.models_path)
    if as_json:
        output.as_json([_document(card) for card in cards.values()])
        return
    if not cards:
        output.note(f"no model cards in {settings.models_path}")
    output.columns(
        ("MODEL", "TASK", "FAMILY", "INPUT", "CLASSES", "FILE", "LICENCE"),
        [
            (
                card.ref,
                card.task,
                card.family,
                f"{card.input.width}x{card.input.height}",
                len(card.labels),
                card.file if card.path.is_file() else f"{card.file} (missing)",
                card.licence,
            )
            for card in cards.values()
        ],
    )


@app.command()
def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="`name`, or `name@version`.")], as_json: Json = False
) -> None:
    """Show a model card, and what was measured of it here; check that its file is the one it describes."""
    from cvpipe.inference.cards import find_card
    from cvpipe.inference.remembered import known_of

    settings = load_settings()
    card = find_card(settings.models_path, model)
    card.read()
    document = {**_document(card), "measured": known_of(settings.data_dir, card.sha256)}
    if as_json:
        output.as_json(document)
        return
    import yaml

    output.line(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip())


def _document(card: ModelCard) -> dict[str, Any]:
    return {**card.model_dump(mode="json"), "path": str(card.path), "present": card.path.is_file()}
