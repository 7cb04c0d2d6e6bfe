"""Every call that is one request and its answer, without input and output (see `steps`)."""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import httpx
import yaml
from pydantic import BaseModel, ValidationError

from cvpipe.calls import CallRecord
from cvpipe.camera import read_camera
from cvpipe.cameras import Camera
from cvpipe.client.answers import check, document, listed, malformed, read_as
from cvpipe.client.steps import CALL_WAITS, FOLLOW_WAITS, Ask, Call, Doubt, Fetch, OnTransfer, Patch, Put, take
from cvpipe.client.video import Video
from cvpipe.documents import mistake
from cvpipe.embeddings import Match
from cvpipe.errors import InvalidRequest, explain
from cvpipe.events import Event
from cvpipe.job import DeliveryLog, Job, JobRequest, JobState, Message, TimeRange, WebhookTarget
from cvpipe.keys import ApiKey, Credential, KeyRequest, MadeKey
from cvpipe.tracks import TrackRecord

PipelineLike: TypeAlias = str | Mapping[str, Any] | BaseModel | PurePath
RangeLike: TypeAlias = TimeRange | tuple[float, float | None]
WebhookLike: TypeAlias = str | Mapping[str, Any] | WebhookTarget
MessageLike: TypeAlias = str | Message
JobLike: TypeAlias = str | Job
VideoLike: TypeAlias = str | Video
KeyLike: TypeAlias = str | ApiKey
CameraLike: TypeAlias = str | Mapping[str, Any] | BaseModel | PurePath

EVENTS_A_PAGE: Final = 500
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_CALLS_A_PAGE: Final = 500
_TRACKS_A_PAGE: Final = 500


def id_of(thing: JobLike | VideoLike) -> str:
    """The id of a job or a video, given as either."""
    return thing if isinstance(thing, str) else thing.id


def key_id_of(key: KeyLike) -> str:
    """The id of a key, given as either or by all of its text."""
    if isinstance(key, ApiKey):
        return key.id
    credential = Credential.parse(key)
    return key if credential is None else credential.id


def job_path(job: JobLike, *rest: str) -> str:
    """Address of a job, or of something of a job."""
    return "/".join(["/v1/jobs", *(quote(part, safe="") for part in (id_of(job), *rest))])


