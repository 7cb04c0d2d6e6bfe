"""A lens is found again in a drawn video of a chessboard."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from cvpipe.engine.chessboard import find_lens
from cvpipe.errors import InvalidRequest
from cvpipe.video import Decoders
from cvpipe.work.camera import with_lens
from tests.boards import COLUMNS, LENS, ROWS, SIZE, make_board_clip
from tests.test_camera import parse_camera


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_board_clip(tmp_path_factory.mktemp("boards") / "board.mp4")


def test_a_lens_is_found_as_well_as_it_says(board: Path) -> None:
    with Decoders() as decoders:
        found = find_lens(decoders, board, decoders.index(board), cv2, columns=COLUMNS, rows=ROWS)
    assert found.size == SIZE
    assert found.pictures >= 10
    assert found.rms_pixels < 0.3
    wanted = [LENS.fx, LENS.fy, LENS.cx, LENS.cy, *LENS.coefficients]
    numbers = [found.lens.fx, found.lens.fy, found.lens.cx, found.lens.cy, *found.lens.coefficients]
    for value, truth, deviation in zip(numbers, wanted, found.lens.deviations, strict=True):
        assert deviation > 0
        assert abs(value - truth) < 5 * deviation + 1e-3
    assert found.lens.fx == pytest.approx(LENS.fx, rel=0.01)

    # In a camera whose points were counted in pictures of twice the size.
    spec = parse_camera({"width": 960, "height": 608, "points": [{"pixel": [n, n], "world": [n, 0]} for n in range(4)],
                         "chessboard": {"video": "0" * 64, "columns": COLUMNS, "rows": ROWS}})  # fmt: skip
    camera = with_lens(spec, found)
    assert camera.lens is not None
    assert (camera.width, camera.chessboard) == (960, None)
    assert camera.lens.fx == pytest.approx(2 * found.lens.fx)


def test_a_board_of_other_squares_is_not_found(board: Path) -> None:
    with Decoders() as decoders, pytest.raises(InvalidRequest, match=r"9 x 6 inner corners was seen whole on 0 of 12"):
        find_lens(decoders, board, decoders.index(board), cv2, columns=9, rows=6)
