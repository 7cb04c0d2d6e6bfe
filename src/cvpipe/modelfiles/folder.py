"""The folder of models: versions are put there whole, or not at all, and taken away whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from cvpipe.errors import Conflict, InvalidModel, NotFound, Unavailable
from cvpipe.inference.cards import CARD_FILE, SHIPPED, ModelCard, find_card, load_cards, nearest
from cvpipe.inference.labels import KEYPOINT_SHORTHANDS, SHORTHANDS, SKELETON_SHORTHANDS

INCOMING: Final = ".incoming"
"""Beside the models; too deep inside it to be taken for one lies what is not whole yet."""

_TRIES: Final = 20
_DIGITS: Final = 10


def name_of(file: str) -> str:
    """What a model is called after its file: `YOLOX Nano.onnx` is `yolox-nano`."""
    stem = re.sub(r"\.onnx$", "", Path(file).name, flags=re.IGNORECASE).lower()
    name = re.sub(r"[^a-z0-9.]+", "-", stem).strip("-.")[:64].strip("-.")
    if not name:
        raise InvalidModel(f"can't make a name from {file!r}; give one", field="name")
    return name


def versions_of(models_path: Path, name: str) -> list[ModelCard]:
    """The cards of all versions of a model, oldest first."""
    return [card for card in load_cards(models_path).values() if card.name == name]


def keep(models_path: Path, content: dict[str, Any], raw: bytes, *, made_from: str) -> tuple[ModelCard, bool]:
    """Write a card and its file as the next version; returns the card, and whether it is new.

    content: of the card, without version, file and sha256. made_from: sha256 of the file that was added. The same
    file with the same content is the version that is there already. Raises: Unavailable where it can't be stored.
    """
    sha256 = hashlib.sha256(raw).hexdigest()
    name = str(content["name"])
    whole = {**content, "file": f"{name}.onnx", "sha256": sha256, "made_from": "" if made_from == sha256 else made_from}
    for _ in range(_TRIES):
        known = versions_of(models_path, name)
        wanted = ModelCard.model_validate({**whole, "version": "1"})
        for card in known:
            if _content(card) == _content(wanted) and card.path.is_file():
                return card, False
        there = {card.version for card in known} | {path.name for path in models_path.glob(f"{name}/*")}
        numbers = [int(version) for version in there if version.isdecimal() and len(version) < _DIGITS]
        card = ModelCard.model_validate({**whole, "version": str(max(numbers, default=0) + 1)})
        if _put(models_path, card, raw):
            return find_card(models_path, card.ref), True
    raise Conflict(f"the model {name!r} is being changed by others; try again")


def keep_as(models_path: Path, card: ModelCard, raw: bytes) -> tuple[ModelCard, bool]:
    """Write a card under its own version, or, where that is another model, under `VERSION-2` and so on.

    Returns the card, and whether it is new. Raises: Unavailable where it can't be stored.
    """
    for number in range(1, _TRIES):
        version = card.version if number == 1 else f"{card.version}-{number}"
        wanted = card.model_copy(update={"version": version})
        for known in versions_of(models_path, card.name):
            if known.version == version and _content(known) == _content(wanted):
                return known, False
        if (models_path / card.name / version).exists():
            continue
        if _put(models_path, wanted, raw):
            return find_card(models_path, wanted.ref), True
    raise Conflict(f"there are many versions {card.version} of the model {card.name!r}; remove some")


def remove(models_path: Path, ref: str) -> list[str]:
    """Remove `name@version`, or all versions of `name`; returns what was removed.

    Raises: NotFound, Unavailable; Conflict where it is one that comes with cvpipe.
    """
    cards = named(models_path, ref)
    if any(card.path.is_relative_to(SHIPPED) for card in cards):
        raise Conflict(
            f"{ref} comes with cvpipe and can't be removed; a model of your own of this name takes its place"
        )
    for card in cards:
        folder = card.path.parent
        aside = models_path / INCOMING / secrets.token_hex(8) / card.name
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            if folder == models_path / card.name:  # an old layout: the card lies beside folders of versions
                aside.mkdir()
                for file in (folder / CARD_FILE, card.path):
                    file.replace(aside / file.name)
            else:
                folder.replace(aside)
            shutil.rmtree(aside.parent)
            with contextlib.suppress(OSError):  # other versions are there
                (models_path / card.name).rmdir()
        except OSError as error:
            raise Unavailable(f"{card.ref} can't be removed: {error.strerror or error}") from error
    return [card.ref for card in cards]


def check_keepable(models_path: Path, card: ModelCard) -> None:
    """Something may be written beside a card. Raises: Conflict where it comes with cvpipe; Unavailable."""
    if card.path.is_relative_to(SHIPPED):
        raise Conflict(
            f"{card.ref} comes with cvpipe, and nothing is kept beside it: copy {SHIPPED / card.name} to "
            f"{models_path}, and the model is your own",
            field="model",
        )
    if not os.access(card.path.parent, os.W_OK) or not os.access(models_path, os.W_OK):
        raise Unavailable(f"can't write beside {card.path}", field="model")


def named(models_path: Path, ref: str) -> list[ModelCard]:
    """The cards that `name@version` or `name` (all its versions) means.

    Raises: NotFound; InvalidModel where the only ones can't be read.
    """
    name, _, version = ref.partition("@")
    cards = load_cards(models_path)
    found = [card for card in cards.values() if card.name == name and version in ("", card.version)]
    if not found:
        with contextlib.suppress(NotFound):
            find_card(models_path, ref)  # tells what is wrong with it
        known = sorted(cards) if version else sorted({card.name for card in cards.values()})
        raise NotFound(f"there is no model {ref!r}{nearest(ref, known)}", field="model")
    return found


def card_text(card: ModelCard) -> str:
    """The card as YAML, without what is as usual, with known lists by their names."""
    usual = ModelCard.model_fields
    content = card.model_dump(mode="json")
    shown: dict[str, Any] = {}
    for key, value in content.items():
        field = usual[key]
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        if key in ("name", "version", "task", "score_threshold", "iou_threshold") or getattr(card, key) != default:
            shown[key] = value
    for key, known in (("labels", SHORTHANDS), ("keypoints", KEYPOINT_SHORTHANDS), ("skeleton", SKELETON_SHORTHANDS)):
        for word, values in known.items():
            if key in shown and tuple(getattr(card, key)) == values:
                shown[key] = word
    spec = shown["input"]
    for key in ("mean", "scale"):
        spec[key] = spec[key][0] if len(set(spec[key])) == 1 else spec[key]
    if not spec["extra"]:
        del spec["extra"]
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def _content(card: ModelCard) -> dict[str, Any]:
    return card.model_dump(exclude={"version", "file", "profile"})


def _put(models_path: Path, card: ModelCard, raw: bytes) -> bool:
    """Store a version; False where somebody else was faster. Raises: Unavailable where it can't be stored."""
    try:
        _rename_into(models_path, card, raw)
    except FileExistsError:
        return False
    except OSError as error:
        raise Unavailable(f"the model can't be stored: {error.strerror or error}") from error
    return True


def _rename_into(models_path: Path, card: ModelCard, raw: bytes) -> None:
    """Raises: FileExistsError where the version is there; OSError."""
    target = models_path / card.name / card.version
    aside = models_path / INCOMING / secrets.token_hex(8) / card.name
    aside.mkdir(parents=True)
    try:
        _write(aside / card.file, raw)
        _write(aside / CARD_FILE, card_text(card).encode())
        _sync((aside,))
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            raise FileExistsError(target)
        try:
            aside.rename(target)
        except OSError as error:  # a folder with files in it
            raise FileExistsError(target) from error
        _sync((target.parent, models_path))
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folders: Sequence[Path]) -> None:
    """A rename is on disk only once its folder is."""
    for folder in folders:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