class Calls:
    """The calls of a client to one service."""

    def __init__(self, base_url: str) -> None:
        self.base_url = str(httpx.URL(base_url).copy_with(userinfo=b""))  # it goes into messages

    def take(
        self,
        request: Ask | Put | Patch | Fetch,
        *,
        waits: tuple[float, ...] = CALL_WAITS,
        doubt: Doubt | None = None,
    ) -> Call[httpx.Response]:
        """The response to `request`; see `steps.take`."""
        response = yield from take(request, base_url=self.base_url, waits=waits, doubt=doubt)
        assert isinstance(response, httpx.Response)
        return response

    def video(self, video: VideoLike) -> Call[Video]:
        """One video."""
        response = yield from self.take(Ask("GET", f"/v1/videos/{quote(id_of(video), safe='')}"))
        return read_as(Video, document(response), response=response)

    def submit(
        self,
        pipeline: PipelineLike | None,
        *,
        video: VideoLike | None,
        path: str | PurePath | None,
        range: RangeLike | None,
        priority: int | None,
        labels: Mapping[str, str] | None,
        webhook: WebhookLike | None,
        annotate: bool | None,
        chunk_seconds: float | None,
        timeout_seconds: float | None,
        stop_when: str | None,
        from_job: JobLike | None,
        dry_run: bool | None,
        options: Mapping[str, Mapping[str, Any]] | None,
        starts_at: datetime | str | None,
        camera: CameraLike | None,
        idempotency_key: str | None,
    ) -> Call[Job]:
        """Make a job; with a key, so that a second try after a lost answer comes to the first one's job."""
        given = {
            "video": None if video is None else id_of(video),
            "path": None if path is None else str(path),
            "pipeline": None if pipeline is None else _read_pipeline(pipeline),
            "range": {"from": range[0], "to": range[1]} if isinstance(range, tuple) else range,
            "priority": priority,
            "labels": labels,
            "webhook": {"url": webhook} if isinstance(webhook, str) else webhook,
            "annotate": annotate,
            "chunk_seconds": chunk_seconds,
            "timeout_seconds": timeout_seconds,
            "stop_when": stop_when,
            "from": None if from_job is None else id_of(from_job),
            "dry_run": dry_run,
            "options": options,
            "starts_at": starts_at,
            "camera": read_camera_like(camera),
        }
        body = _validated({name: value for name, value in given.items() if value is not None})
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
        response = yield from self.take(Ask("POST", "/v1/jobs", json=body, headers=headers))
        return read_as(Job, document(response), response=response)

    def job(self, job: JobLike, *, waits: tuple[float, ...] = CALL_WAITS) -> Call[Job]:
        """One job."""
        response = yield from self.take(Ask("GET", job_path(job)), waits=waits)
        return read_as(Job, document(response), response=response)

    def jobs_page(
        self, *, state: JobState | str | None, label: str | None, cursor: str | None
    ) -> Call[tuple[list[Job], str | None]]:
        """Some jobs, and the cursor of the next page where there is one."""
        params = {"state": state, "label": label, "cursor": cursor, "limit": 100}
        ask = Ask("GET", "/v1/jobs", {name: value for name, value in params.items() if value is not None})
        response = yield from self.take(ask)
        body = document(response)
        jobs = [read_as(Job, row, response=response) for row in listed(body, "jobs", response=response)]
        following = body.get("next")
        if not (following is None or isinstance(following, str)) or following == cursor is not None:
            raise malformed(response, "the cursor of the next page")
        return jobs, following

    def told(self, job: JobLike, verb: Literal["cancel", "pause", "resume"]) -> Call[Job]:
        """Tell a job to stop, wait, or go on; saying so twice does no harm."""
        response = yield from self.take(Ask("POST", job_path(job, verb)))
        return read_as(Job, document(response), response=response)

    def begun_again(self, job: JobLike, verb: Literal["repair", "retry"]) -> Call[Job]:
        """Have a job repaired or tried again; one that a lost attempt has begun again counts as begun."""
        doubt = Doubt()
        response = yield from self.take(Ask("POST", job_path(job, verb)), doubt=doubt)
        if response.status_code == _CONFLICT and doubt.lost_answers:
            found = yield from self.job(job)
            if not found.state.is_final:
                return found
        return read_as(Job, document(response), response=response)

    def calls_page(self, job: JobLike, after: int) -> Call[tuple[list[CallRecord], int | None]]:
        """Some calls outside, and the number to go on behind where there are more."""
        response = yield from self.take(Ask("GET", job_path(job, "calls"), {"after": after, "limit": _CALLS_A_PAGE}))
        body = document(response)
        calls = [read_as(CallRecord, row, response=response) for row in listed(body, "calls", response=response)]
        following = body.get("next")
        if not (following is None or isinstance(following, int)):
            raise malformed(response, "the number of the next page")
        return calls, following

    def deliveries(self, job: JobLike) -> Call[DeliveryLog]:
        """What a job's webhook was told."""
        response = yield from self.take(Ask("GET", job_path(job, "deliveries")))
        return read_as(DeliveryLog, document(response), response=response)

    def redeliver(self, job: JobLike, message: MessageLike) -> Call[Message]:
        """Have a message delivered again; asking twice delivers it at least once."""
        name = message if isinstance(message, str) else message.id
        response = yield from self.take(Ask("POST", job_path(job, "deliveries", name, "redeliver")))
        return read_as(Message, document(response), response=response)

    def test_webhook(self, job: JobLike) -> Call[Message]:
        """Have a message for a test delivered."""
        response = yield from self.take(Ask("POST", job_path(job, "deliveries", "test")))
        return read_as(Message, document(response), response=response)

    def picture(self, video: VideoLike, name: str, params: Mapping[str, int | None]) -> Call[bytes]:
        """A picture of a video, as the bytes of its file."""
        given = {key: value for key, value in params.items() if value is not None}
        path = f"/v1/videos/{quote(id_of(video), safe='')}/{name}"
        response = yield from self.take(Ask("GET", path, given, headers={"accept": "image/*"}))
        check(response)
        return response.content

    def tracks_page(self, job: JobLike, cursor: str | None) -> Call[tuple[list[TrackRecord], str | None]]:
        """Some tracks, and the cursor of the next page where there are more now."""
        params: dict[str, str | int] = {"limit": _TRACKS_A_PAGE, **({} if cursor is None else {"cursor": cursor})}
        response = yield from self.take(Ask("GET", job_path(job, "tracks"), params))
        body = document(response)
        rows = listed(body, "tracks", response=response)
        try:
            tracks = [TrackRecord.from_dict(row) for row in rows]
        except (KeyError, TypeError) as error:
            raise malformed(response, "tracks") from error
        following = body.get("next")
        if not (following is None or isinstance(following, str)):
            raise malformed(response, "the cursor of the next page")
        return tracks, following if len(tracks) == _TRACKS_A_PAGE else None

    def crop(self, job: JobLike, file: str) -> Call[bytes]:
        """The picture of a crop, as the bytes of its file."""
        response = yield from self.take(Ask("GET", job_path(job, "crops", file), headers={"accept": "image/*"}))
        check(response)
        return response.content

    def clip(
        self, video: VideoLike, start: float, stop: float | None, dest: str | os.PathLike[str],
        on_progress: OnTransfer | None,
    ) -> Call[Path]:  # fmt: skip
        """Save a clip; it is there only once it is whole. One that takes long to encode is asked for for a minute."""
        params = {"from": start, **({} if stop is None else {"to": stop})}
        target = Path(dest)
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        path = f"/v1/videos/{quote(id_of(video), safe='')}/clip"
        try:
            response = yield from self.take(Fetch(path, part, on_progress, params), waits=FOLLOW_WAITS)
            check(response)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def events_page(
        self, job: JobLike, *, start: float | None, stop: float | None, kinds: Sequence[str], cursor: str | None
    ) -> Call[tuple[list[Event], str | None]]:
        """Some events of a job, and the cursor of the next page where there are more now."""
        given = {"from": start, "to": stop, "cursor": cursor, "limit": EVENTS_A_PAGE}
        params: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if kinds:
            params["kind"] = list(kinds)
        response = yield from self.take(Ask("GET", job_path(job, "events-log"), params))
        body = document(response)
        try:
            events = [Event.from_dict(row) for row in listed(body, "events", response=response)]
            following = body["next"] if len(events) == EVENTS_A_PAGE else None
        except (KeyError, TypeError, ValueError) as error:
            raise malformed(response, f"events ({type(error).__name__}: {error})") from error
        return events, following

    def search(self, job: JobLike, like: str, *, stage: str | None, top: int | None) -> Call[list[Match]]:
        """What looks alike, the best first."""
        given = {"like": like, "stage": stage, "top": top}
        params = {name: value for name, value in given.items() if value is not None}
        response = yield from self.take(Ask("GET", job_path(job, "search"), params))
        rows = listed(document(response), "matches", response=response)
        try:
            return [Match.from_dict(row) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise malformed(response, "matches") from error

    def delete(self, job: JobLike) -> Call[None]:
        """Remove a job; one that a lost attempt removed counts as removed."""
        doubt = Doubt()
        response = yield from self.take(Ask("DELETE", job_path(job)), doubt=doubt)
        if response.status_code == _NOT_FOUND and doubt.lost_answers:
            return  # an attempt whose answer was lost has deleted it
        check(response)

    def download(
        self, job: JobLike, name: str, dest: str | os.PathLike[str], on_progress: OnTransfer | None
    ) -> Call[Path]:
        """Save an export; it has its name only once it is whole."""
        target = Path(dest)
        if target.is_dir():
            target /= PurePath(name).name
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            response = yield from self.take(Fetch(job_path(job, "exports", name), part, on_progress))
            check(response)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def add_camera(self, camera: CameraLike, *, replace: bool) -> Call[Camera]:
        """Keep a camera; sent again, the same one is no new version, so that a retry does no harm."""
        body = read_camera_like(camera)
        if not isinstance(body, dict) or not isinstance(body.get("name"), str):
            raise InvalidRequest("give the camera itself, with a `name`, or the path of its file", field="camera")
        if replace:
            ask = Ask("PUT", f"/v1/cameras/{quote(body['name'], safe='')}", json=body)
        else:
            ask = Ask("POST", "/v1/cameras", json=body)
        response = yield from self.take(ask)
        return read_as(Camera, document(response), response=response)

    def camera(self, ref: str) -> Call[Camera]:
        """One camera."""
        response = yield from self.take(Ask("GET", f"/v1/cameras/{quote(ref, safe='@')}"))
        return read_as(Camera, document(response), response=response)

    def cameras(self) -> Call[list[Camera]]:
        """All cameras."""
        response = yield from self.take(Ask("GET", "/v1/cameras"))
        return [
            read_as(Camera, row, response=response) for row in listed(document(response), "cameras", response=response)
        ]

    def remove_camera(self, name: str) -> Call[None]:
        """Remove a camera; one that a lost attempt removed counts as removed."""
        doubt = Doubt()
        response = yield from self.take(Ask("DELETE", f"/v1/cameras/{quote(name, safe='')}"), doubt=doubt)
        if response.status_code == _NOT_FOUND and doubt.lost_answers:
            return
        check(response)

    def create_key(self, given: Mapping[str, Any]) -> Call[MadeKey]:
        """Make a key. Asked again after a lost answer it makes another; nobody has the first one's secret."""
        try:
            request = KeyRequest.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidRequest(explain(first), field=".".join(map(str, first["loc"])) or None) from None
        body = request.model_dump(mode="json", exclude_unset=True)
        response = yield from self.take(Ask("POST", "/v1/keys", json=body))
        return read_as(MadeKey, document(response), response=response)

    def keys(self) -> Call[list[ApiKey]]:
        """All keys."""
        response = yield from self.take(Ask("GET", "/v1/keys"))
        return [
            read_as(ApiKey, row, response=response) for row in listed(document(response), "keys", response=response)
        ]

    def revoke_key(self, key: KeyLike) -> Call[ApiKey]:
        """Revoke a key; twice does no harm."""
        response = yield from self.take(Ask("DELETE", f"/v1/keys/{quote(key_id_of(key), safe='')}"))
        return read_as(ApiKey, document(response), response=response)

    def listing(self, noun: str) -> Call[list[dict[str, Any]]]:
        """All of `stages`, `pipelines` or `models`."""
        response = yield from self.take(Ask("GET", f"/v1/{noun}"))
        return listed(document(response), noun, response=response)


def read_camera_like(camera: CameraLike | None) -> str | dict[str, Any] | None:
    """A camera as it is sent: its name, or all of it. Raises: InvalidRequest."""
    if camera is None or isinstance(camera, str):
        return camera
    if isinstance(camera, PurePath):
        camera = read_camera(Path(camera), field="camera")
    if isinstance(camera, BaseModel):
        return camera.model_dump(mode="json", exclude_none=True, exclude={"version"})
    return dict(camera)


def _read_pipeline(pipeline: PipelineLike) -> str | dict[str, Any]:
    if isinstance(pipeline, str):
        return pipeline
    if isinstance(pipeline, BaseModel):
        return pipeline.model_dump(mode="json")
    if isinstance(pipeline, Mapping):
        return dict(pipeline)
    try:
        read = yaml.safe_load(Path(pipeline).read_text(encoding="utf-8"))  # JSON is YAML
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{pipeline} is neither YAML nor JSON: {mistake(error)}", field="pipeline") from error
    if not isinstance(read, dict):
        raise InvalidRequest(f"{pipeline}: wanted a mapping with `name` and `stages`", field="pipeline")
    return read


def _validated(given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        request = JobRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequest(explain(first), field=".".join(map(str, first["loc"])) or None) from None
    # What the caller left open is left to the service: its defaults may be newer than this client's.
    return request.model_dump(mode="json", by_alias=True, exclude_unset=True)
