"""Captioning models are folders: what exporters write of a model that says sentences becomes one card.

Read are the names of files, as optimum and the exports for browsers have them, and the JSON files beside them:
`config.json`, `generation_config.json`, `preprocessor_config.json`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cvpipe.errors import InvalidModel, TooLarge, Unavailable
from cvpipe.inference.cards import CARD_FILE, ModelCard
from cvpipe.inference.generation import CaptionOptions
from cvpipe.modelfiles import folder
from cvpipe.modelfiles.process import Limits, try_captioner

_PICTURES: Final = ("vision_encoder.onnx", "vision_model.onnx", "encoder_model.onnx")
_DECODERS: Final = (
    "decoder_model_merged.onnx", "decoder_model.onnx", "text_decoder_model.onnx", "text_decoder.onnx"
)  # fmt: skip
_MAX_JSON: Final = 16 << 20
_FLORENCE: Final = {
    "<CAPTION>": "What does the image describe?",
    "<DETAILED_CAPTION>": "Describe in detail what is shown in the image.",
    "<MORE_DETAILED_CAPTION>": "Describe with a paragraph what is shown in the image.",
}


def propose_captioner(export: Path) -> dict[str, Any]:
    """The content of a card for a folder that an exporter wrote, without name and version.

    Raises: InvalidModel where a file or a token is missing.
    """
    files = _files(export)
    pictures = next((name for name in _PICTURES if name in files), None)
    decoder = next((name for name in _DECODERS if name in files), None)
    for found, names in ((pictures, _PICTURES), (decoder, _DECODERS)):
        if found is None:
            raise InvalidModel(f"no captioning model in {export}: wanted one of {', '.join(names)}", field="file")
    if "tokenizer.json" not in files:
        raise InvalidModel(f"no tokenizer.json in {export}: save the model's fast tokenizer there", field="file")
    assert pictures is not None
    assert decoder is not None
    roles = {"decoder": decoder, "tokenizer": "tokenizer.json"}
    if decoder != "decoder_model_merged.onnx":
        later = "decoder_with_past_model.onnx"
        roles |= {"decoder_with_past": later} if later in files else {}
    if "embed_tokens.onnx" in files:
        roles["embed_tokens"] = "embed_tokens.onnx"
    if pictures != "encoder_model.onnx" and "encoder_model.onnx" in files:
        roles["encoder"] = "encoder_model.onnx"
    config, generation = _json(export / "config.json"), _json(export / "generation_config.json")
    return {
        "task": "captioning",
        "family": "encoder-decoder",
        "file": pictures,
        "sha256": _sha256(files[pictures]),
        "files": {role: {"file": name, "sha256": _sha256(files[name])} for role, name in roles.items()},
        "input": _input(config, _json(export / "preprocessor_config.json")),
        "options": _options(config, generation),
    }


def add_captioner(export: Path, models_path: Path, limits: Limits, *, name: str | None = None) -> ModelCard:
    """Keep a captioning model as the next version of `name` (default: the folder's), once it has said two words.

    Raises: InvalidModel and those below it, TooLarge, Unavailable.
    """
    content = {**propose_captioner(export), "name": name or folder.name_of(export.resolve().name)}
    known = folder.versions_of(models_path, str(content["name"]))
    numbers = [int(card.version) for card in known if card.version.isdecimal()]
    try:
        card = ModelCard.model_validate({**content, "version": str(max(numbers, default=0) + 1)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidModel(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for old in known:
        if old.model_dump(exclude={"version"}) == card.model_dump(exclude={"version"}):
            return old
    files = _files(export)
    names = (card.file, *(spec.file for spec in card.files.values()))
    size = sum(files[one].stat().st_size for one in names)
    if size > limits.max_bytes:
        raise TooLarge(f"the files have {size} bytes; at most {limits.max_bytes} are accepted (CVPIPE_MAX_MODEL_BYTES)")
    aside = models_path / folder.INCOMING / secrets.token_hex(8) / card.name
    try:
        aside.mkdir(parents=True)
        for one in names:
            shutil.copyfile(files[one], aside / one)
        (aside / CARD_FILE).write_text(folder.card_text(card), encoding="utf-8")
        try_captioner(card, [aside / one for one in dict.fromkeys(names)], limits)
        target = models_path / card.name / card.version
        target.parent.mkdir(exist_ok=True)
        aside.rename(target)
    except InvalidModel:  # of which some are OSErrors too
        raise
    except OSError as error:
        raise Unavailable(f"the model can't be stored: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)
    return ModelCard.load(target / CARD_FILE)


def _files(export: Path) -> dict[str, Path]:
    """Files by name; networks may lie in `onnx/`, as in exports for browsers."""
    found: dict[str, Path] = {}
    for place in (export / "onnx", export):
        if place.is_dir():
            found |= {path.name: path for path in place.iterdir() if path.is_file()}
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(path: Path) -> dict[str, Any]:
    """The file's mapping; empty where there is no such file. Raises: InvalidModel."""
    try:
        if not path.exists():
            return {}
        content = json.loads(path.read_bytes()) if path.stat().st_size <= _MAX_JSON else None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidModel(f"can't read {path}: {error}") from error
    if not isinstance(content, dict):
        raise InvalidModel(f"{path} holds no mapping of names to values")
    return content


def _parts(config: Mapping[str, Any], *names: str) -> Iterator[Mapping[str, Any]]:
    for name in names:
        part = config.get(name)
        if isinstance(part, dict):
            yield part


def _options(config: Mapping[str, Any], generation: Mapping[str, Any]) -> dict[str, Any]:
    """Of the names that `CaptionOptions` knows, what is said nearest to generation. Raises: InvalidModel."""
    told = [generation, config, *_parts(config, "text_config", "decoder")]
    options: dict[str, Any] = {}
    for name, known in CaptionOptions.model_fields.items():
        values = [part[name] for part in told if part.get(name) is not None]
        if values and values[0] != known.default:
            options[name] = values[0]
    lengths = [part["max_length"] for part in told if isinstance(part.get("max_length"), int)]
    if "max_new_tokens" not in options and lengths:
        options["max_new_tokens"] = max(1, min(1024, lengths[0] - 1))
    kind = str(config.get("model_type", ""))
    if kind == "blip":  # it ends sentences with what separates them
        ends = [part["sep_token_id"] for part in _parts(config, "text_config") if part.get("sep_token_id") is not None]
        options |= {"eos_token_id": ends[0]} if ends else {}
    if kind.startswith("florence"):
        options |= {"prompt": "<CAPTION>", "prompts": dict(_FLORENCE)}
    options = {key: value for key, value in options.items() if value not in ([], {}, "")}
    try:
        CaptionOptions.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "tokens"
        raise InvalidModel(f"config.json and generation_config.json: {where}: {first['msg']}") from error
    return options


def _input(config: Mapping[str, Any], processor: Mapping[str, Any]) -> dict[str, Any]:
    """The picture's size and how pixels are normalised, as the processor has it. Raises: InvalidModel."""
    sizes = [processor.get("crop_size") if processor.get("do_center_crop") else None, processor.get("size")]
    sizes += [part.get("image_size") for part in _parts(config, "vision_config", "encoder")]
    width = height = 0
    for size in sizes:
        if isinstance(size, dict):
            width = size.get("width") or size.get("shortest_edge") or 0
            height = size.get("height") or size.get("shortest_edge") or 0
        elif isinstance(size, int):
            width = height = size
        if width and height:
            break
    else:
        raise InvalidModel(
            "neither preprocessor_config.json nor config.json says how large pictures are", field="input"
        )
    normalises = processor.get("do_normalize", True)
    full = 255.0 if processor.get("do_rescale", True) else 1.0
    means = processor.get("image_mean") or [0.5] * 3
    scales = processor.get("image_std") or [0.5] * 3
    return {
        "width": width,
        "height": height,
        "color": "rgb",
        "resize": "stretch",
        "mean": [round(full * mean, 6) for mean in means] if normalises else 0,
        "scale": [round(full * scale, 6) for scale in scales] if normalises else full,
    }
