"""`cvpipe cameras` without a service: what a file says, and lenses from chessboards."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.boards import COLUMNS, ROWS, make_board_clip
from tests.cli.conftest import Cvpipe
from tests.test_camera import LENS_DOCUMENT, pitch_camera


def test_a_file_is_calibrated_here(cvpipe: Cvpipe, tmp_path: Path) -> None:
    file = tmp_path / "stand.json"
    file.write_text(json.dumps(pitch_camera(lens={**LENS_DOCUMENT, "coefficients": []})))
    first, error, place = cvpipe("cameras", "show", file).out.splitlines()
    assert first == "stand is ready, known by lens, points"
    assert error.startswith("  reprojection error 0.00 pixels; the worst of 5: points.")
    assert place.endswith(" -60.00, 18.00 m up")
    assert cvpipe("cameras", "show", file, "--json").json["reprojection"]["marks"] == 5
    file.write_text(json.dumps(pitch_camera(points=[])))
    done = cvpipe("cameras", "show", file)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "give `points`, `lines`, `views`" in done.err


def test_a_chessboard_becomes_a_file_with_a_lens(cvpipe: Cvpipe, tmp_path: Path) -> None:
    board = make_board_clip(tmp_path / "board.mp4")
    words = ["cameras", "calibrate", board, "--columns", COLUMNS, "--rows", ROWS]
    done = cvpipe(*words, "--out", tmp_path / "lens.yaml")
    assert done.code == 0, done.err
    assert done.out.startswith("12 pictures of the board, reprojection error 0.")
    written = yaml.safe_load((tmp_path / "lens.yaml").read_text())
    assert (written["width"], written["height"]) == (480, 304)
    assert 380 < written["lens"]["fx"] < 400
    assert cvpipe("cameras", "show", tmp_path / "lens.yaml").out == "lens is ready, known by lens\n"
    assert cvpipe("cameras", "calibrate", tmp_path / "none.mp4", "--columns", 8, "--rows", 5).code == 2
