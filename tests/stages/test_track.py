from __future__ import annotations

import json
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import linear_sum_assignment

from cvpipe.conditions import condition_on_objects
from cvpipe.embeddings import to_value
from cvpipe.engine import SequenceRunner, run_local
from cvpipe.errors import InvalidPipeline
from cvpipe.job import TimeRange
from cvpipe.pipeline import load_pipeline, parse_pipeline, plan_segments
from cvpipe.results import FrameRecord, Objects, Status
from cvpipe.rle import Mask
from cvpipe.settings import Settings
from cvpipe.stages.crops import Crops, CropsOptions
from cvpipe.stages.track import Track, TrackOptions
from cvpipe.tracks import TrackTable
from tests.modelcards import write_yolox_card
from tests.tracking.scenes import Crowd

CAR = [100.0, 100.0, 140.0, 124.0]


def make_stage(**options: Any) -> Track:
    stage = Track(TrackOptions(name="track", **options))
    stage.open(types.SimpleNamespace(linear_sum_assignment=linear_sum_assignment))  # type: ignore[arg-type]
    return stage


def make_record(
    frame: int,
    boxes: Sequence[Sequence[float]] = (CAR,),
    *,
    stage: str = "cars",
    labels: Sequence[str] | None = None,
    scores: Sequence[float] | None = None,
    fps: float = 30,
    status: Status = "ok",
) -> FrameRecord:
    n = len(boxes)
    objects = Objects.make(stage=stage, box=boxes, score=scores or [0.9] * n, label=labels or ["car"] * n)
    return FrameRecord(frame, frame * 512, frame / fps, status=status, objects=objects, values={"kept": frame})


def crowd_records(seed: int, **changes: Any) -> list[FrameRecord]:
    looks = Crowd(**{"targets": 8, "seconds": 3, "fps": 15, "frames_lost": 0.3, **changes}).draw(seed)
    return [
        FrameRecord(
            number,
            number,
            look.time,
            objects=Objects.make(
                stage="people", box=look.box, score=look.score, label=["person" if i % 5 else "dog" for i in look.truth]
            ),
        )
        for number, look in enumerate(looks)
    ]


def moved_over(stage: Track) -> Track:
    """A new stage in the state of this one, which travelled as MessagePack."""
    other = Track(stage.options)
    other.open(types.SimpleNamespace(linear_sum_assignment=linear_sum_assignment))  # type: ignore[arg-type]
    other.restore(msgpack.unpackb(msgpack.packb(stage.state())))
    return other


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), cuts=st.sets(st.integers(0, 40), max_size=8), reach=st.sampled_from([0.0, 2.0]))
def test_results_do_not_depend_on_where_the_video_is_cut(seed: int, cuts: set[int], reach: float) -> None:
    records = crowd_records(seed)
    whole, stage = make_stage(reach=reach), make_stage(reach=reach)
    for number, record in enumerate(records):
        if number in cuts:
            stage = moved_over(stage)
        assert stage.update(record).pack() == whole.update(record).pack()
    assert stage.state() == whole.state()


def test_only_the_track_numbers_of_a_record_change() -> None:
    stage = make_stage()
    for record in crowd_records(1):
        before = record.pack()
        found = stage.update(record)
        assert record.pack() == before
        wanted = record.to_dict()
        for row, number in zip(wanted["objects"], found.objects.track.tolist(), strict=True):
            row["track"] = number if number >= 0 else None
        assert found.to_dict() == wanted


def test_numbers_count_from_one() -> None:
    found = make_stage().update(make_record(0, [CAR, [300, 300, 340, 324], [500, 300, 540, 324]]))
    assert found.objects.track.tolist() == [1, 2, 3]


def test_only_the_objects_of_the_named_stage_are_tracked() -> None:
    stage = make_stage(of="cars")
    assert stage.references() == ("cars",)
    for frame in range(3):
        both = Objects.concat([make_record(frame, stage="text").objects, make_record(frame).objects])
        found = stage.update(FrameRecord(frame, frame, frame / 30, objects=both))
        assert found.objects.track.tolist() == [-1, 1]


