"""What was measured of models on this machine: kept in a file of the data folder, so that it is measured once."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

_FILE: Final = "engine.json"
_RUNTIMES: Final = ("onnxruntime", "onnxruntime-gpu", "cvpipe")
_LAYOUT: Final = 1  # raised when trials are made otherwise


class Remembered:
    """Plain JSON values by model and way of running it. Without a folder it lasts as long as the process."""

    def __init__(self, data_path: Path | None) -> None:
        self._path = None if data_path is None else data_path / _FILE
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = _read(self._path)

    def get(self, sha256: str, way: str) -> dict[str, Any]:
        """What is known of a model's file, run in this way; empty where nothing is."""
        with self._lock:
            return dict(self._known.get(f"{sha256} {way}", {}))

    def put(self, sha256: str, way: str, values: Mapping[str, Any]) -> None:
        """Add to what is known. A file that can't be written is told in the log: it is measured again then."""
        with self._lock:
            key = f"{sha256} {way}"
            self._known[key] = {**self._known.get(key, {}), **values}
            if self._path is None:
                return
            # Another process may have written meanwhile; what it knows of other models stays.
            self._known = {**_read(self._path), key: self._known[key]}
            part = self._path.with_suffix(f".{os.getpid()}.part")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(self._known, indent=1, sort_keys=True), encoding="utf-8")
                part.replace(self._path)
            except OSError as error:
                logger.warning("can't keep what was measured of a model: %s", error)
                with suppress(OSError):
                    part.unlink()


def way_of(device: str, *, cores: int, threads: int) -> str:
    """The name of a way to run: what was measured holds for this device, machine and number of askers only."""
    return f"{device} {platform.machine()} cores={cores} threads={threads}" if device == "cpu" else device


def trial_of(device: str, card: str) -> str:
    """The name of a trial: what it has shown holds for this card (as JSON), this device and these versions only."""
    versions = [version for name in _RUNTIMES for version in _version(name)]
    digest = hashlib.sha256(card.encode()).hexdigest()[:16]
    return f"trial {device.partition(':')[0]} {' '.join(versions)} {_LAYOUT} {digest}"


def _version(package: str) -> list[str]:
    try:
        return [importlib.metadata.version(package)]
    except importlib.metadata.PackageNotFoundError:
        return []


def known_of(data_path: Path, sha256: str) -> dict[str, dict[str, Any]]:
    """All that was measured of a model's file, by way of running it: for `cvpipe models show`.

    For each way maybe `bytes` (memory that it takes), `threads` (of one call), `calls` (at once) and `rates` (pictures
    a second by `THREADSxCALLS`).
    """
    named = ((key.partition(" "), values) for key, values in _read(data_path / _FILE).items())
    found = {way: values for (model, _, way), values in named if model == sha256 and not way.startswith("trial ")}
    return dict(sorted(found.items()))


def _read(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None:
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
