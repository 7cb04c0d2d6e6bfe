"""`embed`: vectors of frames and objects."""

from __future__ import annotations

import base64
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cvpipe.embeddings import from_value
from cvpipe.errors import InvalidPipeline
from cvpipe.results import Objects
from tests.people import Room
from tests.picturenetworks import means, open_stage, pooled, records, seen, things

CARD = {"family": "embedding", "task": "embedding", "labels": [], "input": {"width": 64, "height": 64}}


def scene() -> np.ndarray:
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:, :320] = (30, 40, 0)
    picture[:, 320:] = (0, 0, 90)
    return picture


def test_a_vector_is_base64_of_little_endian_halves_of_length_one(tmp_path: Path) -> None:
    stage = open_stage(tmp_path, "embed", means(64, 64), card=CARD, of="things")
    found = [things([10, 10, 110, 110], [400, 100, 500, 200])]
    (record,) = records(stage.process(seen(stage, [scene()]), found), found)
    first, second = (row["values"]["it"] for row in record["objects"])
    assert first["size"] == 3
    assert np.frombuffer(base64.b64decode(first["vector"]), "<f2") == pytest.approx([0.6, 0.8, 0], abs=1e-3)
    assert np.frombuffer(base64.b64decode(second["vector"]), "<f2").tolist() == [0, 0, 1]


def test_frames_have_vectors_too(tmp_path: Path) -> None:
    card = CARD | {"input": {"width": 64, "height": 64, "resize": "stretch"}}
    stage = open_stage(tmp_path, "embed", means(64, 64), card=card)
    (record,) = records(stage.process(seen(stage, [scene()]), [Objects.none()]), [Objects.none()])
    whole = np.array([15, 20, 45]) / np.linalg.norm([15, 20, 45])
    assert from_value(record["values"]["it"]) == pytest.approx(whole, abs=1e-3)


def test_a_model_for_another_task_is_refused_with_the_stage_that_runs_it(tmp_path: Path) -> None:
    card = {"family": "depth-map", "task": "depth", "labels": []}
    with pytest.raises(InvalidPipeline, match="is for depth .*'depth' runs it"):
        open_stage(tmp_path, "embed", pooled(64, 64, stride=4, to="first"), card=card)


def test_the_same_person_looks_more_alike_than_another_one(assets: Path, tmp_path: Path) -> None:
    room = Room(assets, tmp_path)
    stage = room.open("embed", model="person-reid", of="detect")
    numbers = [100, 120, 300, 320, 560, 580, 800, 820, 980, 1000]  # five people, one after another
    people = [room.people(number) for number in numbers]
    assert [len(objects) for objects in people] == [1] * 10
    together = room.look(stage, numbers, people)
    alone = [room.look(stage, [number], [objects])[0] for number, objects in zip(numbers, people, strict=True)]
    assert [record["objects"] for record in together] == [record["objects"] for record in alone]
    vectors = [from_value(record["objects"][0]["values"]["embed"]) for record in together]
    likeness = {
        (a // 2, b // 2): float(vectors[a] @ vectors[b])  # type: ignore[operator]
        for a, b in product(range(10), range(10))
        if a % 2 == 0 and b % 2 == 1
    }
    same = [likeness[n, n] for n in range(5)]
    others = [score for (a, b), score in likeness.items() if a != b]
    assert min(same) > 0.98
    assert max(others) == pytest.approx(0.94, abs=0.02)  # two men in black
    assert sorted(others)[-3] < 0.8
    assert vectors[0].shape == (256,)  # type: ignore[union-attr]
    assert likeness[0, 4] == pytest.approx(0.78, abs=0.02)
