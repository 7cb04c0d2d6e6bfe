"""Model cards: what cvpipe must know of an ONNX file to run it and to read its outputs.

A card is `model.yaml` beside its ONNX file, in `MODELS/NAME/model.yaml` or `MODELS/NAME/VERSION/model.yaml`:

    name: yolox-nano
    task: detection
    family: yolox
    file: yolox_nano.onnx
    sha256: c789161e...
    input: {width: 416, height: 416, color: bgr}
    labels: coco
    score_threshold: 0.4

This module needs no ONNX Runtime: the API lists models too.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cvpipe.documents import mistake
from cvpipe.errors import InvalidModel, NotFound
from cvpipe.filecache import FileCache
from cvpipe.inference.labels import KEYPOINT_SHORTHANDS, SHORTHANDS, SKELETON_SHORTHANDS
from cvpipe.inference.profiles import PROFILE_FILE, Profile, read_profile
from cvpipe.log import fields

logger = logging.getLogger(__name__)

CARD_FILE = "model.yaml"
SHIPPED = Path(__file__).parents[1] / "shipped_models"
"""Models that come with cvpipe. A model of the same name in the user's own folder takes a shipped one's place."""
_NAME = r"^[a-z0-9][a-z0-9._-]*$"

Task = Literal[
    "detection",
    "faces",
    "pose",
    "instance-segmentation",
    "semantic-segmentation",
    "human-parsing",
    "classification",
    "embedding",
    "text",
    "captioning",
    "depth",
]
Extra = Literal["size_wh", "size_hw", "scale_hw", "one"]
Triple = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]


_SHORTHANDS: Mapping[str, Mapping[str, Any]] = {
    "labels": SHORTHANDS,
    "keypoints": KEYPOINT_SHORTHANDS,
    "skeleton": SKELETON_SHORTHANDS,
}
_LABELLED = frozenset(("detection", "faces", "instance-segmentation", "semantic-segmentation", "human-parsing"))


OptionsT = TypeVar("OptionsT", bound=BaseModel)


class InputSpec(BaseModel):
    """The picture that a network takes: its size, and how a frame is made into it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(ge=8, le=8192, description="Pixels.")
    height: int = Field(ge=8, le=8192, description="Pixels.")
    layout: Literal["nchw", "nhwc"] = Field(default="nchw", description="Order of the tensor's dimensions.")
    color: Literal["bgr", "rgb"] = Field(default="rgb", description="Order of the three channels.")
    mean: Triple = Field(default=(0.0, 0.0, 0.0), description="Taken from 0..255 pixels, by channel, before `scale`.")
    scale: tuple[Positive, Positive, Positive] = Field(
        default=(1.0, 1.0, 1.0), description="Divisor, by channel: tensor = (pixel - mean) / scale."
    )
    resize: Literal["letterbox", "stretch"] = Field(
        default="letterbox", description="letterbox: keep the aspect ratio and pad; stretch: fill the canvas."
    )
    anchor: Literal["top-left", "centre"] = Field(default="centre", description="Where a letterbox puts the frame.")
    pad: int = Field(default=114, ge=0, le=255, description="Grey level of the padding.")
    extra: dict[str, Extra] = Field(
        default_factory=dict,
        description="Further inputs of the network, and what each is fed for a picture: size_wh, size_hw: the canvas "
        "in pixels; scale_hw: (1, 1), the canvas is not scaled again; one: ones.",
    )

    @field_validator("mean", "scale", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        """One number stands for three equal ones."""
        return (value,) * 3 if isinstance(value, int | float) else value


class FileSpec(BaseModel):
    """A further file beside the card."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Its name.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="In lower case hexadecimal.")


class ModelCard(BaseModel):
    """An ONNX file and what cvpipe must know of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(max_length=64, pattern=_NAME, description="Equal to the name of the card's folder.")
    version: str = Field(default="1", max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    task: Task = Field(default="detection", description="What the network is for.")
    family: str = Field(max_length=64, pattern=_NAME, description="The code that reads the outputs: `cvpipe.models`.")
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.onnx$", description="The ONNX file, beside the card.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the ONNX file, in lower case hexadecimal.")
    files: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], FileSpec] = Field(
        default_factory=dict, max_length=16, description="Further files, by what they are for; see docs/models.md."
    )
    made_from: str = Field(
        default="",
        pattern=r"^([0-9a-f]{64})?$",
        description="sha256 of the file that was added, where the one here was made from it.",
    )
    input: InputSpec
    quantised_from: str = Field(
        default="",
        max_length=32,
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$",
        description="The version that `cvpipe models quantize` made this one from. Such a version is taken for the "
        "newest only where it has a profile.",
    )
    precision: Literal["fp32", "fp16", "int8"] = Field(
        default="fp32", description="What a GPU computes with; a CPU computes as the file says."
    )
    rectangular: bool = Field(
        default=True,
        description="Let the canvas of a letterbox follow the video's shape, in steps of 32 pixels, where the network "
        "turns out to allow it; false: always width x height.",
    )
    labels: tuple[str, ...] = Field(
        default=(),
        validate_default=True,
        description="Names of the classes in order; or `coco`, or `voc`. Not all tasks have classes.",
    )
    keypoints: tuple[str, ...] = Field(
        default=(), description="Names of the keypoints in order; or `coco`, or `faces`."
    )
    skeleton: tuple[tuple[int, int], ...] = Field(
        default=(), description="Pairs of keypoints, from 0, that are drawn with a line between them."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="What the family must know besides; see its page in docs/models.md."
    )
    score_threshold: float = Field(default=0.25, ge=0, le=1, description="Objects below it are dropped.")
    iou_threshold: float = Field(default=0.45, ge=0, le=1, description="Of two boxes that overlap more, one goes.")
    licence: str = Field(default="", description="Of the trained weights; an SPDX identifier where there is one.")
    source: str = Field(default="", description="Where the weights came from.")
    profile: Profile | None = Field(
        default=None, description="How it is run, as `cvpipe models tune` found out; from `profile.yaml`."
    )

    _folder: Path | None = PrivateAttr(default=None)
    _read_by_name: Callable[[str], bytes] | None = PrivateAttr(default=None)

    @field_validator("version", mode="before")
    @classmethod
    def _version_text(cls, value: Any) -> Any:
        if isinstance(value, float):  # YAML reads 1.10 as 1.1
            raise ValueError('put quotes around it: version: "1.10"')
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("labels", "keypoints", "skeleton", mode="before")
    @classmethod
    def _by_name(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        known = _SHORTHANDS[str(info.field_name)]
        if value not in known:
            raise ValueError(f"wanted a list or one of {', '.join(sorted(known))}, got {value!r}")
        return known[value]

    @field_validator("labels")
    @classmethod
    def _needed(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        task = info.data.get("task")
        if not value and task in _LABELLED:
            raise ValueError(f"a model for {task} needs the names of its classes")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if any(not 0 <= place < len(self.keypoints) for pair in self.skeleton for place in pair):
            raise ValueError(f"the skeleton joins keypoints that are not among the {len(self.keypoints)}")
        return self

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def path(self) -> Path:
        """The ONNX file. Raises: InvalidModel where the card was not read from a folder."""
        if self._folder is None:
            raise InvalidModel(f"the card {self.ref} was not read from a folder: its file {self.file} is nowhere")
        return self._folder / self.file

    @property
    def digest(self) -> str:
        """What jobs record of the model: `sha256`; of several files, that of the lines `role sha256`, sorted."""
        if not self.files:
            return self.sha256
        lines = sorted([f"file {self.sha256}", *(f"{role} {spec.sha256}" for role, spec in self.files.items())])
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def read(self) -> bytes:
        """The ONNX file's bytes, checked against `sha256`. Raises: InvalidModel."""
        return self._read(self.path, self.sha256, field="file")

    def read_file(self, role: str) -> bytes:
        """The bytes of one of `files`, checked against its sha256. Raises: InvalidModel."""
        if role not in self.files:
            raise InvalidModel(f"the card must name a file `{role}`", field=f"files.{role}")
        spec = self.files[role]
        return self._read(self.path.parent / spec.file, spec.sha256, field=f"files.{role}")

    def _read(self, path: Path, sha256: str, *, field: str) -> bytes:
        try:
            raw = path.read_bytes() if self._read_by_name is None else self._read_by_name(path.name)
        except OSError as error:
            raise InvalidModel(f"{self.ref}: can't read {path}: {error.strerror}", field=field) from error
        actual = hashlib.sha256(raw).hexdigest()
        if actual != sha256:
            raise InvalidModel(
                f"{self.ref}: {path.name} is not the file that its card describes: the card says sha256 {sha256}, "
                f"the file has {actual}. Put the right file there, or correct the card.",
                field="sha256" if field == "file" else f"{field}.sha256",
            )
        return raw

    @classmethod
    def handed(cls, content: Mapping[str, Any], read: Callable[[str], bytes]) -> Self:
        """A card whose files are not in a folder. read: the bytes of a file, by its name."""
        card = cls.model_validate(content)
        card._folder, card._read_by_name = Path(), read
        return card

    @classmethod
    def load(cls, path: Path) -> Self:
        """The card in the file `path`. Raises: InvalidModel with the path of the wrong value in `field`."""
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InvalidModel(f"can't read the model card {path}: {mistake(error)}") from error
        if not isinstance(data, dict):
            raise InvalidModel(f"the model card {path} must be a mapping of names to values")
        try:
            card = cls.model_validate(data)
        except ValidationError as error:
            raise _invalid(path, error) from error
        card._folder = path.parent
        return card


_cards: FileCache[ModelCard] = FileCache()


def load_cards(models_path: Path) -> dict[str, ModelCard]:
    """Every card under `models_path` and every shipped one, by `name@version`, sorted.

    A wrong card is left out with a warning.
    """
    cards: dict[str, ModelCard] = {}
    for path in _card_files(models_path, "*"):
        try:
            card = _load_at(models_path, path)
        except InvalidModel as error:
            logger.warning("left out a model card %s", fields(path=path, error=error))
            continue
        cards[card.ref] = card
    return dict(sorted(cards.items(), key=lambda item: (item[1].name, _version_key(item[1].version))))


def find_card(models_path: Path, ref: str) -> ModelCard:
    """The card `name@version`, or the newest version of `name`, or the one of it that a profile has chosen.

    Raises: NotFound with the nearest names; InvalidModel where the card itself is wrong.
    """
    name, _, version = ref.partition("@")
    paths = _card_files(models_path, name) if re.match(_NAME, name) else iter(())
    cards: list[ModelCard] = []
    for path in paths:
        try:
            cards.append(_load_at(models_path, path))
        except InvalidModel:
            if version and _folders(models_path, path)[1:] not in ((), (version,)):
                continue  # of another version: those who work with this one go on
            raise
    if not cards:
        known = sorted({_folders(models_path, path)[0] for path in _card_files(models_path, "*")})
        if not known:
            raise NotFound(
                f"there is no model {name!r}, and no other in CVPIPE_MODELS_DIR; `cvpipe models add` adds one",
                field="model",
            )
        raise NotFound(f"there is no model {name!r}{nearest(name, known)}", field="model")
    cards.sort(key=lambda card: _version_key(card.version))
    if not version:
        newest = ([card for card in cards if not card.quantised_from] or cards)[-1]
        chosen = [card for card in cards if card.quantised_from == newest.version and card.profile is not None]
        return chosen[-1] if chosen else newest
    for card in cards:
        if card.version == version:
            return card
    versions = ", ".join(card.version for card in cards)
    raise NotFound(f"the model {name!r} has no version {version!r}; there is {versions}", field="model")


def read_options(card: ModelCard, kind: type[OptionsT]) -> OptionsT:
    """The card's `options`, as `kind` describes them. Raises: InvalidModel with the wrong one's path in `field`."""
    try:
        return kind.model_validate(dict(card.options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(("options", *(str(part) for part in first["loc"])))
        raise InvalidModel(f"{where}: {first['msg']}", field=where) from error


_LISTED = 20


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or what there is."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not names:
        return "; there is none"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"; there is {', '.join(names[:_LISTED])}{more}"


def _card_files(models_path: Path, name: str) -> Iterator[Path]:
    taken: set[str] = set()
    for root in (models_path, SHIPPED):
        found = [p for pattern in (f"{name}/{CARD_FILE}", f"{name}/*/{CARD_FILE}") for p in sorted(root.glob(pattern))]
        yield from (path for path in found if _folders(root, path)[0] not in taken)
        taken |= {_folders(root, path)[0] for path in found}


def _folders(root: Path, path: Path) -> tuple[str, ...]:
    """The folders from `root` down to the card at `path`: its name, and maybe its version."""
    return path.relative_to(SHIPPED if path.is_relative_to(SHIPPED) else root).parts[:-1]


def _load_at(models_path: Path, path: Path) -> ModelCard:
    """The card at `path`, whose folders must say the same as the card."""
    return _cards.get(path, path.with_name(PROFILE_FILE), read=lambda: _read_at(models_path, path))


def _read_at(models_path: Path, path: Path) -> ModelCard:
    card = ModelCard.load(path)
    name, *version = _folders(models_path, path)
    if card.name != name or version not in ([], [card.version]):
        raise InvalidModel(
            f"{path} calls itself {card.ref}; its folder must be {card.name} or {card.name}/{card.version}"
        )
    profile = read_profile(path.parent)
    if profile is not None and profile.sha256 != card.sha256:
        logger.warning("a profile is of another file and left out %s", fields(model=card.ref))
        profile = None
    return card.model_copy(update={"profile": profile})


def _version_key(version: str) -> list[tuple[int, int, str]]:
    """Orders 2 before 10, and 1.9 before 1.10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|[^\d.]+", version)]


def _invalid(path: Path, error: ValidationError) -> InvalidModel:
    wrong = error.errors(include_url=False)
    # A key that is misspelt comes first: it is why another is missing.
    first = next((one for one in wrong if one["type"] == "extra_forbidden"), wrong[0])
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        owner = InputSpec if first["loc"][0] == "input" else ModelCard
        message = f"there is no such key{nearest(str(first['loc'][-1]), owner.model_fields)}"
    return InvalidModel(f"{message} (in the model card {path})", field=where)
