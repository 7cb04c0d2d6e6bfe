"""A folder that an exporter wrote of a captioning model becomes a card, and the card's model says what it should."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from cvpipe.cli import main
from cvpipe.errors import (
    InvalidModel,
    ModelExternalData,
    ModelTimeout,
    ModelTooMuchMemory,
    ModelUnsupported,
    TooLarge,
)
from cvpipe.inference import OnnxTools
from cvpipe.modelfiles import process
from cvpipe.modelfiles.captioners import add_captioner, propose_captioner
from cvpipe.modelfiles.process import Limits
from tests.captioners import KINDS, expected, pictures, unpack
from tests.fuzz import hostile

# As transformers writes them: ViT-GPT2 in short, BLIP's end, Florence's nested text.
CONFIGS: dict[str, dict[str, Any]] = {
    "vit-gpt2": {
        "model_type": "vision-encoder-decoder",
        "decoder": {"bos_token_id": 0, "eos_token_id": 0, "max_length": 20, "no_repeat_ngram_size": 0},
        "encoder": {"image_size": 32, "model_type": "vit"},
    },
    "blip": {
        "model_type": "blip",
        "text_config": {"bos_token_id": 4, "eos_token_id": 2, "sep_token_id": 3, "num_beams": 1},
        "vision_config": {"image_size": 384},
    },
    "florence": {
        "model_type": "florence2",
        "text_config": {"bos_token_id": 0, "eos_token_id": 2, "forced_bos_token_id": 0, "forced_eos_token_id": 2},
        "vision_config": {"depths": [1]},
    },
}
GENERATION: dict[str, dict[str, Any]] = {
    "vit-gpt2": {"decoder_start_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "max_new_tokens": 12},
    "blip": {"max_new_tokens": 12, "pad_token_id": 0},
    "florence": {
        "decoder_start_token_id": 2, "num_beams": 3, "no_repeat_ngram_size": 2, "early_stopping": True,
        "max_new_tokens": 12, "length_penalty": None,
    },
}  # fmt: skip
PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"height": 32, "width": 32},
}


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """A folder for each kind, as an exporter leaves it; ViT-GPT2's networks lie in `onnx/`."""
    folder = unpack(tmp_path / "exports")
    for kind, config in CONFIGS.items():
        (folder / kind / "config.json").write_text(json.dumps(config))
        (folder / kind / "generation_config.json").write_text(json.dumps(GENERATION[kind]))
        (folder / kind / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    (folder / "vit-gpt2" / "onnx").mkdir()
    for path in (folder / "vit-gpt2").glob("*.onnx"):
        path.rename(path.parent / "onnx" / path.name)
    return folder


def said(kind: str, name: str) -> list[str]:
    return next([" ".join(text.split()) for _, text in c["says"]] for c in expected()[kind] if c["name"] == name)


@pytest.mark.parametrize(
    ("kind", "roles", "case", "prompt"),
    [
        ("vit-gpt2", {"decoder": "decoder_model_merged.onnx"}, "greedy", None),
        ("blip", KINDS["blip"][2], "greedy", None),
        ("florence", KINDS["florence"][2], "ngram", "what does the image describe ?"),
    ],
    ids=["vit-gpt2", "blip", "florence"],
)
def test_a_folder_becomes_a_model_that_says_what_it_should(
    kind: str, roles: dict[str, str], case: str, prompt: str | None, exports: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    card = add_captioner(exports / kind, models, Limits())
    assert (card.ref, card.task, card.family, card.file) == (
        f"{kind}@1", "captioning", "encoder-decoder", KINDS[kind][1],
    )  # fmt: skip
    assert {role: spec.file for role, spec in card.files.items()} == {**roles, "tokenizer": "tokenizer.json"}
    assert (card.input.width, card.input.height, card.input.mean) == (32, 32, (127.5,) * 3)
    captions = OnnxTools(models, device="cpu").captioner(kind).run(list(pictures()), prompt=prompt)
    assert [caption.text for caption in captions] == said(kind, case)
    assert add_captioner(exports / kind, models, Limits()).ref == f"{kind}@1"
    assert not list((models / ".incoming").iterdir())


def test_florence_is_asked_for_a_caption_unless_told_otherwise(exports: Path) -> None:
    options = propose_captioner(exports / "florence")["options"]
    assert options["prompts"][options["prompt"]] == "What does the image describe?"
    assert "length_penalty" not in options


def test_a_longest_length_counts_the_start(exports: Path) -> None:
    (exports / "vit-gpt2" / "generation_config.json").unlink()
    assert propose_captioner(exports / "vit-gpt2")["options"]["max_new_tokens"] == 19


@pytest.mark.parametrize(
    ("kind", "file", "words"),
    [
        ("blip", "vision_model.onnx", "wanted one of vision_encoder.onnx"),
        ("blip", "text_decoder_model.onnx", "wanted one of decoder_model_merged.onnx"),
        ("blip", "tokenizer.json", "no tokenizer.json"),
        ("blip", "config.json", "eos_token_id"),
    ],
)
def test_what_is_missing_is_told(kind: str, file: str, words: str, exports: Path) -> None:
    (exports / kind / file).unlink()
    with pytest.raises(InvalidModel, match=words):
        propose_captioner(exports / kind)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("text_decoder_model.onnx", b"not a network", "decoder: not an ONNX file"),
        ("tokenizer.json", b"{}", "the tokenizer can't be read"),
        ("config.json", b"[1]", "holds no mapping"),
        ("generation_config.json", b'{"num_beams": 99}', "num_beams"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_left(
    file: str, content: bytes, words: str, exports: Path, tmp_path: Path
) -> None:
    (exports / "blip" / file).write_bytes(content)
    with pytest.raises(InvalidModel, match=words):
        add_captioner(exports / "blip", tmp_path / "models", Limits())
    assert not list(tmp_path.glob("models/blip*"))


def unknown_operator(model: onnx.ModelProto, _: random.Random) -> None:
    model.graph.node[0].op_type, model.graph.node[0].domain = "NobodyKnows", "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


@pytest.mark.parametrize(
    ("file", "change", "error"),
    [
        ("vision_model.onnx", hostile._external, ModelExternalData),
        ("text_decoder_model.onnx", hostile._external, ModelExternalData),
        ("text_decoder_model.onnx", unknown_operator, ModelUnsupported),
        ("vision_model.onnx", hostile._giant, ModelTooMuchMemory),
        ("vision_model.onnx", hostile._endless, ModelTimeout),
    ],
    ids=["external", "external decoder", "operator", "giant", "endless"],
)
def test_hostile_files_get_the_codes_of_any_model(
    file: str, change: Callable[..., None], error: type[InvalidModel], exports: Path, tmp_path: Path
) -> None:
    path = exports / "blip" / file
    model = onnx.load_model_from_string(path.read_bytes())
    change(model, random.Random(0))
    path.write_bytes(model.SerializeToString())
    limits = Limits(memory_bytes=3 * 2**30, seconds=8 if error is ModelTimeout else 100)
    with pytest.raises(InvalidModel) as refused:
        add_captioner(exports / "blip", tmp_path / "models", limits)
    assert type(refused.value) is error
    assert not list(tmp_path.glob("models/blip*"))


# What a network that has taken the trial over might try; told as an error, by which it comes back.
PROBE = """
import json, sys; sys.path[:] = json.loads(sys.argv[1])
import os, socket
from cvpipe.errors import InvalidModel
from cvpipe.inference import captioning
from cvpipe.modelfiles import child
from cvpipe.video import sandbox

def look(self, *_, **__):
    trials = {{
        "read": lambda: os.open({secret!r}, os.O_RDONLY),
        "write": lambda: os.open({secret!r} + ".new", os.O_WRONLY | os.O_CREAT),
        "connect": lambda: socket.socket().connect(("127.0.0.1", {port})),
    }}
    done = []
    for name, trial in trials.items():
        try:
            trial()
            done.append(name)
        except OSError:
            pass
    raise InvalidModel(f"could {{done}}")

captioning.Captioner._try = look
{more}
child.main(*map(int, sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("more", "could"),
    [("", []), ("sandbox.confine = list", ["read", "write", "connect"])],
    ids=["confined", "if it were not"],
)
def test_the_trial_reaches_neither_files_nor_network(
    more: str, could: list[str], exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of others")
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = PROBE.format(secret=str(secret), port=server.getsockname()[1], more=more)
        monkeypatch.setattr(process, "_BOOT", probe)
        with pytest.raises(InvalidModel) as told:
            add_captioner(exports / "blip", tmp_path / "models", Limits())
    assert told.value.message == f"model blip@1: could {could}"


def test_too_large_a_model_is_refused(exports: Path, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="CVPIPE_MAX_MODEL_BYTES"):
        add_captioner(exports / "blip", tmp_path / "models", Limits(max_bytes=1000))


def test_the_command_line_takes_a_folder(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CVPIPE_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(SystemExit) as ended:
        main(["models", "add", str(exports / "blip"), "--name", "teller", "--json"])
    assert ended.value.code == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["name"], card["task"]) == ("teller", "captioning")
    assert card["files"]["decoder"]["file"] == "text_decoder_model.onnx"
    assert (tmp_path / "data" / "models" / "teller" / "1" / "model.yaml").is_file()
