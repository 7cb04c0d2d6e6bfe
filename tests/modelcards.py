"""Folders of models for tests."""

from __future__ import annotations

import shutil
from pathlib import Path

CARDS = Path(__file__).parents[1] / "examples" / "models"


def write_yolox_card(models_dir: Path, assets: Path) -> Path:
    """Put the example card `yolox-nano` and its network into `models_dir`, as version 1; returns the card's path."""
    folder = models_dir / "yolox-nano" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    network = folder / "yolox_nano.onnx"
    if not network.exists():
        network.symlink_to((assets / "models" / network.name).resolve())
    return Path(shutil.copy(CARDS / "yolox-nano" / "model.yaml", folder / "model.yaml"))