def test_objects_of_two_stages_on_one_place_are_two_tracks() -> None:
    stage = make_stage()
    assert stage.references() == ()
    for frame in range(3):
        both = Objects.concat([make_record(frame, stage="text").objects, make_record(frame).objects])
        found = stage.update(FrameRecord(frame, frame, frame / 30, objects=both))
        assert found.objects.track.tolist() == [1, 2]


@pytest.mark.parametrize(("class_aware", "wanted"), [(True, [1, -1, 2]), (False, [1, 1, 1])])
def test_a_changed_label_begins_a_track_where_classes_count(class_aware: bool, wanted: list[int]) -> None:
    stage = make_stage(class_aware=class_aware)
    found = [stage.update(make_record(n, labels=[label])) for n, label in enumerate(["car", "truck", "truck"])]
    assert [record.objects.track.tolist() for record in found] == [[number] for number in wanted]


@pytest.mark.parametrize("status", ["decode_error", "failed"])
def test_records_that_are_not_ok_pass_by_and_count_as_time_only(status: Status) -> None:
    stage = make_stage()
    path = [[[x + 4.0 * n, y, x + 40 + 4 * n, y + 24] for x, y in [(100, 100)]] for n in range(30)]
    found = []
    for frame in range(30):
        if 10 <= frame < 20:
            gap = make_record(frame, [], status=status)
            before = stage.state()
            assert stage.update(gap) is gap
            assert stage.state() == before
        else:
            found.append(stage.update(make_record(frame, path[frame])).objects.track.tolist())
    assert found == [[1]] * 20


def test_a_new_object_is_confirmed_across_a_damaged_record() -> None:
    stage = make_stage()
    stage.update(make_record(0, []))
    assert stage.update(make_record(1)).objects.track.tolist() == [-1]
    stage.update(make_record(2, [], status="decode_error"))
    assert stage.update(make_record(3)).objects.track.tolist() == [1]


def test_records_without_objects_are_returned_as_they_are() -> None:
    record = make_record(0, [])
    assert make_stage().update(record) is record


def test_a_state_is_small() -> None:
    stage = make_stage()
    for record in crowd_records(2, targets=20):
        stage.update(record)
    tracks = len(stage.state()["id"])
    assert tracks >= 15
    assert len(msgpack.packb(stage.state())) < 200 + 250 * tracks


