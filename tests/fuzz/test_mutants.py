"""A short run of the fuzzer (the long one is `make fuzz`), and that the fuzzer would see what it looks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.fuzz import trial
from tests.fuzz.mutants import Corpus
from tests.fuzz.seeds import corpus
from tests.fuzz.structure import blocks
from tests.fuzz.trial import CODES, Bench


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Corpus:
    return corpus(tmp_path_factory.mktemp("corpus"), whole=False)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_hundred_mutants_end_in_success_or_a_code(files, bench):
    outcomes = [bench.try_out(files.mutant(seed)) for seed in range(1, 101)]
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    ends = Counter(outcome.end for outcome in outcomes)
    assert set(ends) <= CODES | {"success", "success with damage"}
    assert (
        min(ends["success"], ends["success with damage"], ends["media_unreadable"]) >= 5
    )  # the mutants are not all alike


def test_a_seed_makes_the_same_mutant_of_the_same_files(files):
    again = Corpus(files.files)  # made anew, VP8's differ on a busy machine: its encoder looks at the clock
    assert all(files.mutant(seed) == again.mutant(seed) for seed in range(200))
    assert len({files.mutant(seed).data for seed in range(200)}) > 190


@pytest.mark.parametrize(
    ("name", "least"),
    [("closed.mp4", 25), ("open.mkv", 20), ("b-frames.avi", 45), ("open.ts", 50), ("mpeg2.mpg", 40), ("vp9.webm", 20)],
)
def test_blocks_are_found_in_every_container(files, name, least):
    data = files.files[name]
    found = blocks(data)
    assert len(found) >= least
    assert all(0 <= block.start < block.stop <= len(data) for block in found)


def test_good_files_come_out_whole_and_exact(files, bench):
    for seed, (name, data) in enumerate(files.files.items()):
        good = replace(files.mutant(seed), source=name, data=data)
        outcome = bench.try_out(good, compare=True)
        assert (outcome.end, outcome.wrong, outcome.inexact) == ("success", None, False), name
        assert 20 * 2**20 < outcome.peak_bytes < trial.MEMORY


def test_what_must_not_be_is_noticed(files, bench, monkeypatch):
    good = replace(files.mutant(1), data=files.files["closed.mp4"])
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    assert "it took" in bench.try_out(good).wrong
    monkeypatch.setattr(trial, "SECONDS", 40.0)
    monkeypatch.setattr(trial, "MEMORY", 2**20)
    assert "MB" in bench.try_out(good).wrong
    monkeypatch.setattr(trial, "MEMORY", 2**30)
    monkeypatch.setattr(trial, "CODES", frozenset())
    assert "is no code for a file" in bench.try_out(replace(good, data=b"not a video")).wrong
