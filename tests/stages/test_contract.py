"""What every stage promises, whichever it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.frames import Frame, Timeline, View
from cvpipe.inference import OnnxTools
from cvpipe.picks import Pick
from cvpipe.pipeline.listing import describe
from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.stages import (
    CropStage,
    FrameStage,
    JobStage,
    Reshaper,
    Selector,
    SequenceStage,
    Stage,
    Tiler,
    discover,
    is_true,
    make,
)
from cvpipe.stages.shirt_colour import ShirtColourOptions
from tests.captioners import unpack, write_captioner
from tests.modelcards import write_yolox_card
from tests.picturenetworks import write_small_models

CROSS = (
    "iVBORw0KGgoAAAANSUhEUgAAAAwAAAAMCAAAAABzHgM7AAAAJklEQVR4nGNiAIH//8EUEwMSIJbzHwRARgABqgwjCDAwgClyjAYAfpUMFyU86pgA"
    "AAAASUVORK5CYII="
)  # a PNG of 12x12 pixels

CAMERA: dict[str, Any] = {
    "points": [
        {"pixel": pixel, "world": world}
        for pixel, world in [([0, 180], [0, 0]), ([320, 180], [10, 0]), ([240, 40], [10, 20]), ([80, 40], [0, 20])]
    ]
}
# For stages that can't run, or do nothing of note, on default options alone; one line for each way to use a stage.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "smooth": [{}],
    "shirt_colour": [{"of": "things"}],
    "teams": [{"teams": [{"name": "a", "colour": "#ff0000"}, {"name": "b", "colour": "#0000ff"}]}],
    "heat_map": [{}, {"of": "things", "max_side": 64}],
    "top_view": [{}, {"video": True}],
    "rules": [{"rules": [{"name": "a", "when": 'label == "post" and score > 0.5 and no "sign"'}]}],
    "stationary": [{"seconds": 0, "owners": ["post"]}],
    "direction": [{"expected": 270, "seconds": 0}],
    "dwell": [{}],
    "proximity": [{"distance": 400}],
    "path_deviation": [{"path": [[0, 0], [10, 0]], "distance": 5, "seconds": 0}],
    "line_zone": [{"lines": [{"name": "a", "start": [100, 0], "end": [100, 180]}]}],
    "polygon_zone": [{"zones": [{"name": "a", "polygon": [[0, 0], [120, 0], [120, 180], [0, 180]], "most": 0}]}],
    "range": [{"from": 0.5, "to": 1}, {"from_frame": 7}],
    "decimate": [{"fps": 5}, {"every": 3}, {"keep": "keyframes"}, {"keep": "references"}],
    "constant_rate": [{"fps": 30}],
    "motion_gate": [{}, {"hold_frames": 1}],
    "normalise": [{"fps": 5, "max_side": 320}],
    "redact": [{"of": ["things"]}, {"of": ["things"], "method": "fill"}],
    "dataset": [{}, {"of": ["things"], "every_seconds": 2}],
    "summarise": [{}],
    "resize": [{"width": 64, "height": 64}],
    "channels": [{"to": "gray"}, {"to": "hsv", "only": "v"}],
    "crop": [{"width": 320, "height": 180}],
    "roi": [{"polygons": [[[0, 0], [320, 0], [160, 180]]]}],
    "undistort": [{"fx": 300, "fy": 300, "cx": 160, "cy": 90, "coefficients": [0.1]}],
    "tiles": [{"columns": 2, "rows": 2}],
    "detect": [{"model": "yolox-nano", "score": 0.05}],
    "read_text": [{}, {"of": "things"}],
    "pose": [{"model": "points"}, {"model": "points", "of": "things"}],
    "segment": [{"model": "classes"}],
    "parse": [{"model": "parts"}, {"model": "parts", "of": "things"}],
    "classify": [{"model": "names"}, {"model": "names", "of": "things"}],
    "embed": [{"model": "vectors"}, {"model": "vectors", "of": "things"}],
    "depth": [{"model": "far"}, {"model": "far", "of": "things"}],
    "edges": [{}, {"method": "sobel"}, {"method": "laplacian", "blur": 1}],
    "lines": [{"min_length": 20}, {"method": "lsd"}, {"method": "hough"}],
    "threshold": [{}, {"method": "adaptive"}, {"method": "fixed", "level": 99}],
    "contours": [{"method": "fixed", "level": 99, "close": 3}],
    "template": [{"image": CROSS, "score": 0.3}],
    "flow": [{}, {"method": "sparse"}],
    "frozen": [{"frames": 2, "level": 20}],
    "periodic": [{"frames": 16}],
    "tampering": [{"learn": 2}],
    "keyframes": [{}, {"per": "interval", "every_seconds": 0.1}],
    "motion": [{"learn": 1}, {"learn": 1, "method": "knn", "shadows": False}],
    "colours": [{"bins": 4}, {"of": "things"}],
    "to_world": [{"camera": CAMERA}, {"camera": CAMERA, "distances": "all", "of": "things"}],
    "external": [{"url": "https://models.example.com/", "answer": {}}],
    "crops": [{"of": "things"}, {"of": "things", "every": 2, "square": True}],
    "caption": [{"model": "vit-gpt2"}, {"model": "vit-gpt2", "of": "things", "beams": 2}],
}
SOURCE = View.of(320, 180)


def stages_of(base: type[Stage[Any]]) -> list[Any]:
    """Each stage of a kind with each of its options, for parametrize."""
    return [
        pytest.param(kind, options, id=" ".join([kind, *map(str, options.values())]))
        for kind, cls in sorted(discover().items())
        if issubclass(cls, base)
        for options in OPTIONS.get(kind, [{}])
    ]


@pytest.fixture(scope="module")
def tools(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> OnnxTools:
    models = tmp_path_factory.mktemp("models")
    write_yolox_card(models, assets)
    write_small_models(models)
    write_captioner(models, unpack(tmp_path_factory.mktemp("captioners")), "vit-gpt2")
    return OnnxTools(models, device="cpu")


def open_stage(kind: str, options: dict[str, Any], tools: OnnxTools) -> Any:
    stage = make(discover()[kind].Options.model_validate({"name": "it", "type": kind, **options}))
    stage.open(tools)
    return stage


def make_frames(view: View, n: int) -> list[Frame]:
    """Frames with shapes and text that move, read-only as they come from the decoder."""
    frames = []
    for number in range(n):
        picture = np.full((180, 320, 3), 60 + 10 * number, np.uint8)
        cv2.rectangle(picture, (20 + 30 * number, 40), (80 + 30 * number, 150), (0, 90, 220), -1)
        cv2.putText(picture, f"No {number}", (120, 110), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 2, cv2.LINE_AA)
        x, y, width, height = view.content
        canvas = np.full((view.height, view.width, 3), view.pad, np.uint8)
        canvas[y : y + height, x : x + width] = cv2.resize(picture, (width, height))
        image = cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY) if view.format == "gray" else canvas
        image.setflags(write=False)
        frames.append(Frame(number, number * 512, number / 25, view, image))
    return frames


def timeline(n: int) -> Timeline:
    """n frames at 25 per second, a keyframe in ten, every second one a reference."""
    number = np.arange(n, dtype=np.int64)
    return Timeline(number, number / 25, number % 10 == 0, number % 2 == 0)


def make_objects(number: int) -> Objects:
    """What an earlier stage called `things` found: the rectangle with the number on it."""
    box = [[110 + 5 * number, 70, 260 + 5 * number, 125], [20 + 30 * number, 40, 80 + 30 * number, 150]]
    return Objects.make(stage="things", box=box, score=[0.9, 0.8], label=["sign", "post"], class_id=[1, 2])


@pytest.mark.parametrize("kind", sorted(discover()))
def test_options_that_have_defaults_need_not_be_given(kind: str) -> None:
    model = discover()[kind].Options
    given = OPTIONS.get(kind, [{}])[0]
    required = {name: given[name] for name, field in model.model_fields.items() if field.is_required()} or given
    options = model.model_validate({"type": kind, **required})
    assert model.model_validate(options.model_dump(mode="json")) == options
    assert discover()[kind](options).kind() == kind


def test_every_stage_is_described_for_people_and_machines() -> None:
    for info in describe():
        assert info.summary.endswith(".")
        properties = json.loads(json.dumps(info.schema))["properties"]
        undescribed = [name for name, option in properties.items() if name != "type" and "description" not in option]
        assert undescribed == [], info.type


@pytest.mark.parametrize(("kind", "options"), stages_of(FrameStage))
def test_an_empty_batch_finds_nothing(kind: str, options: dict[str, Any], tools: OnnxTools) -> None:
    assert open_stage(kind, options, tools).process([], []) == []


@pytest.mark.parametrize(("kind", "options"), stages_of(FrameStage))
@pytest.mark.parametrize("upstream", [SOURCE, SOURCE.with_format("gray")], ids=["colour", "gray"])
def test_a_batch_split_in_two_equals_one_batch_and_inputs_stay_as_they_were(
    kind: str, options: dict[str, Any], upstream: View, tools: OnnxTools
) -> None:
    stage = open_stage(kind, options, tools)
    assert stage.batch >= 1
    frames = make_frames(stage.view(upstream), 3)
    found = [make_objects(frame.number) for frame in frames]
    images = [frame.image.copy() for frame in frames]
    before = [objects.to_dicts() for objects in found]

    stage.begin()
    together = stage.process(frames, found)
    stage.begin()
    split = stage.process(frames[:1], found[:1]) + stage.process(frames[1:], found[1:])
    assert len(together) == 3
    records = [
        [
            FrameRecord(f.number, f.pts, f.time, objects=o).with_found(result)
            for f, o, result in zip(frames, found, results, strict=True)
        ]
        for results in (together, split)
    ]
    assert [r.to_json() for r in records[0]] == [r.to_json() for r in records[1]]
    assert [FrameRecord.unpack(r.pack()).to_json() for r in records[0]] == [r.to_json() for r in records[0]]
    for frame, image in zip(frames, images, strict=True):
        assert np.array_equal(frame.image, image)
    assert [objects.to_dicts() for objects in found] == before
    for record in records[0]:
        box = record.objects.box
        assert (box >= 0).all()
        assert (box <= np.tile(SOURCE.source, 2)).all()


@pytest.mark.parametrize(("kind", "options"), stages_of(FrameStage))
def test_a_frame_comes_out_the_same_wherever_its_chunk_begins(
    kind: str, options: dict[str, Any], tools: OnnxTools
) -> None:
    stage = open_stage(kind, options, tools)
    frames = make_frames(stage.view(SOURCE), 6)
    found = [make_objects(frame.number) for frame in frames]

    def results(first: int) -> list[Found]:
        stage.begin()
        if stage.remembers_all and first:
            for number in range(first):
                stage.process([frames[number]], [found[number]])
            state = {name: array.copy() for name, array in stage.state().items()}
            stage.process([frames[0]], [found[0]])
            stage.begin()
            stage.restore(state)
        return [stage.process([frames[n]], [found[n]])[0] for n in range(first, 6)]

    straight = results(0)
    for first in range(1, 6 - stage.memory):
        for number, result in enumerate(results(first), first):
            if number >= first + stage.memory:
                assert (result.values, result.skip, result.added, result.objects) == (
                    straight[number].values, straight[number].skip, straight[number].added, straight[number].objects
                )  # fmt: skip
    assert stage.skips or not any(result.skip for result in straight)
    for result in straight:
        record = FrameRecord(0, 0, 0.0).with_found(result)
        assert result.skip == (stage.skips and is_true(record, "it", "skipped"))
        assert all(isinstance(record.values["it"][entry], bool) for entry in stage.tallies)


@pytest.mark.parametrize(("kind", "options"), stages_of(Tiler))
@pytest.mark.parametrize("upstream", [SOURCE, SOURCE.resized(100, 100, mode="letterbox")], ids=["plain", "letterbox"])
def test_tiles_cover_the_picture_and_one_result_comes_of_theirs(
    kind: str, options: dict[str, Any], upstream: View, tools: OnnxTools
) -> None:
    tiler = open_stage(kind, options, tools)
    tiles = tiler.tiles(upstream)
    covered = np.zeros((180, 320), bool)
    for view in tiles:
        x, y, width, height = view.region
        covered[y : y + height, x : x + width] = True
    assert covered.all()
    one = Objects.make(stage="s", box=[[10, 10, 20, 20]], score=[0.5], label=["x"])
    merged = tiler.merge([Found(added=one), *(Found(added=Objects.none()) for _ in tiles[1:])])
    assert merged.added is not None
    assert merged.added.to_dicts() == one.to_dicts()
    assert not merged.skip


@pytest.mark.parametrize(("kind", "options"), stages_of(CropStage))
def test_what_is_picked_is_there_and_can_be_cut_out(kind: str, options: dict[str, Any], tools: OnnxTools) -> None:
    stage = open_stage(kind, options, tools)
    frames = make_frames(SOURCE, 6)
    for frame in frames:
        found = make_objects(frame.number)
        tracked = replace(found, track=np.array([1, 2], np.int32))
        stage.consider(FrameRecord(frame.number, frame.pts, frame.time, objects=tracked), SOURCE.source)
    picks = stage.picks()
    assert picks == sorted(picks, key=lambda pick: pick.order)
    assert [Pick.from_dict(pick.to_dict()) for pick in picks] == picks
    for pick in picks:
        assert pick.stage == "it"
        for shot in pick.shots:
            cutting = stage.cut(frames[shot.record.frame].image, shot)
            assert cutting.image.shape == cutting.view.shape
            assert cutting.view.source == SOURCE.source
            assert 0 < shot.merit < 1
            assert 0 <= cutting.sharpness < 1


@pytest.mark.parametrize(("kind", "options"), stages_of(JobStage))
def test_a_stage_that_makes_files_names_them_and_makes_no_others(
    kind: str, options: dict[str, Any], tools: OnnxTools, tmp_path: Path
) -> None:
    class Footage:
        part, times, fps, size = range(4), np.arange(4) / 10, 10.0, SOURCE.source

        def records(self) -> Iterator[FrameRecord]:
            return (FrameRecord(n, n, n / 10, objects=make_objects(n)) for n in range(4))

        def still(self, width: int, height: int) -> np.ndarray:
            return np.zeros((height, width, 3), np.uint8)

        def write_normalised(self, path: Path, *, fps: float, max_side: int | None) -> None:
            path.write_bytes(b"")
            path.with_suffix(".map.ndjson").write_text("")

        def write_painted(self, path: Path, numbers: Any, times: Any, paint: Any) -> None:
            for frame in make_frames(SOURCE, 4):
                paint(frame.image.copy(), frame.number)
            path.write_bytes(b"")

        def write_pictures(self, folder: Path, numbers: Any) -> None:
            folder.mkdir()
            for number in numbers.tolist():
                (folder / f"{number:06d}.jpg").write_bytes(b"")

    stage = open_stage(kind, options, tools)
    stage.make(Footage(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(stage.files())


@pytest.mark.parametrize(("kind", "options"), stages_of(Selector))
def test_a_selection_is_the_same_whatever_came_before(kind: str, options: dict[str, Any], tools: OnnxTools) -> None:
    stage = open_stage(kind, options, tools)
    frames = timeline(50)
    mask = stage.select(frames)
    assert (mask.shape, mask.dtype) == ((50,), np.bool_)
    assert np.array_equal(stage.select(frames), mask)
    assert stage.select(timeline(0)).shape == (0,)
    assert set(stage.values(frames)) <= set(np.flatnonzero(mask))
    for told in (stage.values(timeline(0)), stage.summary(timeline(0)), stage.summary(frames)):
        json.dumps(dict(told))


@pytest.mark.parametrize(("kind", "options"), stages_of(Reshaper))
def test_a_reshaped_view_still_maps_to_the_source(kind: str, options: dict[str, Any], tools: OnnxTools) -> None:
    view = open_stage(kind, options, tools).reshape(SOURCE)
    points = np.array([[0.0, 0.0], [160.0, 90.0], [320.0, 180.0]])
    assert view.source == SOURCE.source
    assert view.to_source(view.from_source(points)) == pytest.approx(points, abs=0.01)


@pytest.mark.parametrize(("kind", "options"), stages_of(SequenceStage))
def test_a_sequence_stage_can_move_to_another_process_after_any_record(
    kind: str, options: dict[str, Any], tools: OnnxTools
) -> None:
    import msgpack

    def records() -> list[FrameRecord]:
        return [FrameRecord(n, n, n / 25, objects=tracked(make_objects(n))) for n in range(6)]

    def fresh() -> Any:
        stage = open_stage(kind, options, tools)
        stage.size = SOURCE.source
        stage.meet({"shirt_colour": discover()["shirt_colour"](ShirtColourOptions(name="shirt_colour", of="things"))})
        stage.open(tools)
        return stage

    def told(stage: Any) -> list[str]:
        events = stage.take_told()
        assert {event.kind for event in events} <= set(stage.event_kinds)
        return [event.to_json() for event in events]

    stage = fresh()
    straight = [(stage.update(record).to_json(), told(stage)) for record in records()]
    stage.end()
    last = told(stage)
    moved = []
    stage = fresh()
    for record in records():
        moved.append((stage.update(record).to_json(), told(stage)))
        state = msgpack.unpackb(msgpack.packb(stage.state()))
        stage = fresh()
        stage.restore(state)
    stage.end()
    assert moved == straight
    assert told(stage) == last
    assert stage.event_kinds == () or any(events for _, events in straight) or last


def tracked(objects: Objects) -> Objects:
    """The same objects, numbered."""
    return replace(objects, track=np.arange(1, len(objects) + 1, dtype=np.int32))
