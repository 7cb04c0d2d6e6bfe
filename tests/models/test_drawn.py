"""The layout of the network that comes with cvpipe, with numbers set by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.drawn import Drawn
from tests.modelcards import facts, make_card

CARD = {
    "family": "drawn",
    "task": "instance-segmentation",
    "keypoints": ["nose", "tail"],
    "options": {"jointed": ["cat"]},
}
CELLS, COLUMNS = 64 + 16 + 4, 3 + 4 + 2 * 3 + 2


def make_table() -> np.ndarray:
    """A cat told of by cell (2, 1) of stride 16, a dog by cell (1, 0) of stride 32.

    On the canvas: (20, 12) to (44, 48) and (8, 24) to (32, 40).
    """
    table = np.zeros((CELLS, COLUMNS), np.float32)
    middle = np.array([40, 24])
    nose, tail = (np.array([30, 20]) - middle) / 16, (np.array([44, 48]) - middle) / 16
    edges = [(40 - 20) / 16, (24 - 12) / 16, (44 - 40) / 16, (48 - 24) / 16]
    table[64 + 1 * 4 + 2] = [0.9, 0, 0, *edges, *nose, *tail, 0.8, 0.25, 9, 0]
    edges = [(48 - 8) / 32, (16 - 24) / 32, (32 - 48) / 32, (40 - 16) / 32]
    table[80 + 1] = [0.1, 0.7, 0, *edges, *nose, *tail, 1, 1, 0, -9]
    return table


def make_prototypes() -> np.ndarray:
    """(2, 16, 16): the first is of the left half of the canvas, the second of the upper half."""
    prototypes = np.zeros((2, 16, 16), np.float32)
    prototypes[0] = np.where(np.arange(16) < 8, 1, -1)
    prototypes[1] = np.where(np.arange(16)[:, None] < 8, 1, -1)
    return prototypes


def test_boxes_keypoints_and_masks_are_in_source_pixels(see: Any) -> None:
    found = see(make_table(), make_prototypes(), **CARD)
    assert facts(found) == [("cat", 0.9, [40, 24, 88, 96]), ("dog", 0.7, [16, 48, 64, 80])]
    cat = found.keypoints[0]
    assert cat is not None
    np.testing.assert_allclose(cat, [[60, 40, 0.8], [88, 96, 0.25]], atol=1e-4)
    inside = np.zeros((2, 128, 128), bool)
    inside[0, 24:96, 40:64] = True
    inside[1, 64:80, 16:64] = True
    assert [mask.pixels().tolist() for mask in found.mask] == inside.tolist()


def test_only_jointed_classes_have_keypoints(see: Any) -> None:
    assert see(make_table(), make_prototypes(), **CARD).keypoints[1] is None
    everyone = see(make_table(), make_prototypes(), **(CARD | {"options": {}}))
    assert everyone.keypoints[1] is not None


def test_of_two_cells_that_tell_of_one_thing_the_better_stays(see: Any) -> None:
    table = make_table()
    other = table[64 + 6].copy()
    other[0] = 0.6
    other[3:7] += [0.5, 0, -0.5, 0]  # the same edges, told from half a cell further right
    table[64 + 7] = other
    assert [score for _, score, _ in facts(see(table, make_prototypes(), **CARD))] == [0.9, 0.7]


def test_pictures_of_a_batch_do_not_mix() -> None:
    from cvpipe.frames import View
    from cvpipe.models import Limits

    card = ModelCard.model_validate(make_card(**CARD))
    full, empty = (make_table(), make_prototypes()), (np.zeros((CELLS, COLUMNS), np.float32), make_prototypes())
    views = [View.of(64, 64)] * 3
    found = Drawn().decode([empty, full, empty], views, card, Limits(score=0.5, iou=0.5, masks=False))
    assert [len(boxes) for boxes in found] == [0, 2, 0]
    assert found[1].mask is None


@pytest.mark.parametrize(
    ("shapes", "changes"),
    [
        ([(CELLS, COLUMNS)], {}),
        ([(CELLS, COLUMNS + 1), (2, 16, 16)], {}),
        ([(CELLS - 1, COLUMNS), (2, 16, 16)], {}),
        ([(CELLS, COLUMNS), (2, 16, 8)], {}),
        ([(CELLS, COLUMNS), (2, 16, 16)], {"keypoints": ["nose"]}),
        ([(CELLS, COLUMNS), (2, 16, 16)], {"options": {"jointed": ["cow"]}}),
    ],
    ids=["no prototypes", "a column too many", "a cell too few", "half a map", "a keypoint too few", "unknown label"],
)
def test_other_outputs_and_cards_are_refused(shapes: list[tuple[int, ...]], changes: dict[str, Any]) -> None:
    Drawn().check([(CELLS, COLUMNS), (2, 16, 16)], ModelCard.model_validate(make_card(**CARD)))
    with pytest.raises(InvalidModel):
        Drawn().check(shapes, ModelCard.model_validate(make_card(**(CARD | changes))))
