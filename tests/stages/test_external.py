from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cvpipe.calls import Asking
from cvpipe.errors import InvalidPipeline
from cvpipe.pipeline import parse_pipeline, plan_segments
from cvpipe.stages import make
from cvpipe.stages.external import ExternalOptions

ANSWER = {"type": "object", "properties": {"plate": {"type": "string"}}}
FIND = [
    {"type": "detect", "name": "cars", "model": "drawn-street", "classes": ["car"]},
    {"type": "detect", "name": "people", "model": "drawn-street", "classes": ["person"]},
]
ONE = Asking({"label": "car", "score": 0.9}, (b"\x89PNG", b"two"))


def stage(**options: Any) -> Any:
    plain = {"url": "https://models.example.com/ask", "of": "cars", "answer": ANSWER, "name": "ask"}
    return make(ExternalOptions.model_validate({**plain, **options}))


def pipeline(*stages: dict[str, Any], **options: Any) -> Any:
    ask = {"type": "external", "url": "https://models.example.com/ask", "of": "cars", "answer": ANSWER, **options}
    return parse_pipeline({"name": "p", "stages": [*(stages or FIND), ask]})


def test_the_plain_body_has_the_declared_fields_and_the_pictures() -> None:
    assert json.loads(stage().body([ONE])) == {
        "stage": "ask", "fields": {"label": "car", "score": 0.9}, "images": ["iVBORw==", "dHdv"]
    }  # fmt: skip
    assert json.loads(stage(batch=2).body([ONE, Asking({"label": "van"})])) == {
        "stage": "ask",
        "items": [
            {"fields": {"label": "car", "score": 0.9}, "images": ["iVBORw==", "dHdv"]},
            {"fields": {"label": "van"}},
        ],
    }


def test_a_template_is_filled_with_values_of_their_own_type_and_with_text() -> None:
    template = {
        "q": "a {{label}} ({{ score }})?",
        "score": "{{score}}",
        "all": ["{{fields}}"],
        "picture": "{{image}}",
    }
    assert json.loads(stage(template=template).body([ONE])) == {
        "q": "a car (0.9)?", "score": 0.9, "all": [{"label": "car", "score": 0.9}], "picture": "iVBORw=="
    }  # fmt: skip


def test_what_a_field_holds_is_data_and_never_a_template() -> None:
    sly = Asking({"label": "{{image}}", "score": 1.0}, (b"x",))
    assert json.loads(stage(template={"a": "{{label}}", "b": "see {{label}}"}).body([sly])) == {
        "a": "{{image}}", "b": "see {{image}}"
    }  # fmt: skip


def test_a_chat_is_asked_with_pictures_and_a_schema() -> None:
    chat = {"model": "m", "prompt": "Which {{label}}?", "system": "Be short."}
    body = json.loads(stage(chat=chat, format="png").body([ONE]))
    assert body["model"] == "m"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    text, *pictures = body["messages"][1]["content"]
    assert text == {"type": "text", "text": "Which car?"}
    assert pictures[0]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    assert len(pictures) == 2
    assert body["response_format"]["json_schema"]["schema"] == ANSWER


def test_a_chats_answer_is_the_json_in_its_message_fenced_or_not() -> None:
    chat = {"model": "m", "prompt": "?"}
    for content in ('{"plate": "A 1"}', '```json\n{"plate": "A 1"}\n```'):
        answer = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        assert stage(chat=chat).read(answer, 1) == [{"plate": "A 1"}]


def test_an_answer_is_found_where_the_path_leads() -> None:
    assert stage(answer_path="data.0.result").read(b'{"data": [{"result": {"plate": "A"}}]}', 1) == [{"plate": "A"}]
    with pytest.raises(ValueError, match="the answer has no 'data.1'"):
        stage(answer_path="data.1").read(b'{"data": [1]}', 1)
    with pytest.raises(ValueError, match="wanted a list of 2 answers, got a list of 1"):
        stage(batch=2).read(b"[{}]", 2)


def test_it_runs_last_on_a_queue_of_its_own() -> None:
    segments = plan_segments(pipeline(*FIND, {"type": "track", "of": "cars"}))
    assert [(segment.kind, segment.queue) for segment in segments] == [
        ("frames", "gpu"), ("sequence", "sequence"), ("external", "external")
    ]  # fmt: skip
    assert plan_segments(pipeline(queue="far"))[-1].queue == "far"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"per": "object", "of": None}, "`per: object` needs `of`"),
        ({"per": "frame"}, "`of` does not go with `per: frame`"),
        ({"fields": ["labels"]}, "there is no 'labels' of a object"),
        ({"template": {"a": "{{text}}"}}, "nothing fills {{text}}"),
        ({"template": {"a": "{{label}}"}, "batch": 2}, "nothing fills {{label}}"),
        ({"template": {}, "chat": {"model": "m", "prompt": "?"}}, "give `template` or `chat`, not both"),
        ({"chat": {"model": "m", "prompt": "?"}, "batch": 2}, "asks about one item at a time"),
        ({"answer": {"$ref": "http://169.254.169.254/"}}, "'$ref' is not known here"),
        ({"answer": {"properties": {"a": {"pattern": "(a+)+$"}}}}, "'pattern' is not known here"),
        ({"answer": {"type": "text"}}, "there is no type 'text'"),
        ({"answer": {"minimum": "1"}}, "'minimum' can't be '1' in a JSON Schema"),
        ({"cache_distance": 3}, "there are none with `images: none`"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"blur": ["dogs"]}, "refers to 'dogs', but there is no earlier stage of this name"),
        ({"secret": "sk-UPPER"}, "secret"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidPipeline) as refused:
        pipeline(**options)
    assert words in str(refused.value)


FOLLOWED = [
    *FIND, {"type": "track", "of": "cars"},
    {"type": "line_zone", "name": "way", "of": "cars", "lines": [{"name": "a", "start": [0, 9], "end": [9, 9]}]},
]  # fmt: skip


@pytest.mark.parametrize(
    ("stages", "options", "words"),
    [
        (FIND, {"of": None}, "no earlier stage tells of events"),
        (FOLLOWED, {"of": "cars"}, r"no earlier stage 'cars' tells of events \(there is: way\)"),
        (FOLLOWED, {"of": "wya"}, r"no earlier stage 'wya' tells of events \(did you mean 'way'\?\)"),
        (FOLLOWED, {"kinds": ["line_crosed"]}, r"nobody tells of 'line_crosed' \(did you mean 'line_crossed'\?\)"),
        (FOLLOWED, {"fields": ["label"]}, "fields: there is no 'label' of a event"),
        (FOLLOWED, {"when": "score > 0.5"}, "`when` is of the objects of a stage"),
    ],
)
def test_events_that_nobody_tells_of_are_refused(
    stages: list[dict[str, Any]], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidPipeline, match=words):
        pipeline(*stages, **{"of": "way", "per": "event", **options})


def test_who_finds_what_is_blurred_must_see_everything() -> None:
    half = {"type": "crop", "x": 0, "y": 0, "width": 100, "height": 100}
    with pytest.raises(InvalidPipeline, match="sees only what 'crop' leaves of the frame"):
        pipeline(FIND[0], half, FIND[1], images="crop", blur=["people"])
    faces = {**FIND[1], "name": "faces", "when": "objects > 0"}
    with pytest.raises(InvalidPipeline, match="has a `when`, and so may miss what is to be blurred"):
        pipeline(FIND[0], faces, images="crop", blur=["faces"])
