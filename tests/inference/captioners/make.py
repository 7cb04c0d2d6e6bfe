"""Make `captioners.tar.xz` and `expected.json`: tiny captioning networks with drawn weights, and what they say.

The graphs are those of the exporters: ViT-GPT2 by optimum (all four files); BLIP and Florence-2, which it does not
know, by torch.onnx from transformers' own classes, with the names of inputs and outputs of the exports that are about.
What is expected is what transformers' `generate` says, token by token. Needs, in an environment of its own: torch,
transformers 4.57, optimum-onnx 0.1, onnx, onnxruntime, tokenizers. Run: python tests/inference/captioners/make.py
"""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optimum.exporters.onnx import onnx_export_from_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    Florence2Config,
    Florence2ForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

HERE = Path(__file__).parent
SIDE = 32
PICTURES = 4
TEXT = (
    "a man rides a red bike down the street . two dogs play in the park . a car is parked beside a tree . "
    "a woman in a blue coat walks over the bridge . people sit at a table . what does the image describe ? "
).split()

SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"num_beams": 1},
    "beams": {"num_beams": 3},
    "long": {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
    "short": {"num_beams": 4, "length_penalty": -0.5, "early_stopping": "never"},
    "ngram": {"num_beams": 3, "no_repeat_ngram_size": 2, "early_stopping": True},
    "greedy ngram": {"num_beams": 1, "no_repeat_ngram_size": 1},
    "repetition": {"num_beams": 1, "repetition_penalty": 1.8},
    "ends": {"num_beams": 1, "eos_token_id": "often"},
    "ends beams": {"num_beams": 3, "eos_token_id": "often"},
    "ends long": {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "eos_token_id": "often"},
    "ends short": {"num_beams": 4, "length_penalty": -0.5, "early_stopping": "never", "eos_token_id": "often"},
    "ends never": {"num_beams": 2, "length_penalty": 0.5, "early_stopping": "never", "eos_token_id": "often"},
    "at least": {"num_beams": 2, "min_new_tokens": 6, "eos_token_id": "often"},
    "suppressed": {"num_beams": 2, "suppress_tokens": [7, 9, 11], "begin_suppress_tokens": [8, 10, 12, 13]},
}
# Tokens that these networks say often: taken for ends, they make searches stop at all lengths.
OFTEN = {"vit-gpt2": [0, 78, 24], "florence": [2, 6, 14]}


