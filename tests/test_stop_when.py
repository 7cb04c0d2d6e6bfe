"""Early stop in one process: the results end with the first frame for which a condition holds, whatever the chunks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvpipe.engine import run_local
from cvpipe.errors import InvalidRequest
from cvpipe.events import Event, Moment
from cvpipe.job import TimeRange
from cvpipe.pipeline import StopCondition, check_stop, parse_pipeline
from cvpipe.results import FrameRecord
from cvpipe.settings import Settings
from tests.modelcards import write_yolox_card

PEOPLE = {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"], "score": 0.4}
TRACK = {"type": "track", "of": "people"}
HALL = {
    "type": "polygon_zone", "of": "people",
    "zones": [{"name": "hall", "polygon": [[0, 0], [768, 0], [768, 432], [0, 432]]}],
}  # fmt: skip
FIVE = {"type": "decimate", "fps": 5}
SEEN = 'any(label == "person" and score > 0.85)'


@pytest.fixture(scope="module")
def video(assets: Path) -> Path:
    return assets / "videos" / "one-by-one-person-detection.mp4"


@pytest.fixture(scope="module")
def models(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_yolox_card(folder, assets)
    return folder


def run(video: Path, models: Path, out: Path, *stages: dict[str, Any], **options: Any) -> tuple[dict[str, Any], str]:
    settings = Settings(data_dir=out, models_dir=models, device="cpu", threads=2)
    job = run_local(video, parse_pipeline({"name": "p", "stages": list(stages)}), out, settings=settings, **options)
    return job, (out / "frames.ndjson").read_text()


def test_records_events_and_crops_end_with_the_first_frame_for_which_it_holds(
    video: Path, models: Path, tmp_path: Path
) -> None:
    part = TimeRange(start=5.9, stop=7.7)
    stages = [FIVE, PEOPLE, TRACK, HALL, {"type": "crops", "name": "best", "of": "people", "best": 1}]
    _, whole = run(video, models, tmp_path / "whole", *stages, range=part)
    records = [FrameRecord.from_dict(json.loads(line)) for line in whole.splitlines()]
    first = next(n for n, record in enumerate(records) if any(score > 0.85 for score in record.objects.score))
    assert 3 < first < len(records) - 3
    stopped = {}
    for seconds in (0.5, 100):
        out = tmp_path / str(seconds)
        job, text = run(video, models, out, *stages, range=part, stop_when=SEEN, chunk_seconds=seconds, annotate=True)
        assert text == "".join(whole.splitlines(keepends=True)[: first + 1])
        assert job["stopped"] == {
            "frame": records[first].frame, "time": records[first].time, "condition": SEEN,
        }  # fmt: skip
        assert (job["state"], job["frames"]["total"]) == ("succeeded", first + 1)
        others = ("events.ndjson", "crops.ndjson", "tracks.ndjson")
        stopped[seconds] = [(out / name).read_text() for name in others], (out / "annotated.mp4").read_bytes()
    assert stopped[0.5] == stopped[100]
    frames = {json.loads(line)["frame"] for line in stopped[100][0][1].splitlines()}
    assert frames
    assert max(frames) <= records[first].frame
    told = [json.loads(line)["end_frame"] for line in stopped[100][0][0].splitlines()]
    assert max(told) == records[first].frame


def test_a_run_whose_condition_never_holds_is_one_without(video: Path, models: Path, tmp_path: Path) -> None:
    part = TimeRange(start=6.4, stop=7)
    _, expected = run(video, models, tmp_path / "a", FIVE, PEOPLE, range=part)
    job, text = run(video, models, tmp_path / "b", FIVE, PEOPLE, range=part, stop_when="count(score > 0.99) > 3")
    assert ("stopped" in job, text) == (False, expected)


@pytest.mark.parametrize(
    ("status", "told", "text", "expected"),
    [
        ("ok", [], "frame >= 7", True),
        ("ok", [], "objects > 0", False),
        ("failed", [], "frame >= 7", False),
        ("decode_error", [], "objects == 0", False),
        ("ok", ["zone_entered"], '"zone_entered" in events', True),
        ("ok", [], '"zone_entered" in events', False),
    ],
)
def test_a_frame_ends_a_job(status: Any, told: list[str], text: str, expected: bool) -> None:
    at = Moment(7, 0.7)
    events = [Event(kind=kind, stage="hall", start=at, end=at, evidence=at) for kind in told]
    condition = StopCondition.of(text)
    assert condition is not None
    assert condition.holds(FrameRecord(frame=7, pts=7, time=0.7, status=status), events) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('label == "person"', "`label` is of objects, and a job is stopped by a whole frame; write any(label ...)"),
        ("any(lable == 'x')", "at character 5: there is no field lable (did you mean label?)"),
        ("any(any(score > 1))", "there is no field any"),
        ("any(score > 0.5", "at the end: wanted `)`"),
        ("peple.count > 1", "at character 1: the pipeline has no stage 'peple' (did you mean 'people'?)"),
        ("best.top > 1", "at character 1: 'best' says nothing before all frames were looked at"),
        ('"zone_enterd" in events', "tells of 'zone_enterd' (did you mean 'zone_entered'?)"),
        ("", "is empty"),
    ],
)
def test_a_condition_that_can_not_be_is_refused(text: str, message: str) -> None:
    crops = {"type": "crops", "name": "best", "of": "people", "best": 1}
    spec = parse_pipeline({"name": "p", "stages": [PEOPLE, TRACK, HALL, crops]})
    with pytest.raises(InvalidRequest) as caught:
        check_stop(spec, text, field="stop_when")
    assert message in str(caught.value)
    assert caught.value.field == "stop_when"


def test_events_of_a_pipeline_that_tells_of_none_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="no stage of the pipeline tells of events"):
        check_stop(parse_pipeline({"name": "p", "stages": [PEOPLE]}), '"zone_entered" in events', field="stop_when")


def test_gaps_that_are_filled_later_can_not_be_waited_for() -> None:
    spec = parse_pipeline({"name": "p", "stages": [PEOPLE, TRACK | {"fill_gaps": True}]})
    with pytest.raises(InvalidRequest, match="leave out its `fill_gaps`, or `stop_when`"):
        check_stop(spec, "objects > 0", field="stop_when")
