"""Verbs of what a tenant keeps beside jobs: videos and pictures of them, cameras, models."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from cvpipe.broker import Bell
from cvpipe.calibration import calibrate
from cvpipe.camera import CameraSpec
from cvpipe.errors import Conflict, InvalidRequest, NotFound, OutOfSpace
from cvpipe.job import Job, JobError, JobState
from cvpipe.keys import Identity
from cvpipe.media import Excerpt, find, media_path, media_task
from cvpipe.modelfiles import additions, named, remove
from cvpipe.settings import Settings
from cvpipe.sources.upload import check_free, stored_path, too_large
from cvpipe.store import Store, StoredCamera
from cvpipe.tenants import owned, parted
from cvpipe.video import VideoIndex

_JOBS_PAGE = 200
_MEDIA_PRIORITY = 9  # somebody is looking at a page and waits


class Library:
    """Keep cameras; register, show and delete videos; add and remove models. Synchronous; thread-safe.

    Videos and additions go by their names inside the service, `<tenant>/<id>`.
    """

    def __init__(self, store: Store, bell: Bell, settings: Settings) -> None:
        self._store = store
        self._bell = bell
        self._settings = settings

    def put_camera(self, tenant: str, spec: CameraSpec, *, create: bool) -> tuple[StoredCamera, bool]:
        """Keep a camera, once it is calibrated or a worker is told to; returns it, and whether it is a new version.

        create: there must be no other of its name. Raises: InvalidRequest, NotFound (the chessboard's video), Conflict.
        """
        if spec.chessboard is not None:
            try:
                self._store.video(owned(tenant, spec.chessboard.video))
            except NotFound as error:
                raise NotFound(error.message, field="chessboard.video") from None
        elif spec.sees_ground:
            calibrate(spec)
        version, is_new, rings = self._store.put_camera(tenant, spec, create=create)
        self._bell.ring(rings)
        return self._store.camera(owned(tenant, spec.name), version), is_new

    def _find_camera(self, tenant: str, ref: str) -> CameraSpec:
        """The camera `name` or `name@version`. Raises: NotFound, Conflict."""
        name, _, version = ref.partition("@")
        if version and not (version.isascii() and version.isdecimal()):
            raise NotFound(f"there is no camera {ref!r}; versions are numbers, as in {name}@2")
        stored = self._store.camera(owned(tenant, name), int(version) if version else None)
        if stored.state == "calibrating":
            raise Conflict(f"camera {name!r} is being calibrated; wait until it is `ready`")
        if stored.error is not None:
            raise Conflict(f"camera {name!r} has no lens: {stored.error.message}")
        return stored.spec

    def check_room(self, by: Identity, size: int = 0) -> int:
        """How many bytes a video that `by` sends may have. size: of what is coming, where it is known.

        Raises: TooLarge, OutOfSpace.
        """
        limit = min(self._settings.max_upload_bytes, by.quotas.upload_bytes or self._settings.max_upload_bytes)
        if size > limit:
            raise too_large(limit)
        check_free(self._settings, size)
        if by.quotas.stored_bytes is None or by.key is None:
            return limit
        left = by.quotas.stored_bytes - self._store.stored_bytes(by.key)
        if left <= 0 or size > left:
            raise OutOfSpace(f"the key may store {by.quotas.stored_bytes} bytes of videos; {max(left, 0)} are left")
        return min(limit, left)

    def register_upload(
        self, video_id: str, *, size: int, filename: str | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """Make a stored upload known and have it probed. The same file twice is the same video.

        key: id of the API key that it came by.
        """
        try:
            state = self._store.video(video_id)["state"]
        except NotFound:
            state = "new"
        if state == "ready":
            return self._store.video(video_id)
        if state != "indexing":  # else only the task is made sure of: whoever began this may have died before it
            fields: dict[str, str | int] = {"size": size, "state": "indexing", "error": ""}
            if filename:
                fields["filename"] = filename[:255]
            self._store.put_video(video_id, **fields)
            if key is not None:
                self._store.note_sender(video_id, key)
        self._bell.ring(self._store.put_task(f"probe:{video_id}", queue="ingest"))
        return self._store.video(video_id)

    def video(self, video_id: str) -> dict[str, Any]:
        """What is known of a video. Raises: NotFound."""
        return self._store.video(video_id)

    def delete_video(self, video_id: str) -> None:
        """Remove a video, its file and its pictures.

        Raises: NotFound; Conflict while a job that isn't over looks at it.
        """
        tenant, sha256 = parted(video_id)
        for job in _open_jobs(self._store, tenant):
            if job.video == sha256:
                raise Conflict(f"the job {job.id} looks at this video; cancel it, or wait for its end")
        self._store.delete_video(video_id)
        stored_path(self._settings.data_dir, video_id).unlink(missing_ok=True)
        shutil.rmtree(media_path(self._settings.data_dir, video_id, ""), ignore_errors=True)

    def look_for(self, video_id: str, excerpt: Excerpt) -> Path | None:
        """The file of a picture or clip; None: it is being made, ask again.

        Raises: NotFound (no such video, or frame), Refused (it can't be made).
        """
        path = find(self._settings.data_dir, video_id, excerpt)
        if path is not None:
            return path
        video = self._ready_video(video_id)
        if video is None:
            return None
        frames = int((video["facts"] or {}).get("frames", 0))
        if excerpt.kind == "frame" and frames and excerpt.number >= frames:
            there_are = f"{frames} frames, 0 to {frames - 1}" if frames > 1 else "one frame, 0"
            raise NotFound(f"there is no frame {excerpt.number}: the video has {there_are}", field="number")
        self._ask_for(media_task(video_id, excerpt.name), queue="media")
        return find(self._settings.data_dir, video_id, excerpt)  # it may have come between the two looks

    def index_of(self, video_id: str) -> VideoIndex | None:
        """A video's index; None: it is being made, ask again. Raises: NotFound, Refused (it can't be made)."""
        packed = self._store.video_index(video_id)
        if packed is not None:
            try:
                return VideoIndex.unpack(packed)
            except InvalidRequest:  # an older version of cvpipe has kept it: it is made again
                self._ask_for(f"probe:{video_id}", queue="ingest")
                return None
        if self._ready_video(video_id) is not None:
            self._ask_for(f"probe:{video_id}", queue="ingest")
        return None

    def add_model(self, addition: str) -> None:
        """Have a worker look at a model that was sent."""
        self._bell.ring(self._store.put_task(additions.task_of(addition), queue="media", priority=_MEDIA_PRIORITY))

    def remove_model(self, ref: str) -> list[str]:
        """Remove `name@version`, or all versions of `name`; returns what was removed.

        Raises: NotFound; Conflict while a job that isn't over names one of them; Unavailable.
        """
        check_unused(self._store, {card.ref for card in named(self._settings.models_path, ref)})
        return remove(self._settings.models_path, ref)

    def _ready_video(self, video_id: str) -> dict[str, Any] | None:
        """A video that can be looked at; None while it is indexed. Raises: NotFound, Refused."""
        video = self._store.video(video_id)
        if video["state"] == "failed":
            raise Refused(JobError.model_validate(video["error"]))
        return video if video["state"] == "ready" else None

    def _ask_for(self, task: str, *, queue: str) -> None:
        """Make sure that somebody is at a task that belongs to no job. Raises: Refused."""
        is_open, error = self._store.is_open(task)
        if error is not None:
            raise Refused(error)
        if not is_open:
            self._bell.ring(self._store.put_task(task, queue=queue, priority=_MEDIA_PRIORITY))


class Refused(Exception):
    """A worker could not make what was asked for; `error` says why."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.message)
        self.error = error


def check_unused(store: Store, refs: Collection[str]) -> None:
    """Raises: Conflict while a job that isn't over names one of the models `refs`, each `name@version`."""
    for tenant in store.tenants():
        for job in _open_jobs(store, tenant):
            used = ", ".join(sorted(_words(job.pipeline).intersection(refs)))
            if used:  # it may be another tenant's, so it is not named
                raise Conflict(f"a job uses {used}; cancel it, or wait for its end")


def _open_jobs(store: Store, tenant: str) -> Iterator[Job]:
    """A tenant's jobs that aren't over; one that moves meanwhile may come twice."""
    # In the order in which a job goes through them; from `running` it may have come back to `paused` meanwhile.
    for state in (JobState.paused, JobState.queued, JobState.running, JobState.paused):
        cursor: str | None = None
        while True:
            jobs, cursor = store.jobs(tenant, state=state, cursor=cursor, limit=_JOBS_PAGE)
            yield from jobs
            if cursor is None:
                break


def _words(pipeline: Any) -> set[str]:
    """All words that the stages of a job's pipeline hold as options."""
    return {word for stage in pipeline["stages"] for word in stage.values() if isinstance(word, str)}
