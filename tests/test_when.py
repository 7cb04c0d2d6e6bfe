"""`when`: a stage looks only at the objects, or the frames, for which its condition holds; nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cvpipe.engine import SequenceRunner
from cvpipe.engine.looking import Look, Post
from cvpipe.engine.veils import Veil
from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.pipeline import Sight, parse_pipeline, plan_segments
from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.stages import FrameStage, StageOptions
from tests.test_looking_back import EDGES, SCENES, Job

VIEW = View.of(64, 48)
CARS_ONLY = 'label == "car" and score > 0.5'


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> OnnxTools:
    return OnnxTools(tmp_path_factory.mktemp("models"), device="cpu")


def make_objects(labels: Sequence[str] = ("car", "person", "car", "car"), stage: str = "things") -> Objects:
    n = len(labels)
    return Objects.make(
        stage=stage, box=[[20 * i, 0, 20 * i + 10, 10] for i in range(n)], score=[0.9, 0.9, 0.3, 0.8][:n], label=labels
    )


class Inspect(FrameStage[StageOptions]):
    """Says of each object of `things` how many it was shown; drops or adds some where told so."""

    Options = StageOptions

    def __init__(self, when: str | None, *, drop: int = 0) -> None:
        super().__init__(StageOptions(name="inspect", when=when))
        self._drop = drop

    def references(self) -> tuple[str, ...]:
        return ("things",)

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        out = []
        for objects in found:
            mine = objects.of_stage("things")
            told = objects.with_values("inspect", {int(i): int(mine.sum()) for i in np.flatnonzero(mine)})
            out.append(
                Found(objects=told.where(np.arange(len(told)) >= self._drop), added=make_objects(("new",), "it"))
            )
        return out


def seen_by(stage: Any, objects: Objects) -> Objects:
    look = Look(0, [np.zeros(VIEW.shape, np.uint8)], FrameRecord(0, 0, 0.0, objects=objects), is_open=True)
    Post(stage, Sight((VIEW,)), 0).see([look], {VIEW: 0})
    return look.record.objects


def test_a_stage_is_shown_the_objects_for_which_its_condition_holds_and_all_keep_their_places() -> None:
    others = make_objects(("car",), stage="others")
    before = Objects.concat((others, make_objects()))
    after = seen_by(Inspect(CARS_ONLY), before)
    assert after.values == (None, {"inspect": 2}, None, None, {"inspect": 2}, None)
    assert after.label == ("car", "car", "person", "car", "car", "new")
    assert replace(after, values=()).to_dicts()[:5] == before.to_dicts()


def test_a_stage_without_a_condition_is_shown_all() -> None:
    assert seen_by(Inspect(None), make_objects()).values == ({"inspect": 4},) * 4 + (None,)


def test_of_objects_that_a_stage_drops_only_those_that_it_saw_are_gone() -> None:
    after = seen_by(Inspect(CARS_ONLY, drop=1), make_objects())
    assert list(zip(after.label, after.score.round(1).tolist(), strict=True)) == [
        ("person", pytest.approx(0.9)), ("car", pytest.approx(0.3)), ("car", pytest.approx(0.8)),
        ("new", pytest.approx(0.9)),
    ]  # fmt: skip


def test_where_no_object_is_hidden_nothing_is_copied() -> None:
    record = FrameRecord(0, 0, 0.0, objects=make_objects(("car",)))
    assert Veil.of(Inspect(CARS_ONLY), record).seen is record.objects


def test_only_what_the_condition_holds_for_is_tracked(tools: OnnxTools) -> None:
    stages = [{"type": "detect", "name": "things", "model": "m"}, {"type": "track", "of": "things", "when": CARS_ONLY}]
    spec = parse_pipeline({"name": "p", "stages": stages})
    runner = SequenceRunner(spec, plan_segments(spec)[-1], tools, size=(64, 48))
    records = [FrameRecord(n, n, n / 10, objects=make_objects()) for n in range(3)]
    found = list(runner.run(records))
    assert [record.objects.track.tolist() for record in found] == [[1, -1, -1, 2]] * 3
    assert [replace(r.objects, track=np.full(4, -1, np.int32)) for r in found] == [make_objects()] * 3


def test_a_frame_for_which_the_condition_does_not_hold_is_not_looked_at_and_says_so(tools: OnnxTools) -> None:
    job = Job(
        [SCENES, {**EDGES, "when": "scenes.cut or frame == 1"}, {**EDGES, "name": "all"}], [10, 10, 10, 200], tools
    )
    records = job.run(job.selection.numbers)
    assert [record.values["edges"] for record in records] == [
        {"skipped": True}, {"density": 0.0, "centre": None}, {"skipped": True}, {"density": 0.0, "centre": None},
    ]  # fmt: skip
    assert all(record.values["all"] == {"density": 0.0, "centre": None} for record in records)


def test_a_tracker_takes_a_frame_at_which_nobody_looked_as_time_that_passes(tools: OnnxTools) -> None:
    detect = {"type": "detect", "name": "things", "model": "m", "when": "scenes.score > 1"}
    spec = parse_pipeline(
        {"name": "p", "stages": [SCENES, detect, {"type": "track", "of": "things", "lost_seconds": 0}]}
    )
    runner = SequenceRunner(spec, plan_segments(spec)[-1], tools, size=(64, 48))
    looked = FrameRecord(0, 0, 0.0, objects=make_objects(("car",)))
    skipped = FrameRecord(1, 1, 0.1, values={"things": {"skipped": True}})
    again = FrameRecord(2, 2, 0.2, objects=make_objects(("car",)))
    assert [r.objects.track.tolist() for r in runner.run([looked, skipped, again])] == [[1], [], [1]]
