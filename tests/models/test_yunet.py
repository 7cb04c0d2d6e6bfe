"""YuNet: faces and five keypoints, from twelve outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from cvpipe.errors import InvalidModel
from cvpipe.inference import ModelCard
from cvpipe.models.yunet import Yunet
from tests.modelcards import facts, make_card

FACES = {"family": "yunet", "task": "faces", "labels": ["face"], "keypoints": "faces"}
SHAPES = [(cells, values) for values in (1, 1, 4, 10) for cells in (64, 16, 4)]


def test_cells_become_faces_with_keypoints(see: Any) -> None:
    parts = [np.zeros(shape, np.float32) for shape in SHAPES]
    # The cell in column 2 and row 1 of stride 16, six cells of stride 8 before it.
    parts[1][6], parts[4][6] = 0.9, 0.4
    parts[7][6] = [0.5, 0.25, np.log(1.5), 0]
    parts[10][6] = [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]
    parts[0][0], parts[3][0] = 0.9, 0.2  # 0.42
    found = see(*parts, **FACES)
    assert facts(found) == [("face", 0.6, [56, 24, 104, 56])]
    assert found.keypoints[0] is not None
    assert found.keypoints[0][:, :2].tolist() == [[64, 32], [96, 32], [80, 48], [64, 64], [96, 64]]
    assert found.keypoints[0][:, 2] == pytest.approx([0.6] * 5)


def test_the_trained_network_finds_what_it_found_before(look: Any) -> None:
    names = ["film 24", "film 72", "film 96", "room 80"]
    film24, film72, film96, room80 = look("yunet", names, score_threshold=0.6)
    for found, score, box in (
        (film24, 0.893, [268.2, 219.4, 314.6, 270.2]),
        (film72, 0.919, [342.9, 174.6, 412.0, 257.9]),
        (film96, 0.888, [358.4, 140.3, 433.9, 241.2]),
    ):
        assert found.score == pytest.approx([score], abs=0.01)
        assert found.box == pytest.approx(np.array([box]), abs=1)
    assert len(room80) == 0
    points = [[370.8, 204.0], [401.8, 201.5], [395.6, 217.3], [376.4, 235.3], [402.0, 233.3]]
    assert film72.keypoints[0][:, :2] == pytest.approx(np.array(points), abs=1)


def test_faces_are_those_that_opencv_reads_from_the_same_network(
    look: Any, assets: Path, pictures: dict[str, av.VideoFrame]
) -> None:
    (found,) = look("yunet", ["film 72"], score_threshold=0.6)
    canvas = np.zeros((384, 640, 3), np.uint8)
    canvas[:360] = pictures["film 72"].reformat(640, 360, "bgr24").to_ndarray()
    theirs = cv2.FaceDetectorYN.create(str(assets / "models" / "yunet_n_dynamic.onnx"), "", (640, 384), 0.6, 0.45)
    (row,) = theirs.detect(canvas)[1] * [*[854 / 640, 480 / 360] * 7, 1]
    assert found.box[0] == pytest.approx([row[0], row[1], row[0] + row[2], row[1] + row[3]], abs=0.02)
    assert found.keypoints[0][:, :2] == pytest.approx(row[4:14].reshape(5, 2), abs=0.02)
    assert found.score[0] == pytest.approx(row[14], abs=1e-3)


@pytest.mark.parametrize("shapes", [SHAPES[:9], SHAPES[::-1], [(84, 1)], []], ids=["9", "order", "one", "no"])
def test_outputs_of_other_networks_are_refused(shapes: list[tuple[int, ...]]) -> None:
    card = ModelCard.model_validate(make_card(**FACES))
    with pytest.raises(InvalidModel, match=r"yunet at 64x64 has outputs of shapes \[\(64, 1\), \(16, 1\)"):
        Yunet().check(shapes, card)
    Yunet().check(SHAPES, card)


@pytest.mark.parametrize(("change", "field"), [({"labels": ["a", "b"]}, "labels"), ({"keypoints": ["a"]}, "keypoints")])
def test_a_face_has_one_label_and_five_keypoints(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidModel, match="yunet has one label") as caught:
        Yunet().check(SHAPES, ModelCard.model_validate(make_card(**FACES | change)))
    assert caught.value.field == field