def pictures() -> np.ndarray:
    """(n, 32, 32, 3) uint8, RGB; tests draw the same."""
    blocks = np.random.default_rng(5).integers(0, 256, (PICTURES, 4, 4, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)


def pixel_values() -> torch.Tensor:
    tensor = (pictures().astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    return torch.from_numpy(np.ascontiguousarray(tensor.transpose(0, 3, 1, 2)))


def byte_level(specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([" ".join(TEXT)], trainers.BpeTrainer(vocab_size=90, special_tokens=specials))
    return tokenizer


def word_pieces(specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=specials)
    tokenizer.train_from_iterator([" ".join(TEXT)], trainer)
    return tokenizer


@torch.no_grad()
def lively(model: torch.nn.Module, seed: int, *, end: int) -> Any:
    """Weights large enough that the words depend on the picture and on each other, and a likely end; few bits each."""
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3 if "embed" in name or "wte" in name or "wpe" in name else 0.5)
        elif "bias" in name:
            torch.nn.init.normal_(weight, std=0.1)
        if name.endswith(("wte.weight", "word_embeddings.weight", "language_model.shared.weight")):
            weight[end] *= 1.5
        weight.copy_(weight.bfloat16().float())
    return model.eval()


def vit_gpt2(folder: Path) -> tuple[Any, Tokenizer]:
    tokenizer = byte_level(["<|endoftext|>"])
    size = tokenizer.get_vocab_size()
    vit = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=SIDE, patch_size=8
    )
    gpt2 = GPT2Config(
        vocab_size=size, n_positions=48, n_embd=16, n_layer=2, n_head=2, add_cross_attention=True, is_decoder=True,
        bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    model = VisionEncoderDecoderModel(encoder=ViTModel(vit, add_pooling_layer=False), decoder=GPT2LMHeadModel(gpt2))
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 0
    model.config.eos_token_id = model.generation_config.eos_token_id = 0
    model.config.pad_token_id = model.generation_config.pad_token_id = 0
    model = lively(model, 3, end=0)
    onnx_export_from_model(model, folder, task="image-to-text-with-past", do_validation=False)
    return model, tokenizer


class BlipVision(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision = model.vision_model

    def forward(self, pixel_values: torch.Tensor) -> Any:
        found = self.vision(pixel_values)
        return found.last_hidden_state, found.pooler_output


class BlipText(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.text = model.text_decoder

    def forward(self, input_ids: Any, attention_mask: Any, encoder_hidden_states: Any, encoder_attention_mask: Any):
        return self.text(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            use_cache=False,
        ).logits


def export(model: torch.nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str], path: Path, axes: Any) -> None:
    torch.onnx.export(
        model.eval(), tuple(inputs.values()), path, input_names=list(inputs), output_names=outputs,
        dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip


def blip(folder: Path) -> tuple[Any, Tokenizer]:
    tokenizer = word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    text = {
        "vocab_size": tokenizer.get_vocab_size(), "hidden_size": 16, "encoder_hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 48, "bos_token_id": 4,
        "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": SIDE, "patch_size": 8,
    }  # fmt: skip
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    config._attn_implementation = "eager"
    model = lively(BlipForConditionalGeneration(config), 4, end=3)
    model.generation_config.pad_token_id = 0
    batch = {0: "batch"}
    export(
        BlipVision(model), {"pixel_values": pixel_values()}, ["last_hidden_state", "pooler_output"],
        folder / "vision_model.onnx", {"pixel_values": batch, "last_hidden_state": batch, "pooler_output": batch},
    )  # fmt: skip
    inputs = {
        "input_ids": torch.tensor([[4, 8, 9], [4, 9, 10]]),
        "attention_mask": torch.ones(2, 3, dtype=torch.int64),
        "encoder_hidden_states": torch.randn(2, 5, 16),
        "encoder_attention_mask": torch.ones(2, 5, dtype=torch.int64),
    }
    words, cells = {0: "batch", 1: "sequence"}, {0: "batch", 1: "cells"}
    axes = {
        "input_ids": words, "attention_mask": words, "encoder_hidden_states": cells, "encoder_attention_mask": cells,
        "logits": words,
    }  # fmt: skip
    export(BlipText(model), inputs, ["logits"], folder / "text_decoder_model.onnx", axes)
    return model, tokenizer


class FlorenceVision(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return self.model.get_image_features(pixel_values)


class FlorenceEncoder(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.get_encoder()

    def forward(self, attention_mask: Any, inputs_embeds: Any) -> Any:
        return self.encoder(attention_mask=attention_mask, inputs_embeds=inputs_embeds).last_hidden_state


class FlorenceDecoder(torch.nn.Module):
    """One step: without a past it makes keys and values of picture and words, with one those of the words."""

    def __init__(self, model: Any, *, layers: int, past: bool) -> None:
        super().__init__()
        self.decoder, self.head = model.model.language_model.decoder, model.lm_head
        self.layers, self.past = layers, past

    def forward(self, encoder_attention_mask: Any, encoder_hidden_states: Any, inputs_embeds: Any, *past: Any) -> Any:
        own, other = DynamicCache(), DynamicCache()
        cache = EncoderDecoderCache(own, other)
        for layer in range(self.layers if self.past else 0):
            key, value, cross_key, cross_value = past[4 * layer : 4 * layer + 4]
            own.update(key, value, layer)
            other.update(cross_key, cross_value, layer)
            cache.is_updated[layer] = True
        found = self.decoder(
            inputs_embeds=inputs_embeds,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            past_key_values=cache,
            use_cache=True,
        )
        logits = self.head(found.last_hidden_state)
        presents = []
        for layer in range(self.layers):
            presents += [own.layers[layer].keys, own.layers[layer].values]
            if not self.past:
                presents += [other.layers[layer].keys, other.layers[layer].values]
        return (logits, *presents)


def florence(folder: Path) -> tuple[Any, Tokenizer]:
    tokenizer = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<image>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    layers, heads, width = 2, 2, 16
    text = BartConfig(
        vocab_size=tokenizer.get_vocab_size(), d_model=width, encoder_layers=1, decoder_layers=layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_position_embeddings=48, bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
        forced_bos_token_id=0, forced_eos_token_id=2,
    )  # fmt: skip
    vision = {
        "depths": [1], "embed_dim": [8], "num_heads": [2], "num_groups": [2], "patch_size": [7], "patch_stride": [8],
        "patch_padding": [3], "patch_prenorm": [False], "window_size": 4,
        "projection_dim": width, "max_temporal_embeddings": 4, "max_position_embeddings": 8,
    }  # fmt: skip
    config = Florence2Config(text_config=text.to_dict(), vision_config=vision, image_token_id=4)
    config._attn_implementation = "eager"
    model = lively(Florence2ForConditionalGeneration(config), 6, end=2)
    model.generation_config.update(
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_bos_token_id=0,
        forced_eos_token_id=2,
    )  # fmt: skip
    batch = {0: "batch_size"}
    export(
        FlorenceVision(model), {"pixel_values": pixel_values()}, ["image_features"], folder / "vision_encoder.onnx",
        {"pixel_values": batch, "image_features": batch},
    )  # fmt: skip
    words = {0: "batch_size", 1: "sequence_length"}
    export(
        model.get_input_embeddings(), {"input_ids": torch.tensor([[5, 6, 7], [7, 8, 9]])}, ["inputs_embeds"],
        folder / "embed_tokens.onnx", {"input_ids": words, "inputs_embeds": words},
    )  # fmt: skip
    both = {0: "batch_size", 1: "encoder_sequence_length"}
    export(
        FlorenceEncoder(model),
        {"attention_mask": torch.ones(2, 9, dtype=torch.int64), "inputs_embeds": torch.randn(2, 9, width)},
        ["last_hidden_state"],
        folder / "encoder_model.onnx",
        {"attention_mask": both, "inputs_embeds": both, "last_hidden_state": both},
    )
    state = {
        "encoder_attention_mask": torch.ones(2, 9, dtype=torch.int64),
        "encoder_hidden_states": torch.randn(2, 9, width),
        "inputs_embeds": torch.randn(2, 1, width),
    }
    axes: dict[str, Any] = {
        "encoder_attention_mask": both, "encoder_hidden_states": both, "inputs_embeds": words, "logits": words,
    }  # fmt: skip
    for past in (False, True):
        inputs, outputs = dict(state), ["logits"]
        for layer in range(layers):
            for side in ("decoder", "encoder"):
                for what in ("key", "value"):
                    at = {0: "batch_size", 2: f"{side}_sequence_length"}
                    name = f"{layer}.{side}.{what}"
                    if past:
                        length = 3 if side == "decoder" else 9
                        inputs[f"past_key_values.{name}"] = torch.randn(2, heads, length, width // heads)
                        axes[f"past_key_values.{name}"] = at
                    if side == "decoder" or not past:
                        outputs.append(f"present.{name}")
                        axes[f"present.{name}"] = at
        name = "decoder_with_past_model.onnx" if past else "decoder_model.onnx"
        used = {key: value for key, value in axes.items() if key in inputs or key in outputs}
        export(FlorenceDecoder(model, layers=layers, past=past), inputs, outputs, folder / name, used)
    return model, tokenizer


def settings_for(name: str) -> dict[str, dict[str, Any]]:
    """BLIP's `generate` has its own mind about the end."""
    return {
        kind: settings | ({"eos_token_id": OFTEN[name]} if "eos_token_id" in settings else {})
        for kind, settings in SETTINGS.items()
        if name in OFTEN or "eos_token_id" not in settings
    }


@torch.no_grad()
def says(name: str, model: Any, tokenizer: Tokenizer, prompt: str | None, settings: dict[str, Any]) -> list[Any]:
    """Tokens after the start, and the text, for each picture."""
    answers = []
    for picture in pixel_values():
        given: dict[str, Any] = {"pixel_values": picture[None]}
        if name == "blip" and prompt:
            given["input_ids"] = torch.tensor([tokenizer.encode(prompt).ids])
        if name == "florence":
            ids = [model.config.image_token_id] * FEATURES + tokenizer.encode(prompt).ids
            given["input_ids"] = torch.tensor([ids])
            given["attention_mask"] = torch.ones_like(given["input_ids"])
        tokens = model.generate(**given, do_sample=False, max_new_tokens=12, **settings)[0].tolist()
        answers.append([tokens[1:], tokenizer.decode(tokens, skip_special_tokens=True)])
    return answers


FEATURES = 0


def main() -> None:
    global FEATURES  # noqa: PLW0603 - a script
    expected: dict[str, Any] = {}
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, make in (("vit-gpt2", vit_gpt2), ("blip", blip), ("florence", florence)):
            folder = Path(scratch) / name
            folder.mkdir()
            model, tokenizer = make(folder)
            tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
            if name == "florence":
                with torch.no_grad():
                    FEATURES = model.get_image_features(pixel_values()).shape[1]
            prompts = {"vit-gpt2": [None], "blip": [None, "a man"], "florence": ["what does the image describe ?"]}
            expected[name] = [
                {
                    "prompt": prompt,
                    "options": options,
                    "name": kind,
                    "says": says(name, model, tokenizer, prompt, options),
                }
                for prompt in prompts[name]
                for kind, options in settings_for(name).items()
            ]  # fmt: skip
            for path in sorted(folder.iterdir()):
                if path.suffix == ".onnx" or path.name == "tokenizer.json":
                    entry = tarfile.TarInfo(f"{name}/{path.name}")
                    raw = path.read_bytes()
                    entry.size = len(raw)
                    tar.addfile(entry, io.BytesIO(raw))
                    print(name, path.name, len(raw))
    (HERE / "captioners.tar.xz").write_bytes(lzma.compress(packed.getvalue(), preset=9))
    (HERE / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    for cases in expected.values():
        for case in cases:
            print(case["name"], case["prompt"], [tokens for tokens, _ in case["says"]])


if __name__ == "__main__":
    main()