@pytest.mark.parametrize(
    ("options", "field"),
    [
        pytest.param({"low": 0.6}, "low", id="low above high"),
        pytest.param({"begin": 0.4}, "begin", id="begin below high"),
        pytest.param({"min_hits": 0}, "min_hits", id="no hits"),
        pytest.param({"match_iou": 1}, "match_iou", id="overlap that nothing has"),
        pytest.param({"lost_seconds": -1}, "lost_seconds", id="negative time"),
        pytest.param({"buffer": 1}, "buffer", id="unknown"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        TrackOptions(**options)


def test_a_stage_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="opened"):
        Track(TrackOptions(name="track")).update(make_record(0))


def test_times_that_stand_still_do_no_harm() -> None:
    stage = make_stage()
    record = make_record(0)
    for _ in range(3):
        found = stage.update(record)
        assert found.objects.track.tolist() == [1]
        assert all(np.isfinite(stage.state()["states"]))


def test_people_who_walk_in_one_after_another_get_a_number_each(assets: Path, tmp_path: Path) -> None:
    write_yolox_card(tmp_path / "models", assets)
    settings = Settings(data_dir=tmp_path)
    pipeline = load_pipeline(
        {
            "name": "people",
            "stages": [
                {"type": "decimate", "fps": 4},
                {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"]},
                {"type": "track", "of": "people"},
            ],
        },
        settings=settings,
    )
    video = assets / "videos" / "one-by-one-person-detection.mp4"
    # Three people come, stay for 13 to 22 seconds and leave.
    run_local(
        video, pipeline, tmp_path / "out", settings=settings, range=TimeRange.model_validate({"from": 0, "to": 70})
    )
    seen: dict[int, list[float]] = {}
    untracked = 0
    for line in (tmp_path / "out" / "frames.ndjson").read_text().splitlines():
        record = json.loads(line)
        for found in record["objects"]:
            if found["track"] is None:
                untracked += 1
            else:
                seen.setdefault(found["track"], []).append(record["time"])
    assert {number: (times[0] // 10, times[-1] // 10) for number, times in seen.items()} == {
        1: (0, 1),
        2: (2, 4),
        3: (5, 6),
    }
    assert untracked < 10


def test_what_else_is_known_of_an_object_stays_with_it() -> None:
    stage = make_stage(of="cars")
    cars = Objects.make(
        stage="cars", box=[CAR, [300.0, 100.0, 340.0, 124.0]], score=[0.9, 0.8], label=["car", "car"],
        keypoints=[None, [[310, 110, 0.5]]], mask=[Mask(200, 400, "0"), None], values=[{"embed": {"size": 3}}, None],
    )  # fmt: skip
    signs = Objects.make(stage="signs", box=[[0.0, 0, 9, 9]], score=[0.9], label=["sign"], values=[{"a": 1}])
    rows = stage.update(FrameRecord(0, 0, 0.0, objects=Objects.concat((signs, cars)))).to_dict()["objects"]
    assert [row["track"] for row in rows] == [None, 1, 2]
    assert [row.get("values") for row in rows] == [{"a": 1}, {"embed": {"size": 3}}, None]
    assert (rows[2]["keypoints"], rows[1]["mask"]["size"]) == ([[310, 110, 0.5]], [200, 400])


def looks_of(look: Any) -> list[dict[str, Any]]:
    return [{"looks": to_value(vector.astype(np.float32))} for vector in look.looks]


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    cuts=st.sets(st.integers(0, 40), max_size=8),
    method=st.sampled_from(["bytetrack", "ocsort", "botsort"]),
)
def test_no_method_depends_on_where_the_video_is_cut(seed: int, cuts: set[int], method: str) -> None:
    looks = Crowd(targets=8, seconds=3, fps=15, frames_lost=0.3, shake=100).draw(seed)
    records = [
        FrameRecord(
            number,
            number,
            look.time,
            status="decode_error" if number % 7 == 5 else "ok",
            objects=Objects.make(
                stage="people", box=look.box, score=look.score, label=["person"] * len(look.box), values=looks_of(look)
            ),
            values={} if look.camera is None else {"shift": {"matrix": look.camera.tolist()}},
        )
        for number, look in enumerate(looks)
    ]
    options: dict[str, Any] = {"method": method, "camera_motion": "shift", "fill_gaps": True}
    if method == "botsort":
        options["appearance"] = "looks"
    whole, stage = make_stage(**options), make_stage(**options)
    for number, record in enumerate(records):
        if number in cuts:
            stage = moved_over(stage)
        assert stage.update(record).pack() == whole.update(record).pack()
    assert stage.state() == whole.state()


def gappy(*, status: Status = "decode_error") -> list[FrameRecord]:
    """A car drives at an even pace, unseen on frames 8, 9 and 10 of 20; 9 is damaged. Another one stays."""
    records = []
    for frame in range(20):
        boxes = [] if 8 <= frame < 11 else [[100.0 + 4 * frame, 100, 140 + 4 * frame, 124]]
        scores = [*([0.6 if frame == 7 else 0.9] * len(boxes)), 0.8]
        records.append(
            make_record(frame, [*boxes, [300, 10, 330, 30]], scores=scores, status=status if frame == 9 else "ok")
        )
    return records


def run_whole(records: Sequence[FrameRecord], *, cuts: Sequence[int] = (), **options: Any) -> list[FrameRecord]:
    """Through `track` and the line behind it, handed over before some records."""
    line = {"name": "gate", "start": [155, 0], "end": [155, 200]}
    stages = [
        {"type": "detect", "name": "cars", "model": "m"},
        {"type": "track", **options},
        {"type": "line_zone", "lines": [line], "anchor": "bottom_center"},
    ]
    spec = parse_pipeline({"name": "p", "stages": stages})
    tools: Any = types.SimpleNamespace(linear_sum_assignment=linear_sum_assignment)

    def fresh() -> SequenceRunner:
        return SequenceRunner(spec, plan_segments(spec)[-1], tools, size=(400, 200))

    runner, done = fresh(), []
    for number, record in enumerate(records):
        if number in cuts:
            state = msgpack.unpackb(msgpack.packb(runner.state()))
            runner = fresh()
            runner.restore(state)
        done += runner.run([record])
    return done + runner.finish()


def test_gaps_are_filled_with_objects_that_say_so() -> None:
    found = run_whole(gappy(), fill_gaps=True)
    assert [record.frame for record in found] == list(range(20))
    filled = {record.frame: record.objects.where(record.objects.filled) for record in found}
    assert {frame: len(objects) for frame, objects in filled.items() if len(objects)} == {8: 1, 10: 1}  # 9 is damaged
    assert filled[8].to_dicts() == [
        {
            "stage": "cars", "label": "car", "class_id": None, "score": 0.6, "box": [132.0, 100.0, 172.0, 124.0],
            "track": 1, "text": None, "filled": True,
        }
    ]  # fmt: skip
    assert filled[10].box.tolist() == [[140.0, 100.0, 180.0, 124.0]]
    crossed = [record.frame for record in found if record.values.get("line_zone", {"gate": {"out": 0}})["gate"]["out"]]
    assert crossed[0] == 10  # stages behind it see what was filled; without, it would be 11
    for record in found:
        assert FrameRecord.unpack(record.pack()).to_json() == record.to_json()
        assert FrameRecord.from_dict(record.to_dict()).to_json() == record.to_json()


@pytest.mark.parametrize("cuts", [range(1, 20), (8,), (9, 10, 11), (19,)])
def test_filled_gaps_are_the_same_wherever_the_chunks_begin(cuts: Sequence[int]) -> None:
    whole = run_whole(gappy(), fill_gaps=True)
    assert [r.to_json() for r in run_whole(gappy(), cuts=cuts, fill_gaps=True)] == [r.to_json() for r in whole]


def test_records_are_held_back_while_a_track_may_come_back_and_no_longer() -> None:
    detect, track = {"type": "detect", "name": "cars", "model": "m"}, {"type": "track", "fill_gaps": True}
    spec = parse_pipeline({"name": "p", "stages": [detect, {**track, "lost_seconds": 0.1}]})
    tools: Any = types.SimpleNamespace(linear_sum_assignment=linear_sum_assignment)
    runner = SequenceRunner(spec, plan_segments(spec)[-1], tools, size=(400, 200))
    records = [make_record(n, [CAR] if n < 3 else [], fps=30) for n in range(10)]
    assert [[record.frame for record in runner.run([one])] for one in records] == [
        [0], [1], [2], [], [], [], [3, 4, 5, 6], [7], [8], [9]
    ]  # fmt: skip
    assert runner.finish() == []


def test_a_gap_longer_than_a_track_lives_is_not_filled_and_keeps_nothing_waiting() -> None:
    """After a long time that nobody looked at (a gate was closed) the track goes on all the same."""
    stage = make_stage(fill_gaps=True)
    stage.gates = ("gate",)
    for frame in range(100):
        record = make_record(frame, [CAR] if frame in (0, 99) else [])
        if 0 < frame < 99:
            record = replace(record, values={"gate": {"skipped": True}})
        found = stage.update(record)
        assert stage.take_added() == {}
        assert frame - stage.first_open(frame) < 31
    assert found.objects.track.tolist() == [1]


def test_what_was_filled_is_no_crop_no_label_and_not_tracked_again() -> None:
    filled = replace(make_record(4).objects, track=np.ones(1, np.int32), filled=np.ones(1, np.bool_))
    record = replace(make_record(4), objects=filled)
    crops = Crops(CropsOptions(of="cars", every=1))
    crops.consider(record, (400, 200))
    crops.consider(make_record(5), (400, 200))
    assert [pick.first for pick in crops.picks()] == [5]
    table = TrackTable()
    for one in (record, replace(record, frame=5, objects=replace(filled, filled=np.zeros(1, np.bool_)))):
        table.add(one)
    assert [(track.frames, track.first["frame"]) for track in table.tracks()] == [(1, 5)]
    assert make_stage().update(replace(record, frame=0)).objects.track.tolist() == [1]  # as it was
    assert condition_on_objects("filled").chosen(record).tolist() == [True]
    assert condition_on_objects("not filled").chosen(make_record(5)).tolist() == [True]


def test_a_cut_is_no_gap() -> None:
    stage = make_stage(fill_gaps=True, reset_at="scenes")
    for frame in range(6):
        record = make_record(frame, [] if frame == 3 else [CAR])
        if frame == 4:
            record = replace(record, values={"scenes": {"cut": True}})
        stage.update(record)
        assert stage.take_added() == {}


def test_the_camera_s_motion_adds_up_over_frames_that_nobody_looked_at() -> None:
    stage = make_stage(camera_motion="shift", reach=0)
    for frame in range(12):
        moved = 60.0 * frame  # further than the box is long, each frame
        box = [CAR[0] + moved, CAR[1], CAR[2] + moved, CAR[3]]
        record = make_record(frame, [box], status="failed" if frame in (5, 6) else "ok")
        values = {"shift": {"matrix": [[1, 0, 60.0], [0, 1, 0]]}} if frame else {}
        found = stage.update(replace(record, values=values))
        if record.status == "ok":
            assert found.objects.track.tolist() == [1]


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"appearance": "looks"}, "`appearance` is for `method: botsort`, not bytetrack"),
        ({"method": "botsort", "appearance": "edges"}, "`appearance` must name an earlier stage `embed`; got 'edges'"),
        ({"camera_motion": "flow"}, "`camera_motion` must name an earlier stage; got 'flow'"),
        ({"method": "sort"}, "method"),
    ],
)
def test_what_a_method_needs_is_told(stage: dict[str, Any], said: str) -> None:
    stages = [{"type": "edges"}, {"type": "track", **stage}]
    with pytest.raises(InvalidPipeline, match=said):
        parse_pipeline({"name": "x", "stages": stages})


