"""Pipelines: what is accepted, how mistakes are told, and the plan that comes out."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline, NotFound
from cvpipe.job import TimeRange
from cvpipe.pipeline import (
    PipelineSpec,
    job_stages,
    list_pipelines,
    load_pipeline,
    nothing_left,
    parse_pipeline,
    part_of,
    plan_segments,
    select_frames,
)
from cvpipe.settings import Settings
from cvpipe.stages.decimate import DecimateOptions
from cvpipe.video import VideoFacts, VideoIndex

EDGES = {"type": "edges"}
DETECT = {"type": "detect", "model": "m"}
TRACK = {"type": "track"}
SCENES = {"type": "scenes"}
CROPS = {"type": "crops", "of": "detect"}
READ = {"type": "read_text", "of": "crops"}


def make_pipeline(*stages: dict[str, Any]) -> dict[str, Any]:
    return {"name": "p", "stages": list(stages)}


def make_index(times: Any, *, creation_time: str | None = None) -> VideoIndex:
    """An index of frames at these times, every fifth a keyframe, every second a reference; the last lasts 0.1 s."""
    pts = np.round(np.asarray(times) * 1e6).astype(np.int64)
    facts = VideoFacts(
        container="mp4", codec="h264", pixel_format="yuv420p", width=64, height=48, display_width=64, display_height=48,
        rotation=0, frames=len(pts), duration_seconds=round(float(pts[-1] - pts[0]) / 1e6 + 0.1, 6), fps=10.0,
        time_base="1/1000000", stream=0, header={"creation_time": creation_time},
    )  # fmt: skip
    number = np.arange(len(pts))
    return VideoIndex(facts, pts, number % 5 == 0, number % 2 == 0, np.ones(len(pts), np.int64))


def test_every_built_in_pipeline_is_valid_and_named_after_its_file(tmp_path: Path) -> None:
    names = [spec.name for spec in list_pipelines(Settings(data_dir=tmp_path))]
    files = (Path(__file__).parent.parent / "src/cvpipe/pipelines").glob("*.yaml")
    assert names == sorted(path.stem for path in files)
    assert "people" in names


def test_a_stage_is_named_after_its_type_unless_it_has_a_name() -> None:
    spec = parse_pipeline(make_pipeline(EDGES, {**EDGES, "name": "coarse"}))
    assert [stage.name for stage in spec.stages] == ["edges", "coarse"]


def test_a_pipeline_written_out_reads_as_the_same() -> None:
    spec = parse_pipeline(make_pipeline({"type": "range", "from": 2.5}, {"type": "decimate", "fps": 5}, DETECT, TRACK))
    assert spec.model_dump(mode="json")["stages"][0]["from"] == 2.5
    assert parse_pipeline(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("stages", "field", "words"),
    [
        pytest.param([{"type": "edgse"}], "pipeline.stages.0.type", "did you mean 'edges'", id="unknown type"),
        pytest.param([{}], "pipeline.stages.0.type", "needs a `type` (there is: caption, ", id="no type"),
        pytest.param(
            [{"type": "constant_rate"}],
            "pipeline.stages.0.fps",
            "stage 1 (constant_rate): fps is missing",
            id="missing option",
        ),
        pytest.param([{"type": "decimate"}], "pipeline.stages.0", "give exactly one of", id="none of several"),
        pytest.param(
            [{"type": "decimate", "fps": 1, "every": 2}],
            "pipeline.stages.0",
            "got `fps` and `every`",
            id="two of several",
        ),
        pytest.param([{"type": "range"}], "pipeline.stages.0", "give `from` and `to`", id="a range without bounds"),
        pytest.param(
            [{"type": "range", "from": 1, "to_frame": 9}], "pipeline.stages.0", "or `from_frame`", id="a mixed range"
        ),
        pytest.param(
            [{"type": "range", "from": 2, "to": 2}], "pipeline.stages.0", "greater than `from`", id="empty range"
        ),
        pytest.param(
            [{"type": "range", "form": 2, "to": 2}],
            "pipeline.stages.0.form",
            "did you mean 'from'",
            id="an aliased option",
        ),
        pytest.param(
            [EDGES, TRACK, {"type": "range", "from": 1}], "pipeline.stages.2", "chooses frames", id="range last"
        ),
        pytest.param(
            [EDGES, {**TRACK, "reset_at": "edges"}],
            "pipeline.stages.1",
            "stage 2 (track) begins anew at cuts of 'edges', which finds no cuts; no earlier stage finds cuts",
            id="no cuts",
        ),
        pytest.param(
            [SCENES, {**TRACK, "reset_at": "scene"}],
            "pipeline.stages.1.reset_at",
            "did you mean 'scenes'",
            id="cuts misspelt",
        ),
        pytest.param(
            [{**DETECT, "queue": "gpu-b"}, SCENES],
            "pipeline.stages.1",
            "must run where 'detect' does",
            id="memory apart",
        ),
        pytest.param(
            [{"type": "motion"}, SCENES],
            "pipeline.stages.1",
            "stage 2 (scenes) looks back at some earlier frames; put it before 'motion', which remembers all of them",
            id="memory behind a long one",
        ),
        pytest.param(
            [{"type": "decimate", "fps": 5, "fsp": 1}],
            "pipeline.stages.0.fsp",
            "did you mean 'fps'",
            id="unknown option",
        ),
        pytest.param(
            [{"type": "decimate", "fps": 0}],
            "pipeline.stages.0.fps",
            "fps must be greater than 0; got 0",
            id="bad value",
        ),
        pytest.param(
            [EDGES, {"type": "resize", "width": -3}],
            "pipeline.stages.1.width",
            "stage 2 (resize): width must be greater than or equal to 8; got -3",
            id="a bad value of a later stage",
        ),
        pytest.param(
            [{"type": "resize", "width": 64, "mode": "strech"}],
            "pipeline.stages.0.mode",
            "stage 1 (resize): mode must be 'fit', 'fill', 'letterbox' or 'stretch'; got 'strech'",
            id="none of the words",
        ),
        pytest.param(
            [SCENES, {**DETECT, "name": "cars"}, {**TRACK, "of": "scenes"}],
            "pipeline.stages.2",
            "stage 3 (track) refers to 'scenes', which finds no objects; earlier stages that find objects: cars",
            id="a reference to a stage that finds no objects",
        ),
        pytest.param(
            [EDGES, {**TRACK, "of": "edges"}],
            "pipeline.stages.1",
            "which finds no objects; no earlier stage finds objects",
            id="nothing to refer to",
        ),
        pytest.param(
            [DETECT, TRACK, {**TRACK, "name": "again", "of": "track"}],
            "pipeline.stages.2",
            "which finds no objects; earlier stages that find objects: detect",
            id="a tracker finds none",
        ),
        pytest.param(
            [DETECT, {"type": "read_text", "of": "detect"}, {**TRACK, "of": "read_text"}],
            "pipeline.stages.2",
            "which finds no objects",
            id="text of objects is no object",
        ),
        pytest.param([EDGES, EDGES], "pipeline.stages.1.name", "two stages are called 'edges'", id="same name"),
        pytest.param([DETECT, TRACK, EDGES], "pipeline.stages.2", "looks at pixels", id="pixels after the sequence"),
        pytest.param(
            [EDGES, {"type": "decimate", "fps": 1}], "pipeline.stages.1", "chooses frames", id="selection too late"
        ),
        pytest.param(
            [DETECT, {**TRACK, "of": "detct"}], "pipeline.stages.1.of", "did you mean 'detect'", id="reference"
        ),
        pytest.param(
            [DETECT, {"type": "redact", "of": ["detect", "faces"]}],
            "pipeline.stages.1.of.1",
            "stage 2 (redact) refers to 'faces'",
            id="one of several references",
        ),
        pytest.param(
            [DETECT, {**TRACK, "of": "detect", "when": "score > hihg"}],
            "pipeline.stages.1.when",
            "stage 2 (track): when: at character 9: there is no field hihg",
            id="a condition that can't be read",
        ),
        pytest.param(
            [SCENES, {**EDGES, "when": "scnes.cut"}],
            "pipeline.stages.1.when",
            "stage 2 (edges): when: at character 1: there is no earlier stage 'scnes' (did you mean 'scenes'?)",
            id="a condition on a stage that is not there",
        ),
        pytest.param(
            [{**EDGES, "when": 'label == "car"'}],
            "pipeline.stages.0.when",
            "at character 1: `label` is of objects, and this stage looks at whole frames",
            id="a condition on objects for frames",
        ),
        pytest.param(
            [{**SCENES, "when": "time > 3"}],
            "pipeline.stages.0.when",
            "must see all of them",
            id="a condition on frames of a stage that looks back",
        ),
        pytest.param(
            [{"type": "resize", "width": 64, "when": "time > 3"}, EDGES],
            "pipeline.stages.0.when",
            "looks at no objects and at no frame by itself",
            id="a condition on what changes the picture",
        ),
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


def test_stages_that_remember_all_frames_have_a_segment_of_their_own_that_runs_in_order() -> None:
    motion = {"type": "motion"}
    stages = [EDGES, motion, {**motion, "name": "again"}, DETECT, TRACK]
    segments = plan_segments(parse_pipeline(make_pipeline(*stages)))
    assert [(s.kind, s.queue, s.stages, s.in_order) for s in segments] == [
        ("frames", "cpu", (0,), False), ("frames", "cpu", (1, 2), True), ("frames", "gpu", (3,), False),
        ("sequence", "sequence", (4,), True),
    ]  # fmt: skip


def test_a_mistake_in_a_stage_is_one_line_that_counts_stages_as_people_do() -> None:
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(make_pipeline(EDGES, {"type": "resize", "width": -3}))
    assert caught.value.field == "stages.1.width"
    assert str(caught.value) == "stage 2 (resize): width must be greater than or equal to 8; got -3"
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline({"name": "No Name", "stages": [EDGES]})
    assert str(caught.value) == "name: must match pattern '^[a-z0-9][a-z0-9._-]*$'; got 'No Name'"


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
    path.write_text("name: bad\nstages:\n  - {type: edges}\n- {type: track}\n")
    wrong = r"bad\.yaml is not valid YAML or JSON: line 4, column 1: expected <block end>, but found '-'"
    with pytest.raises(InvalidPipeline, match=wrong) as caught:
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
        pytest.param(
            [DETECT, TRACK, CROPS, READ],
            [
                ("frames", "gpu", (0,)),
                ("sequence", "sequence", (1,)),
                ("picks", "crops", (2,)),
                ("crops", "crops", (2, 3)),
                ("tracks", "crops", (3,)),
            ],
            id="crops",
        ),
        pytest.param(
            [DETECT, {**CROPS, "every": 5, "queue": "gpu-b"}],
            [("frames", "gpu", (0,)), ("picks", "gpu-b", (1,)), ("crops", "gpu-b", (1,)), ("tracks", "gpu-b", ())],
            id="crops on a queue of their own, of objects without tracks",
        ),
    ],
)
def test_neighbours_on_one_queue_are_fused(stages: list[Any], expected: list[Any]) -> None:
    segments = plan_segments(parse_pipeline(make_pipeline(*stages)))
    assert [(s.kind, s.queue, s.stages) for s in segments] == expected


def test_the_range_and_then_the_decimation_choose_the_frames() -> None:
    spec = parse_pipeline(make_pipeline({"type": "decimate", "fps": 2}, EDGES))
    index = make_index(np.arange(40) / 10)
    assert select_frames(spec, index).numbers.tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    chosen = select_frames(spec, index, TimeRange(start=0.7, stop=2.0))
    assert chosen.numbers.tolist() == [7, 10, 15]


@pytest.mark.parametrize(
    ("time_range", "field", "words"),
    [
        pytest.param(None, "pipeline", "the stages that choose frames leave none to look at", id="stages"),
        pytest.param(
            TimeRange(start=1), "pipeline", "the stages that choose frames leave none", id="stages in a range"
        ),
        pytest.param(TimeRange(start=7), "range", "no frame begins from 7 s on", id="beyond the end"),
        pytest.param(TimeRange(start=7, stop=8.5), "range", "no frame begins from 7 s to 8.5 s", id="a range beyond"),
        pytest.param(
            TimeRange(start=1.01, stop=1.02), "range", "no frame begins from 1.01 s to 1.02 s", id="between two"
        ),
    ],
)
def test_a_job_that_looks_at_no_frame_is_told_how_long_the_video_is(
    time_range: TimeRange | None, field: str, words: str
) -> None:
    error = nothing_left(make_index(np.arange(40) / 10), time_range)
    assert error.field == field
    assert error.message.startswith(words)
    assert error.message.endswith("; the video has 40 frames and lasts 4 s")


def test_what_selectors_say_is_in_the_records_of_the_frames_that_stay() -> None:
    spec = parse_pipeline(make_pipeline({"type": "constant_rate", "fps": 5}, {"type": "range", "from_frame": 4}, EDGES))
    selection = select_frames(spec, make_index(np.arange(8) / 10))
    assert selection.numbers.tolist() == [4, 6]
    assert selection.summary == {"constant_rate": {"ticks": 4, "frames": 4, "repeated": 0, "dropped": 4}}
    assert selection.record(6).to_dict() == {
        "frame": 6, "pts": 600000, "time": 0.6, "status": "ok", "objects": [],
        "values": {"constant_rate": {"first_tick": 3, "ticks": 1}},
    }  # fmt: skip


def test_the_frames_before_one_are_those_that_are_looked_at() -> None:
    spec = parse_pipeline(make_pipeline({"type": "decimate", "every": 3}, EDGES))
    selection = select_frames(spec, make_index(np.arange(20) / 10))
    assert selection.before(9, 2).tolist() == [3, 6]
    assert selection.before(3, 2).tolist() == [0]
    assert selection.before(0, 2).tolist() == []


@pytest.mark.parametrize(
    ("creation_time", "given", "expected"),
    [
        pytest.param(None, None, None, id="not known"),
        pytest.param("2026-01-01T10:00:00.000000Z", None, "2026-01-01T10:00:00.300Z", id="the file's"),
        pytest.param("2026-01-01T10:00:00Z", 0.5, "1970-01-01T00:00:00.800Z", id="the job's goes first"),
        pytest.param("1904-01-01T00:00:00.000000Z", None, None, id="a camera without a clock"),
        pytest.param("1970-01-01T00:00:00Z", None, None, id="nor this one"),
        pytest.param("yesterday", None, None, id="no time"),
        pytest.param("2026-01-01T10:00:00", None, None, id="no zone"),
    ],
)
def test_wall_time_counts_from_what_the_job_or_else_the_file_says(
    creation_time: str | None, given: float | None, expected: str | None
) -> None:
    index = make_index(np.arange(8) / 10, creation_time=creation_time)
    selection = select_frames(parse_pipeline(make_pipeline(EDGES)), index, starts_at=given)
    assert selection.record(3).to_dict().get("wall_time") == expected


def test_copies_of_a_video_are_of_its_range_but_not_decimated() -> None:
    index = make_index(np.arange(40) / 10)
    spec = parse_pipeline(
        make_pipeline(
            {"type": "range", "from": 1, "to": 3},
            {"type": "decimate", "every": 7},
            {"type": "range", "name": "r", "to_frame": 25},
            EDGES,
        )
    )
    assert part_of(spec, index) == range(10, 25)
    assert part_of(spec, index, TimeRange(start=2.0)) == range(20, 25)
    assert part_of(spec, index, TimeRange(start=3.5)) == range(0)
    assert part_of(parse_pipeline(make_pipeline(EDGES)), index) == range(40)
    assert part_of(spec, index, until=20) == range(10, 21)
    assert part_of(spec, index, until=39) == range(10, 25)


def test_a_selection_can_end_early_and_its_stages_speak_of_nothing_behind_it() -> None:
    spec = parse_pipeline(make_pipeline({"type": "constant_rate", "fps": 3}, EDGES))
    whole = select_frames(spec, make_index(np.arange(40) / 10))
    last = int(whole.numbers[4])
    cut = select_frames(spec, make_index(np.arange(40) / 10), until=last)
    assert cut.numbers.tolist() == whole.numbers[:5].tolist()
    assert cut.summary == select_frames(spec, make_index(np.arange(last + 1) / 10)).summary
    assert cut.summary != whole.summary


def test_a_stage_that_makes_a_file_is_in_no_segment_and_may_come_last() -> None:
    resize = {"type": "resize", "width": 32, "height": 24}
    spec = parse_pipeline(make_pipeline(resize, DETECT, TRACK, {"type": "normalise", "fps": 5}))
    assert [s.stages for s in plan_segments(spec)] == [(1,), (2,)]
    ((stage, view),) = job_stages(spec, 64, 48)
    assert stage.files() == ("normalised.mp4", "normalised.map.ndjson")
    assert (view.width, view.height, view.format) == (32, 24, "rgb24")


def test_a_pipeline_made_in_python_is_checked_the_same() -> None:
    with pytest.raises(ValueError, match="two stages"):
        PipelineSpec(name="p", stages=[DecimateOptions(fps=1), DecimateOptions(fps=2)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        pytest.param(
            [DETECT, CROPS],
            "stage 2 (crops) chooses the best of each track of 'detect', which has none: put a stage `track` before it",
            id="no tracks",
        ),
        pytest.param(
            [DETECT, {**TRACK, "of": "detect"}, {**DETECT, "name": "other"}],
            "looks at pixels; put it before the stages that look at the sequence",
            id="pixels behind a sequence",
        ),
        pytest.param(
            [DETECT, TRACK, CROPS, EDGES],
            "stage 4 (edges) looks at whole frames; put it before 'crops', or give it crops to look at (`of: crops`)",
            id="whole frames behind crops",
        ),
        pytest.param(
            [DETECT, {**CROPS, "every": 2}, TRACK],
            "stage 3 (track) looks at the sequence; put it before 'crops'",
            id="a sequence behind crops",
        ),
        pytest.param(
            [DETECT, {**CROPS, "every": 2}, {**CROPS, "name": "again", "of": "crops", "every": 2}],
            "can't make crops of the crops of 'crops'",
            id="crops of crops",
        ),
        pytest.param(
            [DETECT, {**CROPS, "every": 2}, {**READ, "queue": "cpu"}],
            "runs where the crops of 'crops' are made: leave `queue` out, or give both the same",
            id="another queue",
        ),
        pytest.param(
            [DETECT, {**CROPS, "every": 2}, {"type": "depth", "of": "crops", "model": "m"}],
            "can't look at crops",
            id="a stage that needs the whole frame",
        ),
        pytest.param(
            [DETECT, {**CROPS, "every": 2, "align": "rotated"}, {"type": "parse", "of": "crops", "model": "m"}],
            "tells masks in pixels of the frame, but the crops of 'crops' are turned",
            id="masks on turned crops",
        ),
        pytest.param([DETECT, {**CROPS, "every": 2, "best": 2}], "give `best` or `every`, not both", id="two choices"),
        pytest.param(
            [DETECT, SCENES, {**CROPS, "every": 2}, {"type": "caption", "of": "crops", "per": "scene", "model": "m"}],
            "which know nothing of scenes",
            id="scenes",
        ),
    ],
)
def test_crops_that_do_not_fit_are_told_with_what_to_do(stages: list[Any], words: str) -> None:
    with pytest.raises(InvalidPipeline, match=re.escape(words)):
        parse_pipeline(make_pipeline(*stages))
