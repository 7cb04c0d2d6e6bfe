"""One run: a truth without faults, then clients and the nemesis together, then the end, and the checker's word."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cvpipe.webhooks import new_secret
from tests.chaos.checker import Violation, check
from tests.chaos.clients import Clients
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import await_rest, collect, run_without_faults
from tests.chaos.faults import Fault, Scene
from tests.chaos.history import History
from tests.chaos.nemesis import Nemesis
from tests.chaos.receiver import Receiver
from tests.chaos.recipes import RECIPES, Recipe, draw

_PATIENCE_SECONDS = 180.0
_WEBHOOK_SECONDS = 45.0


@dataclass
class Outcome:
    """What came of a run. defects: of the service's processes, and of the runner itself."""

    history: History
    faults: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    repairs: int = 0
    recoveries: Sequence[tuple[str, float]] = ()
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    @property
    def is_red(self) -> bool:
        """Something must not be."""
        return bool(self.violations or self.defects)


class Laboratory:
    """A cluster with its videos uploaded and its truth known, for as long as the block lasts."""

    def __init__(
        self, folder: Path, seed: int, *, workers: int, recipes: Sequence[Recipe] = RECIPES,
        say: Callable[[str], None] = print,
    ) -> None:  # fmt: skip
        self.folder, self.seed, self.recipes, self.say = folder, seed, recipes, say
        self.history = History(folder / "history.ndjson")
        self._open = ExitStack()
        self.cluster = Cluster(folder, self.history, workers=workers)

    def __enter__(self) -> Self:
        self._open.callback(self.history.close)
        self._open.callback(self.cluster.close)
        try:
            self.cluster.start()
            self.receiver = self._open.enter_context(Receiver(self.history, new_secret(), self.seed))
            self.videos = {name: self.upload(name) for name in dict.fromkeys(recipe.video for recipe in self.recipes)}
            self.truths = run_without_faults(self.cluster, self.recipes, self.videos)
        except BaseException:
            self._open.close()
            raise
        self.say(f"without faults: {', '.join(f'{name} {truth.state}' for name, truth in self.truths.items())}")
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def upload(self, name: str) -> str:
        """Draw a video; its id."""
        with self.cluster.client(60) as client:
            return client.upload(draw(self.folder / "videos" / name)).id

    def break_for(self, seconds: float, faults: Sequence[Fault], *, clients: int, pace: float) -> Outcome:
        """Clients and the nemesis for so long; then the end of all jobs, and what the checker says."""
        began = time.monotonic()
        work = Clients(
            self.cluster, self.history, self.receiver, self.recipes, self.videos, seed=self.seed, count=clients
        )
        work.start()
        with Nemesis(Scene(self.cluster, self.history), faults, self.seed, pace=pace) as nemesis:
            while (left := began + seconds - time.monotonic()) > 0:
                time.sleep(min(left, 30))
                accepted, faulted = len(self.history.of("accepted")), sum(self.history.faults().values())
                self.say(f"{time.monotonic() - began:5.0f} s: {faulted} faults, {accepted} jobs")
        work.stop(patience_seconds=_PATIENCE_SECONDS)
        return self._judge(began, [*work.wrong, *nemesis.failures])

    def _judge(self, began: float, defects: list[str]) -> Outcome:
        await_rest(self.cluster, patience_seconds=_PATIENCE_SECONDS)
        found = collect(self.cluster)
        if not found:
            defects = [*defects, "no job was done: this run has proved nothing"]
        self._await_webhooks({evidence.job.id for evidence in found})
        return Outcome(
            self.history,
            faults=self.history.faults(),
            jobs=Counter(evidence.job.state.value for evidence in found),
            frames=sum(len(evidence.records) for evidence in found),
            repairs=sum(evidence.job.repairs + evidence.job.retries for evidence in found),
            seconds=time.monotonic() - began,
            violations=check(self.history, self.truths, found),
            defects=[*defects, *self.cluster.unexpected, *self.receiver.forged],
        )

    def _await_webhooks(self, jobs: set[str]) -> None:
        deadline = time.monotonic() + _WEBHOOK_SECONDS
        while jobs - {entry.facts["job"] for entry in self.history.of("delivered")} and time.monotonic() < deadline:
            time.sleep(0.5)
