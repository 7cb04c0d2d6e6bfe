"""Threads of a call and calls at once: measured, remembered, and never at the price of other results."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cvpipe.frames import View
from cvpipe.inference import OnnxTools, find_card
from cvpipe.inference.choice import Ask, choose_way, ways
from cvpipe.inference.remembered import Remembered, known_of
from tests.modelcards import mean_network, write_card


def network(seconds: dict[int, float], answers: dict[int, float] | None = None) -> Callable[[int], Ask]:
    """Asks that take so long with so many threads."""

    def open_with(threads: int) -> Ask:
        def ask() -> list[np.ndarray]:
            time.sleep(seconds[threads])
            return [np.array([(answers or {}).get(threads, 1.0)])]

        return ask

    return open_with


@pytest.mark.parametrize(
    ("cores", "askers", "expected"),
    [
        (1, 1, [(1, 1)]),
        (2, 2, [(1, 2), (2, 1)]),
        (2, 1, [(1, 1), (2, 1)]),
        (8, 4, [(1, 4), (2, 4), (4, 2), (8, 1)]),
    ],
    ids=["one core", "two cores", "one asker", "eight cores"],
)
def test_what_is_worth_a_try(cores: int, askers: int, expected: list[tuple[int, int]]) -> None:
    assert ways(cores, askers) == expected


@pytest.mark.parametrize(
    ("seconds", "answers", "threads", "calls"),
    [
        ({1: 0.02, 2: 0.02}, {}, 1, 2),
        ({1: 0.4, 2: 0.01}, {}, 2, 1),
        ({1: 0.02, 2: 0.01}, {2: 1.5}, 1, 2),
    ],
    ids=["calls at once", "threads for a call", "threads that change the answer"],
)
def test_the_faster_way_is_taken_where_answers_are_the_same(
    seconds: dict[int, float], answers: dict[int, float], threads: int, calls: int
) -> None:
    choice = choose_way(network(seconds, answers), cores=2, askers=2, seconds=0.04, rounds=2)
    assert (choice.threads, choice.calls) == (threads, calls)
    assert choice.rates["1x2"] > 0


def test_a_way_that_looked_faster_for_a_while_is_not_taken() -> None:
    asked = []

    def open_with(threads: int) -> Ask:
        def ask() -> list[np.ndarray]:
            asked.append(threads)
            is_lucky = threads == 2 and asked.count(2) < 4
            time.sleep(0.002 if is_lucky else 0.2 * threads)
            return [np.ones(1)]

        return ask

    choice = choose_way(open_with, cores=2, askers=2, seconds=0.01, rounds=5)
    assert (choice.threads, choice.calls) == (1, 2)
    assert 4 <= asked.count(2) <= 6  # it was out of the race with its first bad round


def test_a_worker_of_one_thread_leaves_the_other_cores_to_other_workers(tmp_path: Path) -> None:
    write_card(tmp_path / "models", mean_network(), input={"width": 160, "height": 160})
    tools = OnnxTools(tmp_path / "models", "cpu", data_path=tmp_path / "data", threads=1)
    tools._cores = 8
    opened = tools.network("tiny")
    assert opened._opening.threads == 1
    (values,) = known_of(tmp_path / "data", opened.card.sha256).values()
    assert "threads" not in values  # there was nothing to choose


def test_what_was_measured_is_remembered_and_shown(tmp_path: Path) -> None:
    write_card(tmp_path / "models", mean_network(), input={"width": 160, "height": 160})
    tools = OnnxTools(tmp_path / "models", "cpu", data_path=tmp_path / "data", threads=2)
    tools._cores = 2
    opened = tools.network("tiny")
    sha256 = find_card(tmp_path / "models", "tiny").sha256
    (values,) = known_of(tmp_path / "data", sha256).values()
    assert values["threads"] * values["calls"] == 2
    assert set(values["rates"]) == {"1x2", "2x1"}
    assert values["bytes"] >= 0
    assert opened.is_loaded

    class Never:
        def __getattr__(self, name: str) -> None:
            raise AssertionError("measured again")

    again = OnnxTools(tmp_path / "models", "cpu", data_path=tmp_path / "data", threads=2)
    again._cores = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cvpipe.inference.choice.choose_way", Never())
        assert again.network("tiny").is_loaded


def test_a_file_that_is_no_json_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "engine.json").write_text("{")
    remembered = Remembered(tmp_path)
    assert remembered.get("a", "cpu") == {}
    remembered.put("a", "cpu", {"bytes": 1})
    Remembered(tmp_path).put("b", "cpu", {"bytes": 2})
    remembered.put("a", "cpu", {"calls": 3})
    assert Remembered(tmp_path).get("b", "cpu") == {"bytes": 2}
    assert known_of(tmp_path, "a") == {"cpu": {"bytes": 1, "calls": 3}}


def test_a_network_unloaded_and_loaded_again_answers_the_same(tmp_path: Path) -> None:
    write_card(tmp_path, mean_network(), input={"width": 160, "height": 160})
    opened = OnnxTools(tmp_path, "cpu").network("tiny")
    image = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    ((before,),) = opened.run([image])
    opened.unload()
    assert not opened.is_loaded
    ((after,),) = opened.run([image])
    assert opened.is_loaded
    assert np.array_equal(before, after)


def test_what_a_trial_has_shown_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card(tmp_path / "models", mean_network(), input={"width": 160, "height": 160, "anchor": "top-left"})
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)

    def answer() -> tuple[View, np.ndarray]:
        network = OnnxTools(tmp_path / "models", "cpu", data_path=tmp_path / "data").network("tiny")
        view = network.input_view(View.of(320, 180))
        return view, network.run([image])[0][0]

    view, before = answer()
    assert (view.width, view.height) == (160, 96)
    monkeypatch.delattr("cvpipe.inference.networks.run_limited")  # trials use it
    monkeypatch.delattr("cvpipe.inference.networks.answers_alike")
    again, after = answer()
    assert again == view
    assert np.array_equal(before, after)
    write_card(
        tmp_path / "models", mean_network(), input={"width": 160, "height": 160}, score_threshold=0.9
    )  # another card: what was found may not hold
    with pytest.raises(NameError, match="run_limited"):
        answer()
