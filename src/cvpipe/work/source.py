"""The file behind a job: an upload, or a file on the server that must still be the one the job began with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvpipe.engine import sha256_of
from cvpipe.errors import InputChanged, MediaUnreadable
from cvpipe.sources import path as path_source
from cvpipe.sources.upload import stored_path

if TYPE_CHECKING:
    from cvpipe.work.bench import Bench, Lease


def locate(bench: Bench, doc: dict[str, Any], lease: Lease) -> tuple[Path, str]:
    """File and sha256 of a job's video; the hash of a file on the server is remembered as long as it does not change.

    Raises: InvalidRequest (it no longer lies under a root), MediaUnreadable, LeaseLost, Stopping.
    """
    if doc["path"] is None:
        return stored_path(bench.settings.data_dir, doc["video"]), doc["video"]
    path, key = _resolved(bench, doc["path"])
    video = bench.store.remembered_sha256(key)
    if video is None:
        video = sha256_of(path, check=lease.check)
        bench.store.remember_sha256(key, video)
    return path, video


def same_file(bench: Bench, doc: dict[str, Any], video: str, lease: Lease) -> Path:
    """The file of a job that has been planned for the content `video` (sha256). Raises: as `locate` does."""
    path, found = locate(bench, doc, lease)
    if found != video:
        raise InputChanged("the file has changed since the job began", field="path")
    return path


def _resolved(bench: Bench, name: str) -> tuple[Path, str]:
    """The real file, and what tells whether it has changed."""
    path = path_source.resolve(name, bench.settings.roots)  # again: a link may have been changed since the request
    try:
        stat = path.stat()
    except OSError as error:
        raise MediaUnreadable(f"{path}: {error.strerror}", field="path") from error
    return path, f"{path}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
