"""Add a model: look at its file in a limited process, then keep it with a card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cvpipe.errors import InvalidModel, ModelCrashed
from cvpipe.inference.cards import ModelCard
from cvpipe.modelfiles import folder, process
from cvpipe.modelfiles.found import Found
from cvpipe.modelfiles.wish import Wish


@dataclass(frozen=True, slots=True)
class Added:
    """A model that was added. new: it was not there before. found: what was found out about it."""

    card: ModelCard
    new: bool
    found: Found


def add_model(
    file: Path, wish: Wish, models_path: Path, limits: process.Limits, *, filename: str | None = None
) -> Added:
    """Keep the ONNX file under `models_path`, with its card.

    filename: what it is called, where `file` is named otherwise. Raises: InvalidModel and those below it, TooLarge,
    Unavailable, ExtraMissing.
    """
    name = wish.name or folder.name_of(filename or file.name)
    try:
        if not file.is_file() and file.exists():  # a pipe or device may have no end
            raise InvalidModel(f"{file} is no regular file", field="file")
        if (size := file.stat().st_size) > limits.max_bytes:
            raise process.too_large(size, limits)
        with file.open("rb") as opened:
            before = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InvalidModel(f"can't read {file}: {error.strerror}", field="file") from error
    found, edited = process.examine(file, wish, name, limits)
    raw = file.read_bytes() if edited is None else edited
    if edited is None and hashlib.sha256(raw).hexdigest() != before:
        raise InvalidModel("the file was changed while it was looked at; add it again", field="file")
    try:
        card, new = folder.keep(models_path, {**found.card, "name": name}, raw, made_from=before)
    except ValidationError as error:
        raise ModelCrashed("the process that tried it made a card that can't be") from error
    return Added(card, new, found)
