"""Captioning: tiny networks in the exporters' layouts say, token by token, what transformers says with them."""

from __future__ import annotations

import copy
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from onnx import helper

from cvpipe.errors import InvalidModel
from cvpipe.inference import OnnxTools
from cvpipe.inference.batcher import Batcher
from cvpipe.inference.captioning import Captioner
from cvpipe.inference.generation import CaptionOptions
from cvpipe.inference.shares import Share, working_for
from tests.captioners import KINDS, TOKENS, captioner_card, expected, pictures, unpack, write_captioner
from tests.modelcards import model_bytes

Captioners = dict[str, Captioner]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("captioners"))


@pytest.fixture(scope="module")
def captioners(networks: Path, tmp_path_factory: pytest.TempPathFactory) -> Captioners:
    models = tmp_path_factory.mktemp("models")
    for name in KINDS:
        write_captioner(models, networks, name)
    tools = OnnxTools(models, device="cpu")
    return {name: tools.captioner(name) for name in KINDS}


def with_options(captioner: Captioner, name: str, **options: Any) -> Captioner:
    """The same networks under a card with other options."""
    other = copy.copy(captioner)
    other.options = CaptionOptions.model_validate({**TOKENS[KINDS[name][0]], "max_new_tokens": 12, **options})
    return other


