"""The file behind a job: an upload, or a file on the server that must still be the one the job began with."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvpipe.engine import sha256_of
from cvpipe.errors import InputChanged, InvalidRequest, MediaUnreadable, NotFound
from cvpipe.log import fields
from cvpipe.sources import path as path_source
from cvpipe.sources.upload import stored_path
from cvpipe.tenants import owned, tenant_of
from cvpipe.video import VideoIndex

if TYPE_CHECKING:
    from cvpipe.work.bench import Bench, Lease

log = logging.getLogger(__name__)


def locate(bench: Bench, doc: dict[str, Any], lease: Lease) -> tuple[Path, str]:
    """File and name of a job's video; the hash of a file on the server is remembered as long as it does not change.

    Raises: InvalidRequest (it no longer lies under a root), MediaUnreadable, LeaseLost, Stopping.
    """
    if doc["path"] is None:
        return stored_path(bench.settings.data_dir, doc["video"]), doc["video"]
    path, key = _resolved(bench, doc)
    sha256 = bench.store.remembered_sha256(key)
    if sha256 is None:
        sha256 = sha256_of(path, check=lease.check)
        bench.store.remember_sha256(key, sha256)
    return path, owned(doc["tenant"], sha256)


def named_file(bench: Bench, doc: dict[str, Any]) -> Path:
    """Where a job's video should lie; nothing is said of its content. Raises: InvalidRequest, MediaUnreadable."""
    if doc["path"] is None:
        return stored_path(bench.settings.data_dir, doc["video"])
    return _resolved(bench, doc)[0]


def same_file(bench: Bench, doc: dict[str, Any], video: str, lease: Lease) -> Path:
    """The file of a job that has been planned for the video `<tenant>/<sha256>`. Raises: as `locate` does."""
    path, found = locate(bench, doc, lease)
    if found != video:
        raise InputChanged("the file has changed since the job began", field="path")
    return path


def video_file(bench: Bench, video: str, lease: Lease) -> Path:
    """The file of a video that no job is about: an upload, or where a job has found it on the server.

    Raises: NotFound where it is gone, or another file by now; LeaseLost, Stopping.
    """
    stored = stored_path(bench.settings.data_dir, video)
    if stored.is_file():
        return stored
    path = bench.store.video_path(video)
    if path is None:
        raise NotFound("the video's file is gone; upload it again", field="video")
    try:
        found, same = locate(bench, {"path": path, "tenant": tenant_of(video)}, lease)
    except (InvalidRequest, MediaUnreadable, OSError) as error:
        raise NotFound(f"the video's file on the server is gone ({error}); upload it", field="video") from error
    if same != video:
        raise NotFound("the file on the server is another one by now; upload the video", field="video")
    return found


def index_of(bench: Bench, video: str, path: Path | Callable[[], Path]) -> VideoIndex:
    """The video's index, made once and kept in the store; made again where an older version of cvpipe has kept it.

    path: of the file, or what finds it. Raises: MediaUnreadable, VideoError, DecoderUnavailable.
    """
    packed = bench.store.video_index(video)
    if packed is not None:
        try:
            return VideoIndex.unpack(packed)
        except InvalidRequest as error:
            log.info("indexing a video again: %s %s", error, fields(video=video))
    file = path if isinstance(path, Path) else path()
    if not file.is_file():
        raise MediaUnreadable("the video's file is gone; upload it again", field="video")
    index = bench.decoders.index(file)
    bench.store.put_video(
        video,
        size=file.stat().st_size,
        state="ready",
        error="",
        facts=json.dumps(index.facts.to_dict()),
        index=index.pack(),
    )
    return index


def _resolved(bench: Bench, doc: dict[str, Any]) -> tuple[Path, str]:
    """The real file, and what tells whether it has changed."""
    # Again: a link may have been changed since the request.
    path = path_source.resolve(doc["path"], bench.settings.roots_of(doc["tenant"]))
    try:
        stat = path.stat()
    except OSError as error:
        raise MediaUnreadable(f"{path}: {error.strerror}", field="path") from error
    return path, f"{doc['tenant']}/{path}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
