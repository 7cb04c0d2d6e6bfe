"""Resumable uploads: files that arrive in several requests, kept until they are whole or have been left alone too long.

DATA_DIR/uploads/TENANT/ID/data          what has arrived; its size is the offset
                           upload.json   length, name, key; there from the beginning
                           video         the id that the whole file was given

The disk is the truth: an API process that is killed, or another one behind the same address, goes on from there.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cvpipe.errors import ChecksumMismatch, Conflict, InvalidRequest, NotFound
from cvpipe.sources.upload import StoredVideo, disk_errors, keep_file
from cvpipe.tenants import id_of, owned, parted

CHECKSUMS: Final = ("sha256", "sha1")
_READ_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as it is now.

    name: `<tenant>/<id>`. length, offset: bytes of the whole file, and of what has arrived. touched_at: seconds since
    the epoch. key: id of the API key that began it. video: `<tenant>/<sha256>`, once it is whole.
    """

    name: str
    length: int
    offset: int
    touched_at: float
    filename: str | None
    key: str | None
    video: str | None


def create(data_dir: Path, tenant: str, *, length: int, filename: str | None, key: str | None) -> Upload:
    """Begin an upload. Raises: InvalidRequest (no bytes), Unavailable."""
    if length < 1:
        raise InvalidRequest("wanted an Upload-Length of at least 1", field="Upload-Length")
    name = owned(tenant, secrets.token_hex(16))
    folder = _folder(data_dir, name)
    with disk_errors():
        folder.mkdir(parents=True)
        (folder / "data").touch(mode=0o640)
        about = {"length": length, "filename": filename, "key": key}
        (folder / "upload.json").write_text(json.dumps(about), encoding="utf-8")
    return find(data_dir, name)


def find(data_dir: Path, name: str) -> Upload:
    """The upload `<tenant>/<id>`. Raises: NotFound: it never was, was ended, or has expired."""
    folder = _folder(data_dir, name)
    try:
        about = json.loads((folder / "upload.json").read_text(encoding="utf-8"))
        video = _video(folder)
        stat = (folder / ("video" if video else "data")).stat()
    except FileNotFoundError:
        raise NotFound(f"there is no upload {id_of(name)!r}; it may have expired") from None
    offset = about["length"] if video else stat.st_size
    return Upload(name, about["length"], offset, stat.st_mtime, about["filename"], about["key"], video)


def remove(data_dir: Path, name: str) -> None:
    """End an upload; what has arrived is removed, a video that it has become stays. Raises: NotFound."""
    find(data_dir, name)
    shutil.rmtree(_folder(data_dir, name), ignore_errors=True)


class Part:
    """A part of an upload that is arriving: `write` its bytes, then `end` it. Blocking; one at a time for each upload.

    A part that breaks off stays as far as it came, unless it was to be compared with a checksum: then it never was.
    """

    def __init__(self, data_dir: Path, upload: Upload, *, offset: int, checksum: str | None) -> None:
        """offset: where it begins, which must be where the upload is. checksum: `sha256 <base64>`, as tus has it.

        Raises: NotFound, Conflict (another offset, or another part is arriving), InvalidRequest, Unavailable.
        """
        self._data_dir, self._upload = data_dir, upload
        self._hash, self._wanted = _read_checksum(checksum)
        path = _folder(data_dir, upload.name) / "data"
        with disk_errors():
            try:
                self._fd: int | None = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Conflict("the upload is whole already") from None
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close()
                raise Conflict(
                    "another part of this upload is arriving; ask for the offset again when it is in"
                ) from None
        self.offset = self._began = os.fstat(self._fd).st_size
        if offset != self.offset:
            self._close()
            raise Conflict(f"the upload is at {self.offset}, not at {offset}; go on from there")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            if self._wanted is not None:
                os.ftruncate(self._fd, self._began)
            self._close()

    def write(self, data: bytes | bytearray) -> None:
        """Append to the file. Raises: InvalidRequest where that is more than was announced, Unavailable."""
        assert self._fd is not None
        if self.offset + len(data) > self._upload.length:
            raise InvalidRequest(f"more than the announced {self._upload.length} bytes arrived", field="Upload-Length")
        if self._hash is not None:
            self._hash.update(data)
        rest = memoryview(data)
        with disk_errors():
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        self.offset += len(data)

    def end(self) -> None:
        """The part is in, and on disk. Raises: ChecksumMismatch, Unavailable."""
        assert self._fd is not None
        if self._hash is not None and self._hash.digest() != self._wanted:
            raise ChecksumMismatch("what arrived has another checksum; send this part again")
        with disk_errors():
            os.fsync(self._fd)
        self._wanted = None

    def keep(self) -> StoredVideo:
        """Make a video of a file that is whole; `note_video` once it is known. Reads all of it, for its sha256.

        Raises: Unavailable.
        """
        assert self._fd is not None
        folder = _folder(self._data_dir, self._upload.name)
        digest = hashlib.sha256()
        with disk_errors():
            os.lseek(self._fd, 0, os.SEEK_SET)
            while block := os.read(self._fd, _READ_BYTES):
                digest.update(block)
            video = owned(parted(self._upload.name)[0], digest.hexdigest())
        return keep_file(folder / "data", self._data_dir, video)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def note_video(data_dir: Path, name: str, video: str) -> None:
    """Note which video an upload has become. Raises: Unavailable."""
    with disk_errors():
        (_folder(data_dir, name) / "video").write_text(video, encoding="utf-8")


def sweep(data_dir: Path, *, keep_seconds: float) -> int:
    """Remove uploads that nobody has added to for `keep_seconds`; returns how many."""
    removed = 0
    for folder in (data_dir / "uploads").glob("*/*"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - newest > keep_seconds:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


def describe(upload: Upload, *, keep_seconds: float) -> dict[str, object]:
    """The upload as the API shows it."""
    shown = {name: value for name, value in asdict(upload).items() if name in ("length", "offset", "filename")}
    video = None if upload.video is None else id_of(upload.video)
    return {"id": id_of(upload.name), **shown, "video": video, "expires_at": upload.touched_at + keep_seconds}


def _read_checksum(text: str | None) -> tuple[hashlib._Hash | None, bytes | None]:
    if text is None:
        return None, None
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in CHECKSUMS:
        raise InvalidRequest(f"wanted one of {', '.join(CHECKSUMS)}, got {algorithm!r}", field="Upload-Checksum")
    try:
        wanted = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("wanted the checksum in base64", field="Upload-Checksum") from None
    # tus asks for SHA-1 of every server; it guards against damage on the way, not against anybody.
    return hashlib.new(algorithm, usedforsecurity=False), wanted


def _video(folder: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return (folder / "video").read_text(encoding="utf-8")
    return None


def _folder(data_dir: Path, name: str) -> Path:
    tenant, upload = parted(name)
    return data_dir / "uploads" / tenant / upload