CASES = [
    pytest.param(name, case, id=" ".join(filter(None, (name, case["name"], case["prompt"]))))
    for name, (kind, _, _) in KINDS.items()
    for case in expected()[kind]
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_captions_are_those_of_transformers_token_by_token(
    name: str, case: dict[str, Any], captioners: Captioners
) -> None:
    captioner = with_options(captioners[name], name, **case["options"])
    captions = captioner.run(list(pictures()), prompt=case["prompt"])
    said = [tokens for tokens, _ in case["says"]]
    if name == "blip" and case["prompt"]:  # transformers counts the prompt among what was said
        said = [tokens[2:] for tokens in said]
    assert [list(caption.tokens) for caption in captions] == said
    assert [caption.text for caption in captions] == [" ".join(text.split()) for _, text in case["says"]]
    assert all(0 < caption.score <= 1 for caption in captions)


def test_what_was_recorded_differs_between_pictures_and_ends_at_many_lengths() -> None:
    for kind, cases in expected().items():
        assert len({tuple(tokens) for case in cases for tokens, _ in case["says"]}) > 20, kind
    lengths = {len(tokens) for cases in expected().values() for case in cases for tokens, _ in case["says"]}
    assert len(lengths) >= 6


def test_keys_and_values_are_kept_where_the_files_allow_it(captioners: Captioners) -> None:
    assert {name: captioner.is_cached for name, captioner in captioners.items()} == {
        "vit-gpt2": True,
        "vit-gpt2-merged": True,
        "vit-gpt2-uncached": False,
        "blip": False,
        "florence": True,
    }


@pytest.mark.parametrize("beams", [1, 3])
def test_likelihoods_do_not_depend_on_what_is_kept(beams: int, captioners: Captioners) -> None:
    kept, merged, plain = (
        [caption.score for caption in captioners[name].run(list(pictures()), beams=beams)]
        for name in ("vit-gpt2", "vit-gpt2-merged", "vit-gpt2-uncached")
    )
    assert kept == pytest.approx(plain, rel=1e-4)
    assert merged == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_is_captioned_the_same_in_any_company(name: str, captioners: Captioners) -> None:
    captioner = captioners[name]
    together = captioner.run(list(pictures()), beams=2)
    assert [captioner.run([picture], beams=2)[0] for picture in pictures()] == together


@pytest.mark.parametrize("name", KINDS)
def test_pictures_searched_for_in_step_say_what_each_says_alone(name: str, captioners: Captioners) -> None:
    in_step = copy.copy(captioners[name])
    # As on a GPU: three at a time, the last call filled up.
    in_step._batcher = Batcher(in_step._say_together, batch=3, calls=1)
    for beams in (1, 3):
        options = with_options(captioners[name], name, num_beams=beams, eos_token_id=[0, 2, 3, 6, 78])
        in_step.options = options.options
        said = [caption.tokens for caption in in_step.run(list(pictures()))]
        assert said == [caption.tokens for caption in options.run(list(pictures()))]


def test_pictures_of_all_threads_are_said_in_one_call_where_the_same_is_asked(
    captioners: Captioners, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = copy.copy(captioners["vit-gpt2"])
    alone = {length: captioner.run(list(pictures()), max_new_tokens=length) for length in (3, 12)}
    calls: list[int] = []
    say = captioner._say
    monkeypatch.setattr(captioner, "_say", lambda hidden, *wish: calls.append(len(hidden)) or say(hidden, *wish))
    captioner._batcher = Batcher(captioner._say_together, batch=4, calls=1, wait_seconds=60)
    # Whoever does not fill a call of its own waits until the full one has been made.
    monkeypatch.setattr(Batcher, "_everybody_waits", lambda *_: bool(calls))
    first, last = list(pictures())[:2], list(pictures())[2:]
    with ThreadPoolExecutor(3) as threads:
        asked = [
            threads.submit(captioner.run, part, max_new_tokens=length)
            for part, length in ((first, 12), (last, 12), (first, 3))
        ]
        said = [one.result(60) for one in asked]
    assert [[caption.tokens for caption in captions] for captions in said] == [
        [caption.tokens for caption in captions] for captions in (alone[12][:2], alone[12][2:], alone[3][:2])
    ]
    assert calls == [4, 4], "the two threads that ask for 12 tokens share one, the third fills up its own"


def test_what_the_encoder_and_the_decoder_do_is_counted_for_the_job(networks: Path, tmp_path: Path) -> None:
    write_captioner(tmp_path, networks, "vit-gpt2")
    tools = OnnxTools(tmp_path, device="cpu")
    captioner = tools.captioner("vit-gpt2")
    with working_for(Share("mine")):
        captioner.run(list(pictures()))
    used = tools.meters.take("mine")
    assert {model: use.pictures for model, use in used.items()} == {"vit-gpt2@1": 4, "vit-gpt2@1:decoder": 4}
    assert all(use.fill == 1 and use.device_seconds > 0 for use in used.values())


def test_a_short_name_stands_for_the_cards_prompt(captioners: Captioners) -> None:
    captioner = captioners["florence"]
    asked = captioner.run(list(pictures()), prompt="what does the image describe ?")
    assert captioner.run(list(pictures()), prompt="<CAPTION>") == asked
    assert captioner.run(list(pictures()), prompt="two dogs") != asked


def test_a_sentence_is_no_longer_than_asked(captioners: Captioners) -> None:
    for length in (1, 3):
        captions = captioners["vit-gpt2"].run(list(pictures()), max_new_tokens=length, beams=2)
        assert [len(caption.tokens) for caption in captions] == [length] * 4


def test_no_pictures_have_no_captions(captioners: Captioners) -> None:
    assert captioners["vit-gpt2"].run([]) == []


def test_a_job_records_all_files_of_a_captioner(captioners: Captioners, networks: Path) -> None:
    card = captioners["vit-gpt2"].card
    assert card.digest != card.sha256
    other = card.model_copy(update={"files": {**card.files, "decoder": card.files["tokenizer"]}})
    assert other.digest != card.digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": {"decoder": "tokenizer"}}, "ONNX Runtime can't load"),
        ({"files": {"tokenizer": "decoder"}}, "the tokenizer can't be read"),
        ({"options": {"eos_token_id": 0}}, "needs a `decoder_start_token_id`"),
        ({"options": {"bos_token_id": 0, "eos_token_id": 5000}}, "the decoder knows 90"),
        ({"options": {"bos_token_id": 0, "eos_token_id": 0, "beams": 2}}, "Extra inputs are not permitted"),
    ],
    ids=["no network", "no tokenizer", "no start", "unknown token", "unknown option"],
)
def test_a_card_that_does_not_fit_its_files_is_told_why(
    changes: dict[str, Any], words: str, networks: Path, tmp_path: Path
) -> None:
    card = captioner_card("vit-gpt2", networks)
    changes = dict(changes)
    swap = changes.pop("files", {})
    for role, other in swap.items():
        card["files"][role] = card["files"][other]
    path = write_captioner(tmp_path, networks, "vit-gpt2")
    path.write_text(yaml.safe_dump(card | changes))
    with pytest.raises(InvalidModel, match=words):
        OnnxTools(tmp_path, device="cpu").captioner("vit-gpt2")


