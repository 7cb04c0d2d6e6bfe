"""Cards for the tiny captioning networks in `tests/inference/captioners` (see `make.py` there)."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

HERE = Path(__file__).parent / "inference" / "captioners"
SIDE = 32

# Which file is what, and where sentences begin and end.
VIT_GPT2 = {"decoder": "decoder_model.onnx", "decoder_with_past": "decoder_with_past_model.onnx"}
FLORENCE = {"encoder": "encoder_model.onnx", "embed_tokens": "embed_tokens.onnx"}
KINDS: dict[str, tuple[str, str, dict[str, str]]] = {
    "vit-gpt2": ("vit-gpt2", "encoder_model.onnx", VIT_GPT2),
    "vit-gpt2-merged": ("vit-gpt2", "encoder_model.onnx", {"decoder": "decoder_model_merged.onnx"}),
    "vit-gpt2-uncached": ("vit-gpt2", "encoder_model.onnx", {"decoder": "decoder_model.onnx"}),
    "blip": ("blip", "vision_model.onnx", {"decoder": "text_decoder_model.onnx"}),
    "florence": ("florence", "vision_encoder.onnx", FLORENCE | VIT_GPT2),
}
TOKENS: dict[str, dict[str, Any]] = {
    "vit-gpt2": {"decoder_start_token_id": 0, "eos_token_id": 0},
    "blip": {"bos_token_id": 4, "eos_token_id": 3},
    "florence": {
        "decoder_start_token_id": 2,
        "eos_token_id": 2,
        "forced_bos_token_id": 0,
        "forced_eos_token_id": 2,
        "prompts": {"<CAPTION>": "what does the image describe ?"},
    },
}


def unpack(folder: Path) -> Path:
    """The networks' files, in a folder for each exporter's kind."""
    with tarfile.open(HERE / "captioners.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder


def expected() -> dict[str, list[dict[str, Any]]]:
    """What transformers says, by exporter's kind: cases with `prompt`, `options` and `says`."""
    return dict(json.loads((HERE / "expected.json").read_text()))


def pictures() -> np.ndarray:
    """(4, 32, 32, 3) uint8: what was looked at."""
    blocks = np.random.default_rng(5).integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)


def captioner_card(name: str, networks: Path, **changes: Any) -> dict[str, Any]:
    """The content of a card for one of `KINDS`; networks: where they were unpacked."""
    kind, file, roles = KINDS[name]
    folder = networks / kind

    def sha256(path: str) -> str:
        return hashlib.sha256((folder / path).read_bytes()).hexdigest()

    files = roles | {"tokenizer": "tokenizer.json"}
    card: dict[str, Any] = {
        "name": name,
        "task": "captioning",
        "family": "encoder-decoder",
        "file": file,
        "sha256": sha256(file),
        "files": {role: {"file": path, "sha256": sha256(path)} for role, path in files.items()},
        "input": {"width": SIDE, "height": SIDE, "mean": 127.5, "scale": 127.5, "resize": "stretch"},
        "options": {**TOKENS[kind], "max_new_tokens": 12},
    }
    return card | changes


def write_captioner(models_dir: Path, networks: Path, name: str, **changes: Any) -> Path:
    """Write one of `KINDS` to a folder of models; returns the card's path."""
    card = captioner_card(name, networks, **changes)
    path = models_dir / card["name"] / "model.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    for file in (card["file"], *(spec["file"] for spec in card["files"].values())):
        target = path.parent / file
        if not target.exists():
            target.write_bytes((networks / KINDS[name][0] / file).read_bytes())
    return path
