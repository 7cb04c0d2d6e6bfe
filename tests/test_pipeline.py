"""Pipelines: what is accepted, how mistakes are told, and the plan that comes out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvpipe.errors import InvalidPipeline, NotFound
from cvpipe.frames import Timeline
from cvpipe.job import TimeRange
from cvpipe.pipeline import PipelineSpec, list_pipelines, load_pipeline, parse_pipeline, plan_segments, select_frames
from cvpipe.settings import Settings
from cvpipe.stages.decimate import Decimate, DecimateOptions

EDGES = {"type": "edges"}
DETECT = {"type": "detect", "model": "m"}
TRACK = {"type": "track"}


def make_pipeline(*stages: dict[str, Any]) -> dict[str, Any]:
    return {"name": "p", "stages": list(stages)}


class FakeIndex:
    """Times only: all that frame selection looks at."""

    def __init__(self, times: Any) -> None:
        self.times = np.asarray(times, dtype=np.float64)
        yes = np.ones(len(self.times), np.bool_)
        self.timeline = Timeline(np.arange(len(self.times)), self.times, yes, yes)

    def __len__(self) -> int:
        return len(self.times)


def test_every_built_in_pipeline_is_valid_and_named_after_its_file(tmp_path: Path) -> None:
    names = [spec.name for spec in list_pipelines(Settings(data_dir=tmp_path))]
    files = (Path(__file__).parent.parent / "src/cvpipe/pipelines").glob("*.yaml")
    assert names == sorted(path.stem for path in files)
    assert "people" in names


def test_a_stage_is_named_after_its_type_unless_it_has_a_name() -> None:
    spec = parse_pipeline(make_pipeline(EDGES, {**EDGES, "name": "coarse"}))
    assert [stage.name for stage in spec.stages] == ["edges", "coarse"]


def test_a_pipeline_written_out_reads_as_the_same() -> None:
    spec = parse_pipeline(make_pipeline({"type": "decimate", "fps": 5}, DETECT, {**TRACK, "of": "detect"}))
    assert parse_pipeline(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("stages", "field", "words"),
    [
        pytest.param([{"type": "edgse"}], "pipeline.stages.0.type", "did you mean 'edges'", id="unknown type"),
        pytest.param([{}], "pipeline.stages.0.type", "needs a `type`", id="no type"),
        pytest.param([{"type": "decimate", "fsp": 5}], "pipeline.stages.0.fps", "Field required", id="missing option"),
        pytest.param(
            [{"type": "decimate", "fps": 5, "fsp": 1}],
            "pipeline.stages.0.fsp",
            "did you mean 'fps'",
            id="unknown option",
        ),
        pytest.param([{"type": "decimate", "fps": 0}], "pipeline.stages.0.fps", "greater than 0", id="bad value"),
        pytest.param([EDGES, EDGES], "pipeline.stages.1.name", "two stages are called 'edges'", id="same name"),
        pytest.param([DETECT, TRACK, EDGES], "pipeline.stages.2", "looks at pixels", id="pixels after the sequence"),
        pytest.param(
            [EDGES, {"type": "decimate", "fps": 1}], "pipeline.stages.1", "chooses frames", id="selection too late"
        ),
        pytest.param([DETECT, {**TRACK, "of": "detct"}], "pipeline.stages.1", "did you mean 'detect'", id="reference"),
        pytest.param([], "pipeline.stages", "at least 1", id="no stages"),
        pytest.param([1], "pipeline.stages.0", "", id="not a mapping"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_way_out(stages: list[Any], field: str, words: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline({"name": "p", "stages": stages}, field="pipeline")
    assert caught.value.field is not None
    assert caught.value.field.startswith(field)
    assert words in caught.value.message


def test_the_nearest_pipeline_is_named_when_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="did you mean 'people'"):
        load_pipeline("poeple", settings=Settings(data_dir=tmp_path))


def test_a_file_is_read_only_where_files_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstages: [{type: edges}]\n")
    settings = Settings(data_dir=tmp_path)
    assert load_pipeline(str(path), settings=settings, files=True).name == "mine"
    with pytest.raises(NotFound):
        load_pipeline(str(path), settings=settings)


def test_yaml_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: [")
    with pytest.raises(InvalidPipeline, match=r"bad\.yaml is not valid YAML") as caught:
        load_pipeline(path, settings=Settings(data_dir=tmp_path), files=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        pytest.param([EDGES], [("frames", "cpu", (0,))], id="cpu"),
        pytest.param([EDGES, DETECT, TRACK], [("frames", "gpu", (0, 1)), ("sequence", "sequence", (2,))], id="fused"),
        pytest.param(
            [EDGES, {**DETECT, "queue": "gpu-b"}], [("frames", "cpu", (0,)), ("frames", "gpu-b", (1,))], id="own queue"
        ),
        pytest.param([{"type": "decimate", "fps": 1}], [("frames", "cpu", ())], id="nothing to look at"),
    ],
)
def test_neighbours_on_one_queue_are_fused(stages: list[Any], expected: list[Any]) -> None:
    segments = plan_segments(parse_pipeline(make_pipeline(*stages)))
    assert [(s.kind, s.queue, s.stages) for s in segments] == expected


def test_the_range_and_then_the_decimation_choose_the_frames() -> None:
    spec = parse_pipeline(make_pipeline({"type": "decimate", "fps": 2}, EDGES))
    index = FakeIndex(np.arange(40) / 10)
    assert select_frames(spec, index).tolist() == [0, 5, 10, 15, 20, 25, 30, 35]  # type: ignore[arg-type]
    chosen = select_frames(spec, index, TimeRange(start=0.7, stop=2.0))  # type: ignore[arg-type]
    assert chosen.tolist() == [7, 10, 15]


@given(
    times=st.lists(st.floats(0, 60, allow_nan=False), min_size=1, max_size=200).map(lambda values: sorted(set(values))),
    fps=st.floats(0.1, 60),
)
def test_decimation_keeps_the_first_frame_of_every_interval_and_no_other(times: list[float], fps: float) -> None:
    kept = Decimate(DecimateOptions(fps=fps)).select(FakeIndex(times).timeline)
    ticks = [int(np.floor(time * fps + 1e-6)) for time in times]
    assert kept.tolist() == [n == 0 or ticks[n] != ticks[n - 1] for n in range(len(times))]


def test_a_pipeline_made_in_python_is_checked_the_same() -> None:
    with pytest.raises(ValueError, match="two stages"):
        PipelineSpec(name="p", stages=[DecimateOptions(fps=1), DecimateOptions(fps=2)])  # type: ignore[arg-type]
