"""The models of this folder, each with its card, written into a folder of models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from examples.handmade import captions, graphs

_RGB: Final = {"color": "rgb", "scale": 255, "resize": "stretch"}


@dataclass(frozen=True, slots=True)
class Model:
    """A card without checksums, and what makes its files. files: by what they are for, with their names."""

    card: Mapping[str, Any]
    make: Callable[[], bytes]
    files: Mapping[str, tuple[str, Callable[[], bytes]]] = field(default_factory=dict)


MODELS: Final[Mapping[str, Model]] = {
    "main-colour": Model(
        {
            "task": "classification",
            "family": "classification",
            "input": {"width": 64, "height": 64, **_RGB},
            "labels": [*graphs.COLOURS],
            "options": {"activation": "none"},
            "score_threshold": 0.02,
            "source": "Made by hand: the score of a colour is the share of the pixels in the picture's middle that are "
            "nearest to it in RGB.",
        },
        graphs.main_colour,
    ),
    "ground-depth": Model(
        {
            "task": "depth",
            "family": "depth-map",
            "input": {"width": graphs.GROUND_SIZE[0], "height": graphs.GROUND_SIZE[1], **_RGB},
            "options": {"metric": True},
            "source": f"Made by hand: metres to a level ground, row by row, whatever the picture shows; for a camera "
            f"{graphs.HEIGHT_METRES:g} m up that looks {graphs.TILT:g} degrees down and sees {graphs.FIELD:g} degrees "
            "from top to bottom.",
        },
        graphs.ground,
    ),
    "colour-points": Model(
        {
            "task": "pose",
            "family": "heatmaps",
            "input": {"width": graphs.POINTS_SIZE[0], "height": graphs.POINTS_SIZE[1], **_RGB, "resize": "letterbox"},
            "keypoints": ["reddest", "greenest", "bluest"],
            "options": {"refine": "quarter"},
            "score_threshold": 0.1,
            "source": "Made by hand: the places with most red, green, blue beyond the mean of the two others, which is "
            "their score. No joints: for figures that are marked with colours.",
        },
        graphs.colour_points,
    ),
    "scene-words": Model(
        {
            "task": "captioning",
            "family": "encoder-decoder",
            "input": {"width": captions.SIDE, "height": captions.SIDE, **_RGB, "mean": 127.5, "scale": 127.5},
            "options": {"decoder_start_token_id": 0, "eos_token_id": 0, "max_new_tokens": 8},
            "source": "Made by hand: `a dark scene in blue`; dark, dim or bright, and grey, red, green or blue, by the "
            "mean colour of the picture.",
        },
        captions.encoder,
        {"decoder": ("decoder_model.onnx", captions.decoder), "tokenizer": ("tokenizer.json", captions.tokenizer)},
    ),
}


def write_models(folder: Path) -> Path:
    """Write all of them into a folder of models, over what is there. Returns the folder. Raises: OSError."""
    for name, model in MODELS.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        file = "encoder_model.onnx" if model.files else f"{name}.onnx"
        card: dict[str, Any] = {"name": name, "version": "1", **model.card, "file": file}
        card |= {"licence": "Apache-2.0", "sha256": _write(place / file, model.make())}
        if model.files:
            card["files"] = {
                role: {"file": path, "sha256": _write(place / path, make())}
                for role, (path, make) in model.files.items()
            }
        text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120)
        (place / "model.yaml").write_text(text, encoding="utf-8")
    return folder


def _write(path: Path, raw: bytes) -> str:
    """Write a file; returns its sha256."""
    path.write_bytes(raw)
    return hashlib.sha256(raw).hexdigest()
