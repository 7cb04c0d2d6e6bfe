"""Frames segments: the same records wherever chunks begin, with stages that look back, gates, tiles and damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvpipe.engine import FramesRunner, SequenceRunner, Summary, plan_chunks
from cvpipe.engine.chunks import frames_of
from cvpipe.engine.looking import Look, Post
from cvpipe.errors import StageFailed
from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.pipeline import PipelineSpec, Selection, Sight, parse_pipeline, plan_segments, select_frames
from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.stages import FrameStage, StageOptions
from cvpipe.video import Decoded, VideoIndex
from tests.test_pipeline import make_index

FRAMES = 24
GATE = {"type": "motion_gate", "threshold": 0.1}
SCENES = {"type": "scenes", "threshold": 20}
EDGES = {"type": "edges"}
TILES = {"type": "tiles", "columns": 2, "rows": 2}

PIPELINES: dict[str, list[dict[str, Any]]] = {
    "scenes": [SCENES],
    "a gate": [GATE, EDGES],
    "a gate that holds": [{**GATE, "hold_frames": 3}, EDGES],
    "looking back behind a gate": [{**GATE, "hold_frames": 1}, SCENES, EDGES],
    "two gates": [{**GATE, "name": "a", "hold_frames": 1}, {**GATE, "name": "b", "threshold": 0.3}, EDGES],
    "a gate whose followers are elsewhere": [GATE, {**EDGES, "queue": "other"}],
    "decimated": [{"type": "decimate", "every": 2}, {**GATE, "hold_frames": 2}, SCENES, EDGES],
    "tiles": [SCENES, TILES, EDGES],
    "a condition on frames": [SCENES, {**EDGES, "when": "scenes.cut or time > 2"}],
}


class FakeDecoders:
    """Hands over plain pictures of given shades; None: a damaged frame."""

    def __init__(self, shades: Sequence[int | None]) -> None:
        self._shades = shades

    @contextmanager
    def read(
        self, path: Path, index: VideoIndex, numbers: np.ndarray, views: Sequence[View], *, hold: int
    ) -> Iterator[Iterator[Decoded]]:
        yield (self._make(int(n), views) for n in numbers)

    def _make(self, number: int, views: Sequence[View]) -> Decoded:
        shade = self._shades[number]
        if shade is None:
            return Decoded(number, None, "damaged")
        return Decoded(number, tuple(np.full(view.shape, shade, np.uint8) for view in views))


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> OnnxTools:
    return OnnxTools(tmp_path_factory.mktemp("models"), device="cpu")


class Job:
    def __init__(self, stages: list[dict[str, Any]], shades: Sequence[int | None], tools: OnnxTools) -> None:
        self.spec: PipelineSpec = parse_pipeline({"name": "p", "stages": stages})
        self.index = make_index(np.arange(len(shades)) / 10)
        self.selection: Selection = select_frames(self.spec, self.index)
        self._decoders: Any = FakeDecoders(shades)
        self._runners = [FramesRunner(self.spec, s, tools) for s in plan_segments(self.spec) if s.kind == "frames"]

    def run(self, numbers: np.ndarray) -> list[FrameRecord]:
        records: list[FrameRecord] | None = None
        for runner in self._runners:
            known = None if records is None else {r.frame: r for r in records}
            found = runner.run(self._decoders, Path(), self.index, self.selection, numbers, upstream=known)
            records = list(found)
        return records or []

    def lines(self, pieces: Sequence[np.ndarray]) -> list[str]:
        return [record.to_json() for piece in pieces for record in self.run(piece)]


@pytest.mark.parametrize("name", PIPELINES)
@settings(max_examples=40)
@given(
    shades=st.lists(st.sampled_from([None, 10, 10, 10, 90, 200]), min_size=FRAMES, max_size=FRAMES),
    cuts=st.sets(st.integers(1, FRAMES - 1)),
)
def test_records_are_the_same_wherever_a_chunk_begins_or_goes_on(
    name: str, shades: list[int | None], cuts: set[int], tools: OnnxTools
) -> None:
    job = Job(PIPELINES[name], shades, tools)
    numbers = job.selection.numbers
    assert job.lines(np.split(numbers, sorted(c for c in cuts if c < len(numbers)))) == job.lines([numbers])


def test_chunks_begin_where_the_plan_says_and_yield_the_same(tools: OnnxTools) -> None:
    shades = [10, 10, 90, 90, 90, None, 90, 10] * 3
    job = Job(PIPELINES["looking back behind a gate"], shades, tools)
    chunks = plan_chunks(job.index, job.selection.numbers, 0.4)
    assert len(chunks) == 5
    assert job.lines([frames_of(c, job.selection.numbers) for c in chunks]) == job.lines([job.selection.numbers])


def test_later_stages_do_not_look_at_what_a_gate_skips_and_the_job_reports_the_fraction(tools: OnnxTools) -> None:
    job = Job(PIPELINES["a gate"], [10, 10, 10, 90, 90, None, 90, 90], tools)
    records = job.run(job.selection.numbers)
    assert [r.values["motion_gate"]["skipped"] if r.status == "ok" else None for r in records] == [
        False, True, True, False, True, None, False, True,
    ]  # fmt: skip
    assert [r.frame for r in records if "edges" in r.values] == [0, 3, 6]
    summary = Summary(job.spec, job.selection)
    for record in records:
        summary.add(record)
    assert summary.to_dict() == {"motion_gate": {"frames": 7, "skipped": 4, "skipped_fraction": 0.5714}}


def test_a_gate_is_heeded_by_stages_that_run_elsewhere(tools: OnnxTools) -> None:
    shades = [10, 10, 90, 90]
    apart = Job(PIPELINES["a gate whose followers are elsewhere"], shades, tools)
    together = Job(PIPELINES["a gate"], shades, tools)
    assert apart.lines([apart.selection.numbers]) == together.lines([together.selection.numbers])


class Nosy(FrameStage[StageOptions]):
    """Notes the pictures it is handed."""

    Options = StageOptions

    def __init__(self, batch: int, answer: Any = None) -> None:
        super().__init__(StageOptions(name="nosy"))
        self.calls: list[list[int]] = []
        self._batch, self._answer = batch, answer

    @property
    def batch(self) -> int:
        return self._batch

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        self.calls.append([frame.number for frame in frames])
        if self._answer is not None:
            return self._answer(frames)
        return [Found(values={"x": int(frame.image[0, 0, 0])}) for frame in frames]


class JoinTiles:
    name = "tiles"

    def merge(self, found: Sequence[Found]) -> Found:
        return Found(values={"nosy": [f.values["x"] for f in found]})


def looks(count: int, views: Sequence[View]) -> list[Look]:
    images = [[np.full(view.shape, 10 * n + at, np.uint8) for at, view in enumerate(views)] for n in range(count)]
    return [Look(n, images[n], FrameRecord(n, n, n / 10), is_open=True) for n in range(count)]


def test_a_batch_counts_tiles_and_each_frame_gets_one_result_of_its_own() -> None:
    views = tuple(View.of(64, 48).cropped(x, 0, 32, 48) for x in (0, 16, 32))
    stage: Any = Nosy(batch=4)
    some = looks(3, views)
    tiler: Any = JoinTiles()
    Post(stage, Sight(views, tiler), 0).see(some, {view: at for at, view in enumerate(views)})
    assert stage.calls == [[0, 0, 0, 1], [1, 1, 2, 2], [2]]
    assert [look.record.values for look in some] == [
        {"nosy": [0, 1, 2]},
        {"nosy": [10, 11, 12]},
        {"nosy": [20, 21, 22]},
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(lambda frames: {}["x"], "^stage 'nosy' failed: KeyError: 'x'$", id="it raises"),
        pytest.param(lambda frames: [Found()], "2 pictures to look at, 1 results", id="too few results"),
        pytest.param(
            lambda frames: [Found(skip=True)] * 2, "it must have `skips = True`", id="it skips and never said so"
        ),
    ],
)
def test_a_stage_that_does_wrong_is_blamed(answer: Any, words: str) -> None:
    view = View.of(64, 48)
    stage: Any = Nosy(2, answer)
    with pytest.raises(StageFailed, match=words):
        Post(stage, Sight((view,)), 0).see(looks(2, [view]), {view: 0})


def boxed(number: int, *, cut: bool = False, skipped: bool = False, left: float = 0) -> FrameRecord:
    objects = Objects.make(stage="detect", box=[[left, 0, left + 20, 20]], score=[0.9], label=["x"])
    values = {"scenes": {"cut": cut}, "motion_gate": {"skipped": skipped}}
    return FrameRecord(number, number, number / 10, objects=Objects.none() if skipped else objects, values=values)


def test_tracks_end_at_a_cut_numbers_go_on_and_frames_nobody_looked_at_are_passed_by(tools: OnnxTools) -> None:
    track = {"type": "track", "of": "detect", "reset_at": "scenes", "min_hits": 3}
    spec = parse_pipeline({"name": "p", "stages": [SCENES, GATE, {"type": "detect", "model": "m"}, track]})
    records = [
        boxed(0), boxed(1), boxed(2, skipped=True), boxed(3), boxed(4, cut=True), boxed(5),
        boxed(6, cut=True, skipped=True), boxed(7),
    ]  # fmt: skip
    segment = plan_segments(spec)[-1]

    def tracks(cut_at: int) -> list[int | None]:
        first = SequenceRunner(spec, segment, tools, size=(64, 48))
        out = list(first.run(records[:cut_at]))
        second = SequenceRunner(spec, segment, tools, size=(64, 48))
        second.restore(first.state())
        out += second.run(records[cut_at:])
        return [o["track"] for r in out for o in r.to_dict()["objects"]]

    assert [tracks(cut_at) for cut_at in range(len(records) + 1)] == [[1, 1, 1, 2, 2, 3]] * (len(records) + 1)


def test_a_sequence_stage_that_raises_is_blamed(tools: OnnxTools, monkeypatch: pytest.MonkeyPatch) -> None:
    from cvpipe.stages.track import Track

    spec = parse_pipeline({"name": "p", "stages": [EDGES, {"type": "track"}]})
    runner = SequenceRunner(spec, plan_segments(spec)[-1], tools, size=(64, 48))
    monkeypatch.setattr(Track, "update", lambda self, record: [].pop())
    with pytest.raises(StageFailed, match="^stage 'track' failed: IndexError: pop from empty list$"):
        list(runner.run([boxed(0)]))