def test_a_decoder_that_needs_what_nobody_gives_is_refused(networks: Path, tmp_path: Path) -> None:
    card = captioner_card("florence", networks)
    card["files"]["decoder"] = card["files"].pop("decoder_with_past")
    path = write_captioner(tmp_path, networks, "florence")
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(InvalidModel, match=r"takes past_key_values\.0\.encoder\.key, which decoder does not give"):
        OnnxTools(tmp_path, device="cpu").captioner("florence")


def test_a_decoder_may_take_an_empty_past(networks: Path, tmp_path: Path, captioners: Captioners) -> None:
    card = captioner_card("vit-gpt2", networks)
    card["files"]["decoder"] = card["files"].pop("decoder_with_past")
    write_captioner(tmp_path, networks, "vit-gpt2").write_text(yaml.safe_dump(card))
    found = OnnxTools(tmp_path, device="cpu").captioner("vit-gpt2").run(list(pictures()), beams=2)
    assert [c.tokens for c in found] == [c.tokens for c in captioners["vit-gpt2"].run(list(pictures()), beams=2)]


def test_a_file_that_is_not_the_one_described_is_refused(networks: Path, tmp_path: Path) -> None:
    path = write_captioner(tmp_path, networks, "vit-gpt2")
    (path.parent / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidModel, match=r"tokenizer\.json is not the file") as refused:
        OnnxTools(tmp_path, device="cpu").captioner("vit-gpt2")
    assert refused.value.field == "files.tokenizer.sha256"


def test_the_encoder_must_give_a_vector_for_each_part_of_a_picture(networks: Path, tmp_path: Path) -> None:
    card = captioner_card("vit-gpt2", networks)
    raw = model_bytes(
        [helper.make_node("GlobalAveragePool", ["pixel_values"], ["mean"])],
        inputs={"pixel_values": ["n", 3, 32, 32]},
        outputs={"mean": ["n", 3, 1, 1]},
    )
    path = write_captioner(tmp_path, networks, "vit-gpt2")
    (path.parent / "encoder_model.onnx").write_bytes(raw)
    path.write_text(yaml.safe_dump(card | {"sha256": hashlib.sha256(raw).hexdigest()}))
    with pytest.raises(InvalidModel, match="cells, depth"):
        OnnxTools(tmp_path, device="cpu").captioner("vit-gpt2")


def test_networks_of_a_captioner_are_in_the_budget_and_say_the_same_after_they_made_room(
    networks: Path, tmp_path: Path
) -> None:
    write_captioner(tmp_path, networks, "florence")
    tools = OnnxTools(tmp_path, device="cpu")
    captioner = tools.captioner("florence")
    said = captioner.run(list(pictures()))
    alone = tools.network("florence@1")
    size = tools.state()["loaded"]["florence@1"]
    captioner.unload()
    assert not captioner.is_loaded
    assert alone.is_loaded
    assert 0 < tools.state()["loaded"]["florence@1"] < size
    with tools.holding(["florence"]):
        assert captioner.is_loaded
        assert tools.state()["loaded"]["florence@1"] == size
    captioner.unload()
    assert captioner.run(list(pictures())) == said
    assert captioner.is_loaded
