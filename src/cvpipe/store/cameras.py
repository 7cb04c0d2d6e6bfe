"""Cameras, by `<tenant>/<name>`: every version that was put is kept until the camera is removed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from cvpipe.camera import CameraSpec
from cvpipe.cameras import CameraState
from cvpipe.errors import Conflict, LeaseLost, NotFound
from cvpipe.job import JobError
from cvpipe.store.connection import PREFIX, Connection, guarded
from cvpipe.store.tasks import GRACE_MS, Claim, Ring, read_rings
from cvpipe.tenants import id_of, owned, parted


@dataclass(frozen=True, slots=True)
class StoredCamera:
    """One version of a camera.

    spec: with its `version`; once a lens was found, with that. state: `calibrating` while a worker looks for the lens;
    `failed` where it found none, for the reason `error`. created_at: seconds since the epoch.
    """

    spec: CameraSpec
    state: CameraState
    created_at: float
    error: JobError | None = None


class Cameras(Connection):
    """What is known of cameras."""

    @guarded
    def put_camera(self, tenant: str, spec: CameraSpec, *, create: bool) -> tuple[int, bool, list[Ring]]:
        """Keep a camera; returns its version, whether that is a new one, and what to ring.

        One that says the same as the newest version is that version. create: there must be no other of this name.
        Raises: Conflict.
        """
        calibrates = spec.chessboard is not None
        sent = spec.model_copy(update={"version": None}).model_dump_json()
        task = f"camera:{owned(tenant, spec.name)}" if calibrates else ""
        state: CameraState = "calibrating" if calibrates else "ready"
        version, is_new, rings = self._commit(
            "put_camera", [tenant, spec.name, sent, state, int(create), round(time.time(), 3), task, GRACE_MS]
        )
        if not version:
            raise Conflict(
                f"there is another camera {spec.name!r}; PUT /v1/cameras/{spec.name} makes a new version of it"
            )
        return int(version), bool(is_new), read_rings(rings)

    @guarded
    def camera(self, camera: str, version: int | None = None) -> StoredCamera:
        """A version of the camera `<tenant>/<name>`; default: the newest. Raises: NotFound."""
        key = f"{PREFIX}camera:{camera}"
        if version is None:
            newest = self._redis.hget(key, "newest")
            version = 0 if newest is None else int(newest)
        names = ("sent", "found", "state", "created_at", "error")
        sent, found, state, created_at, error = self._redis.hmget(key, *(f"{version}:{name}" for name in names))
        if sent is None:
            which = f"version {version} of a camera" if version else "camera"
            raise NotFound(f"there is no {which} {id_of(camera)!r}; POST /v1/cameras makes one")
        document: dict[str, Any] = json.loads(found or sent)
        return StoredCamera(
            CameraSpec.model_validate({**document, "version": version}),
            state.decode(),
            float(created_at),
            JobError.model_validate_json(error) if error else None,
        )

    @guarded
    def cameras(self, tenant: str) -> list[StoredCamera]:
        """The newest version of every camera of a tenant, by name."""
        found = []
        for name in sorted(raw.decode() for raw in self._redis.smembers(f"{PREFIX}cameras:{tenant}")):
            try:
                found.append(self.camera(owned(tenant, name)))
            except NotFound:  # it was removed meanwhile
                continue
        return found

    @guarded
    def remove_camera(self, camera: str) -> None:
        """Remove all versions of the camera `<tenant>/<name>`. Raises: NotFound."""
        tenant, name = parted(camera)
        pipe = self._redis.pipeline()
        pipe.delete(f"{PREFIX}camera:{camera}")
        pipe.srem(f"{PREFIX}cameras:{tenant}", name)
        if not pipe.execute()[0]:
            raise NotFound(f"there is no camera {name!r}")

    @guarded
    def end_camera(
        self, claim: Claim, camera: str, version: int, *, found: CameraSpec | None = None, error: JobError | None = None
    ) -> None:
        """Commit what came of the search for a version's lens, and end its task. Raises: LeaseLost."""
        known = "" if found is None else found.model_dump_json()
        told = "" if error is None else error.model_dump_json()
        if self._commit("end_camera", [claim.task, claim.token, camera, version, known, told]) < 0:
            raise LeaseLost(f"task {claim.task} is no longer ours")
