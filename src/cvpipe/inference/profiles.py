"""Profiles: how a model is to be run, found out by `cvpipe models tune` and kept as `profile.yaml` beside its card."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cvpipe.errors import InvalidModel, Unavailable

PROFILE_FILE: Final = "profile.yaml"


class Measured(BaseModel):
    """What a profile did on the clip that it was chosen with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: str = Field(default="", description="Name of the file.")
    frames: int = Field(ge=0, description="How many of its frames were looked at.")
    frames_per_second: float = Field(ge=0)
    memory_bytes: int = Field(ge=0, description="The most that the process held, and what it took of a GPU's.")
    agreement: float = Field(ge=0, le=1, description="With the fp32 network at full size; 1 is the same.")
    reference_frames_per_second: float = Field(default=0, ge=0, description="Of the fp32 network at full size.")


class Profile(BaseModel):
    """How a model is run.

    Size and precision hold on every machine, so that results don't depend on it; the rest where `way` says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the ONNX file that it was measured with.")
    width: int = Field(ge=8, le=8192, description="Of the canvas, in pixels.")
    height: int = Field(ge=8, le=8192, description="Of the canvas, in pixels.")
    rectangular: bool = Field(default=True, description="Let the canvas of a letterbox follow the video's shape.")
    precision: Literal["fp32", "fp16", "int8"] = Field(default="fp32", description="What it computes with.")
    way: str = Field(default="", max_length=200, description="The device and machine that what follows holds for.")
    batch: int = Field(default=1, ge=1, le=1024, description="Pictures in a call.")
    threads: int = Field(default=1, ge=1, le=1024, description="Of a call, on a CPU.")
    calls: int = Field(default=0, ge=0, le=1024, description="At once; 0: as many as is usual for the device.")
    measured: Measured | None = Field(default=None, description="What it did when it was chosen.")


def read_profile(folder: Path) -> Profile | None:
    """The profile in a card's folder; None where there is none. Raises: InvalidModel."""
    path = folder / PROFILE_FILE
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidModel(f"can't read the profile {path}: {error}", field="profile") from error
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(("profile", *(str(part) for part in first["loc"])))
        raise InvalidModel(
            f"{where}: {first['msg']} (in {path}); tune the model again, or remove the file", field=where
        ) from error


def write_profile(folder: Path, profile: Profile) -> Path:
    """Keep it in a card's folder, whole or not at all. Raises: Unavailable."""
    path = folder / PROFILE_FILE
    part = path.with_suffix(f".{os.getpid()}.part")
    text = "# How this model is run: made by `cvpipe models tune`. Remove the file, and the card holds alone.\n"
    text += yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False)
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise Unavailable(f"the profile can't be kept: {error.strerror or error} ({path})") from error
    return path


def remove_profile(folder: Path) -> None:
    """Let the card hold alone. Raises: Unavailable."""
    try:
        (folder / PROFILE_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(f"the profile can't be removed: {error.strerror or error} ({folder})") from error
