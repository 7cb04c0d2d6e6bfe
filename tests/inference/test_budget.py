"""Memory for models: who is loaded, who has to go, who waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from cvpipe.errors import NoRoomForModels
from cvpipe.inference import budget
from cvpipe.inference.budget import Budget
from cvpipe.inference.shares import Share, working_for

MIB = 2**20


class Machine:
    """Memory that models take and give back."""

    def __init__(self, limit: int) -> None:
        self.taken = 0
        self.log: list[str] = []
        self.budget = Budget(limit * MIB, taken=lambda: self.taken)

    def open(self, name: str, size: int, *, expected: int | None = None) -> Model:
        return self.budget.open(
            name, name, lambda: Model(self, name, size), expected=(size if expected is None else expected) * MIB
        )


class Model:
    def __init__(self, machine: Machine, name: str, size: int) -> None:
        self.machine, self.name, self.size = machine, name, size
        self.is_loaded = False
        self.load()

    def load(self) -> None:
        self.is_loaded = True
        self.machine.taken += self.size * MIB
        self.machine.log.append(f"+{self.name}")

    def unload(self) -> None:
        self.is_loaded = False
        self.machine.taken -= self.size * MIB
        self.machine.log.append(f"-{self.name}")


def test_models_that_fit_stay() -> None:
    machine = Machine(100)
    for name in "abc":
        machine.open(name, 30)
    assert machine.budget.loaded() == {"a": 30 * MIB, "b": 30 * MIB, "c": 30 * MIB}
    assert machine.log == ["+a", "+b", "+c"]


def test_the_model_that_was_idle_longest_makes_room() -> None:
    machine = Machine(100)
    for name in "abc":
        machine.open(name, 30)
    with machine.budget.holding(["a"]):
        pass
    machine.open("d", 30)
    assert machine.log[-2:] == ["-b", "+d"]
    with machine.budget.holding(["b"]):
        assert machine.log[-2:] == ["-c", "+b"]
    assert machine.taken == 90 * MIB


def test_what_is_expected_wrong_is_put_right_when_it_is_measured() -> None:
    machine = Machine(100)
    machine.open("a", 30)
    machine.open("b", 90, expected=10)
    assert machine.log == ["+a", "+b", "-a"]
    assert machine.budget.loaded() == {"b": 90 * MIB}


def test_a_model_in_memory_that_others_left_counts_for_what_it_surely_takes() -> None:
    machine, told = Machine(100), list[int]()
    made = machine.budget.open(
        "a", "a", lambda: Model(machine, "a", 0), expected=40 * MIB, least=20 * MIB, measured=told.append
    )
    assert machine.budget.loaded() == {"a": 20 * MIB}
    assert told == [20 * MIB]
    assert made.is_loaded


@pytest.mark.parametrize("expected", [150, 10], ids=["known", "measured"])
def test_a_model_larger_than_the_limit_is_refused(expected: int) -> None:
    machine = Machine(100)
    with pytest.raises(NoRoomForModels, match="a needs 150 MiB; models may take 100 MiB of cpu"):
        machine.open("a", 150, expected=expected)
    assert machine.taken == 0
    machine.open("b", 100)


def test_models_that_can_not_be_there_together_are_refused() -> None:
    machine = Machine(100)
    machine.open("a", 60)
    machine.open("b", 60)
    with pytest.raises(NoRoomForModels, match="a and b need 120 MiB"), machine.budget.holding(["a", "b"]):
        pass


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_job_waits_for_a_model_in_use_and_says_so() -> None:
    machine, said = Machine(100), []
    machine.open("a", 80)
    machine.open("b", 50)  # a goes
    told = threading.Event()

    def tell(what: str | None) -> None:
        said.append(what)
        told.set()

    def work() -> None:
        with working_for(Share("job", tell=tell)), machine.budget.holding(["a"]):
            assert machine.taken == 80 * MIB

    with machine.budget.holding(["b"]):
        thread = started(work)
        assert told.wait(20)
        time.sleep(0.05)
        assert machine.log == ["+a", "-a", "+b"]
    thread.join(20)
    assert machine.log == ["+a", "-a", "+b", "-b", "+a"]
    assert said == ["model a needs 80 MiB, 50 MiB free on cpu", None]


def test_a_wait_ends_when_the_job_is_canceled() -> None:
    machine = Machine(100)
    machine.open("a", 80)

    def stop() -> None:
        raise InterruptedError

    raised: list[type[BaseException]] = []

    def work() -> None:
        with working_for(Share("job", check=stop)):
            try:
                machine.open("b", 50)
            except InterruptedError as error:
                raised.append(type(error))

    with machine.budget.holding(["a"]):
        started(work).join(20)
    assert raised == [InterruptedError]
    machine.open("b", 50)
    assert machine.log == ["+a", "-a", "+b"]


def test_who_holds_models_and_needs_one_more_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(100)
    machine.open("a", 80)
    with machine.budget.holding(["a"]):
        machine.open("b", 50)
    assert machine.log == ["+a", "+b"]
    assert "more models than there is room for" in caplog.text


def test_two_jobs_with_both_models_each_do_not_wait_for_each_other() -> None:
    machine = Machine(100)
    for name in "abc":
        machine.open(name, 45)
    done: list[str] = []

    def work(first: str, second: str) -> None:
        for _ in range(20):
            with machine.budget.holding([first, second]):
                time.sleep(0.001)
        done.append(first + second)

    threads = [started(lambda: work("a", "b")), started(lambda: work("b", "c")), started(lambda: work("c", "a"))]
    for thread in threads:
        thread.join(30)
    assert sorted(done) == ["ab", "bc", "ca"]
    assert machine.taken <= 100 * MIB


def waiting(machine: Machine, share: Share, key: str, out: list[str]) -> threading.Thread:
    """Somebody who waits for a model."""
    told = threading.Event()

    def work() -> None:
        with (
            working_for(Share(share.job, share.priority, lambda _: told.set())),
            machine.budget.holding([key]),
        ):
            out.append(key)

    thread = started(work)
    assert told.wait(20)
    return thread


def test_who_has_waited_long_goes_before_those_whose_models_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_PATIENCE_SECONDS", 0.2)
    machine, done = Machine(100), threading.Event()
    machine.open("b", 60)
    machine.open("a", 60)
    until, turns = time.monotonic() + 20, [0, 0]

    def again_and_again(place: int) -> None:
        while not done.is_set() and time.monotonic() < until:
            with machine.budget.holding(["a"]):
                turns[place] += 1
                time.sleep(0.01)

    def work() -> None:
        with machine.budget.holding(["b"]):
            done.set()

    threads = [started(lambda: again_and_again(0)), started(lambda: again_and_again(1))]
    time.sleep(0.05)
    threads.append(started(work))
    assert done.wait(15)
    for thread in threads:
        thread.join(20)
    assert min(turns) > 0
    assert machine.log[:5] == ["+b", "-b", "+a", "-a", "+b"]


@pytest.mark.parametrize(
    ("priority", "patience", "passes"),
    [
        pytest.param(4, 600, ["c", "d"], id="not for long yet"),
        pytest.param(4, 0, ["c"], id="long"),
        pytest.param(9, 600, ["c"], id="more urgent"),
        pytest.param(1, 0, ["c", "d"], id="less urgent"),
    ],
)
def test_what_fits_beside_the_one_that_waits_passes_it(
    priority: int, patience: float, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_PATIENCE_SECONDS", patience)
    machine, out = Machine(100), list[str]()
    machine.open("b", 80)
    machine.open("a", 50)  # b goes
    machine.open("c", 20)
    machine.open("d", 30)
    with machine.budget.holding(["a"]):
        first = waiting(machine, Share("first", priority), "b", out)
        for key in passes:
            with machine.budget.holding([key]):
                pass
        others = [waiting(machine, Share("other"), key, out) for key in ("c", "d") if key not in passes]
        assert out == []
    for thread in (first, *others):
        thread.join(20)
    assert out == ["b", *(key for key in ("c", "d") if key not in passes)]
