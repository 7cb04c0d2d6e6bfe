"""`caption`: a sentence for each frame, scene or object, wherever chunks begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.pipeline import parse_pipeline
from cvpipe.results import FrameRecord, Objects
from cvpipe.stages.caption import Caption, CaptionOptions
from tests.captioners import expected, pictures, unpack, write_captioner
from tests.modelcards import write_yolox_card
from tests.test_looking_back import Job

GREEDY = next(case["says"] for case in expected()["vit-gpt2"] if case["name"] == "greedy")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory, assets: Path) -> OnnxTools:
    models = tmp_path_factory.mktemp("models")
    write_captioner(models, unpack(tmp_path_factory.mktemp("captioners")), "vit-gpt2")
    write_yolox_card(models, assets)
    return OnnxTools(models, device="cpu")


def open_stage(tools: OnnxTools, **options: Any) -> Caption:
    stage = Caption(CaptionOptions.model_validate({"name": "said", "model": "vit-gpt2", **options}))
    stage.open(tools)
    return stage


def said(number: int) -> str:
    return " ".join(GREEDY[number][1].split())


def test_each_frame_has_a_sentence(tools: OnnxTools) -> None:
    stage = open_stage(tools)
    view = stage.view(View.of(64, 48))
    assert (view.width, view.height, view.format) == (32, 32, "rgb24")
    frames = [Frame(n, n, n / 25, view, picture) for n, picture in enumerate(pictures())]
    found = stage.process(frames, [Objects.none()] * 4)
    assert [f.values["said"]["text"] for f in found] == [said(n) for n in range(4)]
    assert all(0 < f.values["said"]["score"] < 1 for f in found)
    assert all(f.values["said"]["score"] == round(f.values["said"]["score"], 4) for f in found)


def test_each_object_has_a_sentence_about_its_part_of_the_frame(tools: OnnxTools) -> None:
    canvas = np.full((200, 300, 3), 90, np.uint8)
    canvas[20:52, 30:62], canvas[100:164, 200:264] = pictures()[1], pictures()[2].repeat(2, axis=0).repeat(2, axis=1)
    boxes = [[30, 20, 62, 52], [0, 0, 20, 20], [200, 100, 264, 164]]
    things = Objects.make(stage="things", box=boxes[::2], score=[0.9, 0.8], label=["a", "b"])
    others = Objects.make(stage="others", box=boxes[1:2], score=[0.9], label=["c"])
    stage = open_stage(tools, of="things")
    assert stage.references() == ("things",)
    view = stage.view(View.of(300, 200))
    assert view.format == "bgr24"
    frame = Frame(0, 0, 0.0, view, np.ascontiguousarray(canvas[..., ::-1]))
    (found,) = stage.process([frame], [Objects.concat((things, others))])
    assert found.objects is not None
    values = found.objects.values
    assert [value and value["said"]["text"] for value in values] == [said(1), said(2), None]
    assert found.values == {}


def test_how_it_is_said_can_be_asked_for(tools: OnnxTools) -> None:
    view = open_stage(tools).view(View.of(32, 32))
    frame = Frame(0, 0, 0.0, view, pictures()[0])

    def text(**options: Any) -> str:
        (found,) = open_stage(tools, **options).process([frame], [Objects.none()])
        return str(found.values["said"]["text"])

    beams = next(case["says"] for case in expected()["vit-gpt2"] if case["name"] == "beams")
    assert text(beams=3) == " ".join(beams[0][1].split()) != said(0)
    assert said(0).startswith(text(max_new_tokens=4))
    assert text(prompt="two dogs").startswith("two dogs")


SCENES = {"type": "scenes", "threshold": 20}
CAPTION = {"type": "caption", "model": "vit-gpt2"}
SHADES: list[int | None] = [10, 10, 10, 90, 90, None, 90, 90, 200, 200, 10, 10]


def captioned(records: list[FrameRecord]) -> list[int]:
    return [record.frame for record in records if "caption" in record.values]


@pytest.mark.parametrize(
    ("stages", "frames"),
    [
        ([CAPTION], [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]),
        ([SCENES, {**CAPTION, "per": "scene"}], [0, 3, 6, 8, 10]),
        ([{**SCENES, "name": "cuts"}, {**CAPTION, "per": "scene", "scenes": "cuts"}], [0, 3, 6, 8, 10]),
        ([SCENES, {**CAPTION, "per": "scene", "queue": "words"}], [0, 3, 6, 8, 10]),
        ([{**CAPTION, "every_seconds": 0.3}], [0, 3, 6, 9]),
        ([{**CAPTION, "every_seconds": 0.25}], [0, 3, 8, 10]),
        ([{"type": "decimate", "every": 2}, {**CAPTION, "every_seconds": 0.3}], [0, 4, 6, 10]),
        ([{"type": "range", "from": 0.4}, {**CAPTION, "every_seconds": 1}], [4, 10]),
        ([{**CAPTION, "every_seconds": 0.3}, SCENES], [0, 3, 6, 9]),
    ],
    ids=[
        "frames",
        "scenes",
        "named scenes",
        "elsewhere",
        "0.3 s",
        "0.25 s",
        "decimated",
        "range",
        "looking back after",
    ],
)
def test_frames_are_chosen_wherever_chunks_begin(
    stages: list[dict[str, Any]], frames: list[int], tools: OnnxTools
) -> None:
    job = Job(stages, SHADES, tools)
    numbers = job.selection.numbers
    assert captioned(job.run(numbers)) == frames
    for cuts in ([1, 2, 3, 4, 5], [3], [5], [2, 4]):
        assert job.lines(np.split(numbers, [c for c in cuts if c < len(numbers)])) == job.lines([numbers])


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{**CAPTION, "per": "scene"}], "no earlier stage of this name"),
        ([{"type": "edges"}, {**CAPTION, "per": "scene", "scenes": "edges"}], "finds no cuts"),
        ([SCENES, {**CAPTION, "per": "scene", "every_seconds": 2}], "`every_seconds` goes with `per: frame`"),
        ([SCENES, {**CAPTION, "scenes": "scenes"}], "`scenes` goes with `per: scene`"),
        ([{**CAPTION, "of": "things"}], "refers to 'things'"),
    ],
    ids=["no scenes", "no cuts", "both", "scenes for frames", "no objects"],
)
def test_a_pipeline_in_which_it_makes_no_sense_is_refused(stages: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InvalidPipeline, match=message):
        parse_pipeline({"name": "p", "stages": stages})


def test_a_model_for_another_task_is_refused_with_the_stage_that_runs_it(tools: OnnxTools) -> None:
    with pytest.raises(InvalidPipeline, match="yolox-nano@1 is for detection .*: a stage of the type 'detect' runs it"):
        open_stage(tools, model="yolox-nano")


def test_a_captioner_sees_crops_as_it_sees_frames(tools: OnnxTools) -> None:
    large = cv2.resize(pictures()[3], (320, 320), interpolation=cv2.INTER_NEAREST)
    stage = open_stage(tools, of="all")
    frame = Frame(0, 0, 0.0, stage.view(View.of(320, 320)), np.ascontiguousarray(large[..., ::-1]))
    everything = Objects.make(stage="all", box=[[0, 0, 320, 320]], score=[1], label=["all"])
    (found,) = stage.process([frame], [everything])
    assert found.objects is not None
    (value,) = found.objects.values
    assert value is not None
    assert value["said"]["text"] == said(3)