def test_people_are_followed_by_what_they_look_like_too(assets: Path, tmp_path: Path) -> None:
    write_yolox_card(tmp_path / "models", assets)
    card = (Path(__file__).parents[2] / "examples" / "models" / "person-reid" / "model.yaml").read_text()
    (tmp_path / "models" / "person-reid").mkdir()
    (tmp_path / "models" / "person-reid" / "model.yaml").write_text(card)
    file = assets / "models" / "person_reid_0288.onnx"
    (tmp_path / "models" / "person-reid" / file.name).symlink_to(file)
    settings = Settings(data_dir=tmp_path)
    stages = [
        {"type": "decimate", "fps": 1.5},
        {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"]},
        {"type": "embed", "name": "looks", "of": "people", "model": "person-reid"},
        {"type": "track", "of": "people", "method": "botsort", "appearance": "looks"},
    ]
    run_local(
        assets / "videos" / "one-by-one-person-detection.mp4",
        load_pipeline({"name": "people", "stages": stages}, settings=settings),
        tmp_path / "out",
        settings=settings,
        range=TimeRange.model_validate({"from": 9, "to": 27}),
    )
    seen: dict[int, list[float]] = {}
    for line in (tmp_path / "out" / "frames.ndjson").read_text().splitlines():
        record = json.loads(line)
        for found in record["objects"]:
            seen.setdefault(found["track"], []).append(record["time"])
    # One person is there until second 16 or so, the next comes at about 20.
    assert {number: times[0] // 10 for number, times in seen.items() if number is not None} == {1: 0, 2: 2}


def test_a_camera_that_turns_and_zooms_about_its_middle_takes_tracks_along() -> None:
    stage = make_stage(camera_motion="flow", reach=0)
    stage.size = (640, 360)
    turn, zoom, moved = np.radians(3.0), 1.02, np.array([9.0, -4.0])
    turned = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    place, size = np.array([600.0, 40.0]), 30.0  # far from the middle, where a turn moves most
    for frame in range(8):
        box = [*(place - size / 2), *(place + size / 2)]
        camera = {"dx": 9.0, "dy": -4.0, "turn": 3.0, "zoom": 1.02, "support": 0.9}
        values = {"flow": {"camera": camera if frame else None}}
        assert stage.update(replace(make_record(frame, [box]), values=values)).objects.track.tolist() == [1]
        state = np.array(stage.state()["states"]).reshape(5, 1, 4)
        assert np.abs(state[1, 0, :2]).max() < 5  # pixels a second: the filter sees something that stands still
        place, size = turned @ (place - (320, 180)) + (320, 180) + moved, size * zoom
