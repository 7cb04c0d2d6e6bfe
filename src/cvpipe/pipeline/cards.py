"""Whether stages and the cards of their models fit, told without ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

from cvpipe.errors import InvalidModel, InvalidPipeline, NotFound
from cvpipe.inference.cards import ModelCard, find_card, nearest
from cvpipe.models import family
from cvpipe.pipeline.labels import check_labels
from cvpipe.pipeline.spec import PipelineSpec, place


def check_cards(spec: PipelineSpec, models_path: Path, *, field: str = "") -> dict[str, ModelCard]:
    """The cards of a pipeline's models, by the names that it has for them.

    field: path of the pipeline in what the caller sent. Raises: NotFound; InvalidModel where a card names no family, or
    one that is not for its task; InvalidPipeline where a stage keeps classes that are not among its model's labels, or
    asks for labels that nothing can have.
    """
    found: dict[str, ModelCard] = {}
    stages = spec.make_stages()
    for number, stage in enumerate(stages):
        where = ".".join(part for part in (field, f"stages.{number}") if part)
        for model in stage.models():
            try:
                card = find_card(models_path, model)
                family(card)
            except (NotFound, InvalidModel) as error:
                raise type(error)(error.message, field=where) from None
            found[model] = card
            for name in getattr(stage.options, "classes", None) or ():
                if card.labels and name not in card.labels and len(stage.models()) == 1:
                    raise InvalidPipeline(
                        f"{place(number, stage.options)}: model {card.ref} knows no class {name!r}"
                        f"{nearest(name, card.labels)}",
                        field=f"{where}.classes",
                    )
    check_labels(stages, found, field=field)
    return found
