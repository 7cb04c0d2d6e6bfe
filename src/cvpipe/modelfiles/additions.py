"""Models on their way in over HTTP: the API writes file and order, a worker looks at them and leaves what came of it.

DATA_DIR/additions/TENANT/ID/model.onnx    as it was sent; gone once it was looked at
                             order.json    what the client said of it
                             result.json   the card, or the error; there once the worker is done
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cvpipe.errors import NotFound, TooLarge, Unavailable
from cvpipe.job import JobError
from cvpipe.modelfiles.add import Added
from cvpipe.modelfiles.wish import Wish
from cvpipe.tenants import owned

_KEEP_SECONDS: Final = 24 * 3600.0


def task_of(addition: str) -> str:
    """The task that looks at it."""
    return f"model:{addition}"


class Incoming:
    """A file on its way in: `write` its bytes, then `keep` it; `discard` what was not kept. Blocking."""

    def __init__(self, data_dir: Path, tenant: str, *, limit: int) -> None:
        """tenant: who is told of it. limit: bytes. Raises: Unavailable where the data directory can't be written."""
        self.id = owned(tenant, secrets.token_hex(16))
        self._folder = _folder(data_dir, self.id)
        self._limit = limit
        self._size = 0
        self._kept = False
        with _disk_errors():
            self._folder.mkdir(parents=True)
            self._file = (self._folder / "model.onnx").open("wb")

    def write(self, data: bytes | bytearray) -> None:
        """Append to the file. Raises: TooLarge, Unavailable."""
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit)
        with _disk_errors():
            self._file.write(data)

    def keep(self, wish: Wish, filename: str) -> str:
        """Sync the file, with its order; returns the addition's name, `<tenant>/<id>`. Raises: Unavailable."""
        with _disk_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            order = {"wish": wish.model_dump(mode="json"), "filename": filename}
            (self._folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
        self._kept = True
        self._file.close()
        return self.id

    def discard(self) -> None:
        """Remove what was written, unless it was kept."""
        if not self._kept:
            self._file.close()
            shutil.rmtree(self._folder, ignore_errors=True)


def order_of(data_dir: Path, addition: str) -> tuple[Path, Wish, str]:
    """The file, what the client said of it, and its name. Raises: NotFound where there is no such order."""
    folder = _folder(data_dir, addition)
    try:
        order = json.loads((folder / "order.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound("there is no such addition; it is kept for a day") from None
    return folder / "model.onnx", Wish.model_validate(order["wish"]), str(order["filename"])


def put_result(data_dir: Path, addition: str, came: Added | JobError) -> None:
    """Leave what came of it, and remove the file that was sent. Raises: Unavailable."""
    if isinstance(came, Added):
        result: dict[str, Any] = {"added": document(came)}
    else:
        result = {"error": came.model_dump(mode="json")}
    folder = _folder(data_dir, addition)
    with _disk_errors():
        part = folder / f".result.{secrets.token_hex(4)}"
        part.write_text(json.dumps(result), encoding="utf-8")
        part.replace(folder / "result.json")
        (folder / "model.onnx").unlink(missing_ok=True)


def result_of(data_dir: Path, addition: str) -> dict[str, Any] | None:
    """`added` (see `document`), or `error`; None while a worker is at it. Raises: NotFound."""
    folder = _folder(data_dir, addition)
    try:
        return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        if not (folder / "order.json").is_file():
            raise NotFound("there is no such addition; it is kept for a day") from None
        return None


def document(added: Added) -> dict[str, Any]:
    """What was added, as JSON."""
    found = added.found
    return {
        "model": added.card.model_dump(mode="json"),
        "new": added.new,
        "why": found.why,
        "others": found.others,
        "notes": found.notes,
        "outputs": found.shapes,
        "milliseconds": found.milliseconds,
    }


def sweep(data_dir: Path, *, older_than_seconds: float = _KEEP_SECONDS) -> int:
    """Remove what is older; returns how many."""
    removed = 0
    with contextlib.suppress(FileNotFoundError):
        for folder in (data_dir / "additions").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > older_than_seconds:
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
    return removed


def too_large(limit: int) -> TooLarge:
    """The error for a file over `limit` bytes."""
    return TooLarge(f"the model is over the limit of {limit} bytes; the operator sets it with CVPIPE_MAX_MODEL_BYTES")


def _folder(data_dir: Path, addition: str) -> Path:
    return data_dir / "additions" / addition


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the model can't be stored: {(error.strerror or 'input/output error').lower()}") from error
