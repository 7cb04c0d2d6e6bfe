"""Which keypoints are joined by lines, as the cards of a pipeline's models say."""

from __future__ import annotations

from pathlib import Path

from cvpipe.errors import InvalidModel, NotFound
from cvpipe.inference.cards import find_card
from cvpipe.pipeline import PipelineSpec


def skeletons_of(spec: PipelineSpec, models_path: Path) -> dict[str, tuple[tuple[int, int], ...]]:
    """By the name of the stage whose objects have the keypoints. Of a model that is gone nothing is known."""
    found: dict[str, tuple[tuple[int, int], ...]] = {}
    for stage in spec.make_stages():
        for model in stage.models():
            try:
                skeleton = find_card(models_path, model).skeleton
            except (InvalidModel, NotFound):
                continue
            for name in stage.references() or (stage.name,):
                if skeleton:
                    found[name] = skeleton
    return found
