"""`upload`: the client sends the file; it is kept under its tenant and its sha256.

A file under its final name is complete and on disk: it is written elsewhere, synced, then renamed. Names are hashes
without an extension, so that neither a user's words nor FFmpeg's guesses by name come into play.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cvpipe.errors import InvalidRequest, OutOfSpace, TooLarge, Unavailable
from cvpipe.settings import Settings
from cvpipe.tenants import owned, parted

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_STALE_SECONDS = 24 * 3600


def stored_path(data_dir: Path, video: str) -> Path:
    """Where the uploaded video `<tenant>/<sha256>` is kept."""
    tenant, sha256 = parted(video)
    return data_dir / "videos" / tenant / sha256[:2] / sha256


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A file that has arrived. id: `<tenant>/<sha256>`. size: bytes. new: its bytes were not there before."""

    id: str
    size: int
    path: Path
    new: bool


class Incoming:
    """A file on its way in: `write` its bytes, then `keep` it. Left without `keep`, it leaves nothing behind.

    Blocking: call it from a thread. Memory: what the caller hands over in one `write`.
    """

    def __init__(self, data_dir: Path, tenant: str, *, limit: int) -> None:
        """tenant: whose it is. limit: bytes. Raises: Unavailable where the data directory cannot be written."""
        self._data_dir = data_dir
        self._tenant = tenant
        self._limit = limit
        self._hash = hashlib.sha256()
        self._path = _incoming(data_dir) / secrets.token_hex(16)
        self.size = 0
        with disk_errors():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd: int | None = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def write(self, data: bytes | bytearray) -> None:
        """Append to the file. Raises: TooLarge, Unavailable (the disk is full)."""
        if self._fd is None:
            raise ValueError("the upload is over")
        self.size += len(data)
        if self.size > self._limit:
            raise too_large(self._limit)
        self._hash.update(data)
        rest = memoryview(data)
        with disk_errors():
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def keep(self) -> StoredVideo:
        """Sync the file and give it its final name. Raises: InvalidRequest (nothing was sent), Unavailable."""
        if self._fd is None:
            raise ValueError("the upload is over")
        if not self.size:
            raise InvalidRequest("the body is empty; send the video's bytes as they are")
        video = owned(self._tenant, self._hash.hexdigest())
        with disk_errors():
            os.fsync(self._fd)
        stored = keep_file(self._path, self._data_dir, video)
        self._close()
        return stored

    def discard(self) -> None:
        """Remove what was written, unless it was kept."""
        if self._fd is not None:
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def check_free(settings: Settings, size: int = 0) -> None:
    """Raises: OutOfSpace where the disk would have less than CVPIPE_MIN_FREE_BYTES left behind `size` more bytes."""
    folder = settings.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free - size < settings.min_free_bytes:
        raise OutOfSpace(
            f"the service's disk has {free} bytes left and keeps {settings.min_free_bytes} free (CVPIPE_MIN_FREE_BYTES)"
        )


def keep_file(path: Path, data_dir: Path, video: str) -> StoredVideo:
    """Give a file that is synced its final name, as the video `<tenant>/<sha256>`. Raises: Unavailable."""
    final = stored_path(data_dir, video)
    with disk_errors():
        size = path.stat().st_size
        final.parent.mkdir(parents=True, exist_ok=True)
        new = not final.exists()
        # The same bytes again replace the file: harmless for readers, who keep the old inode, and it heals a file that
        # was damaged on the disk.
        path.replace(final)
        _sync_folder(final.parent)
        if new:
            _sync_folder(final.parent.parent)
            _sync_folder(final.parent.parent.parent)
    return StoredVideo(id=video, size=size, path=final, new=new)


def too_large(limit: int) -> TooLarge:
    """The error for an upload over `limit` bytes."""
    what = f"the video is over the limit of {limit} bytes"
    return TooLarge(f"{what}; the operator sets it with CVPIPE_MAX_UPLOAD_BYTES, or in the quotas of the key")


def sweep(data_dir: Path, *, older_than_seconds: float = _STALE_SECONDS) -> int:
    """Remove what uploads left behind whose process was killed; returns how many.

    Younger files stay: another process with the same data directory may be writing them.
    """
    removed = 0
    with contextlib.suppress(FileNotFoundError):
        for path in _incoming(data_dir).iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    path.unlink()
                    removed += 1
    return removed


def _incoming(data_dir: Path) -> Path:
    return data_dir / "videos" / ".incoming"


def _sync_folder(folder: Path) -> None:
    """A rename is on disk only once its folder is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """The operating system's errors as ours."""
    try:
        yield
    except OSError as error:
        what = "the disk is full" if error.errno in _NO_SPACE else (error.strerror or "input/output error").lower()
        raise Unavailable(f"the video cannot be stored: {what}") from error
