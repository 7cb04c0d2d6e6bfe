"""Masks as run lengths: what COCO's own code writes and reads."""

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cvpipe.rle import Mask

pictures = arrays.arrays(np.bool_, st.tuples(st.integers(1, 70), st.integers(1, 70)))


@given(pictures)
def test_a_mask_is_written_as_coco_writes_it(pixels: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    mask = Mask.of(pixels)
    assert mask.counts == theirs["counts"].decode() if isinstance(theirs["counts"], bytes) else theirs["counts"]
    assert mask.to_dict()["size"] == list(theirs["size"])
    assert mask.area == int(pixels.sum())
    assert np.array_equal(mask.pixels(), pixels)
    assert Mask.from_dict(mask.to_dict()) == mask


def test_a_large_mask_comes_back() -> None:
    rng = np.random.default_rng(1)
    pixels = np.kron(rng.random((108, 192)) > 0.5, np.ones((10, 10), bool))
    assert np.array_equal(Mask.of(pixels).pixels(), pixels)


@pytest.mark.parametrize("counts", ["P", "\x00", "é", "o" * 20, "1O" * 9])
def test_what_are_no_run_lengths_is_told(counts: str) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        Mask(4, 4, counts).pixels()


@given(st.data())
def test_a_part_placed_in_a_picture_is_the_mask_of_the_whole(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    shape = (data.draw(st.integers(0, height - y)), data.draw(st.integers(0, width - x)))
    whole = np.zeros((height, width), bool)
    whole[y : y + shape[0], x : x + shape[1]] = data.draw(arrays.arrays(np.bool_, shape))
    part = whole[y : y + shape[0], x : x + shape[1]]
    assert Mask.placed(part, (x, y), (width, height)) == Mask.of(whole)


@given(st.data())
def test_a_coarse_grid_spread_over_a_part_is_the_mask_of_its_pixels(data: st.DataObject) -> None:
    cells = data.draw(arrays.arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 5))))
    rows, columns = (
        np.sort(np.array(data.draw(st.lists(st.integers(0, side - 1), max_size=9)), np.int64)) for side in cells.shape
    )
    x, y = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    size = x + len(columns) + data.draw(st.integers(1, 3)), y + len(rows) + data.draw(st.integers(1, 3))
    whole = np.zeros(size[::-1], bool)
    whole[y : y + len(rows), x : x + len(columns)] = cells[np.ix_(rows, columns)]
    assert Mask.spread(cells, columns, rows, (x, y), size) == Mask.of(whole)


def test_a_part_that_leaves_its_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="2x3 pixels at 4, 0 leave the 5x5 picture"):
        Mask.placed(np.ones((3, 2), bool), (4, 0), (5, 5))
    with pytest.raises(ValueError, match="2x3 pixels at 0, 3 leave the 5x5 picture"):
        Mask.spread(np.ones((1, 1), bool), np.zeros(2, np.int64), np.zeros(3, np.int64), (0, 3), (5, 5))
