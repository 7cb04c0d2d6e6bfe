"""The client for ordinary code; `AsyncClient` in `asynchronous.py` is its twin."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, assert_never

import httpx

from cvpipe.calls import CallRecord
from cvpipe.cameras import Camera
from cvpipe.client.calls import (
    Calls,
    CameraLike,
    JobLike,
    KeyLike,
    MessageLike,
    PipelineLike,
    RangeLike,
    VideoLike,
    WebhookLike,
)
from cvpipe.client.connection import (
    DEFAULT_URL,
    asking,
    fetching,
    httpx_options,
    is_event_stream,
    listening,
    patching,
    putting,
)
from cvpipe.client.following import OnProgress, Records, Waiting
from cvpipe.client.steps import (
    BLOCK_BYTES,
    Answer,
    Ask,
    Call,
    Fetch,
    HangUp,
    Hear,
    Listen,
    OnTransfer,
    Opened,
    Patch,
    Put,
    Sleep,
    Step,
    Work,
)
from cvpipe.client.uploading import upload
from cvpipe.client.video import Video
from cvpipe.embeddings import Match
from cvpipe.events import Event
from cvpipe.job import DeliveryLog, Job, JobState, Message
from cvpipe.keys import ApiKey, MadeKey
from cvpipe.quotas import Quotas
from cvpipe.results import FrameRecord
from cvpipe.scopes import Scope
from cvpipe.tracks import TrackRecord
from cvpipe.webhooks import verify_webhook

T = TypeVar("T")


class Client:
    """A cvpipe service, over HTTP. Thread-safe; close it, or use it in a `with` statement.

    base_url: where the service listens; a path in it is kept. api_key: `cvp_...`, where the service wants one; default:
    CVPIPE_API_KEY. timeout: seconds without a byte sent or received, or an
    `httpx.Timeout`; it does not bound a call as a whole. headers: sent with every request, such as an authorisation
    that a proxy in front of the service asks for. transport: how bytes travel, for tests and Unix sockets.

    What is safe to repeat is tried again for about 3 s when the connection fails or the service answers 429, 502, 503
    or 504; `wait` and `frames` hold out for a minute, so that they outlive a restart of the service.
    Every call raises ApiError for an answer that is an error, and Unavailable where none comes.

    >>> import cvpipe
    >>> with cvpipe.Client() as client:  # doctest: +SKIP
    ...     job = client.submit("people", video=client.upload("street.mp4"))
    ...     for record in client.frames(job):
    ...         print(record.time, record.objects.label)
    """

    verify_webhook = staticmethod(verify_webhook)

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout = 30,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(transport=transport, **httpx_options(base_url, api_key, timeout, headers))
        self._calls = Calls(base_url)

    def upload(self, path: str | os.PathLike[str], *, on_progress: OnTransfer | None = None) -> Video:
        """Send a file to the service. A file it already has is the same video; its name plays no part in that.

        One of 8 MiB or more goes in parts, each with its checksum, and goes on with the part at which the connection
        broke, for as long as that does not take over a minute at one place; a smaller one is sent again.

        on_progress: called with the bytes sent and the size of the file; goes back to where the file is sent on from. A
        part of 8 MiB is held in memory.
        Raises: OSError where the file can't be read; ApiError (`too_large`, ...); Unavailable.
        """
        return self._run(upload(self._calls, path, on_progress))

    def video(self, video: VideoLike) -> Video:
        """What the service knows of a video. Raises: ApiError (`not_found`)."""
        return self._run(self._calls.video(video))

    def submit(
        self,
        pipeline: PipelineLike | None = None,
        *,
        video: VideoLike | None = None,
        path: str | PurePath | None = None,
        range: RangeLike | None = None,
        priority: int | None = None,
        labels: Mapping[str, str] | None = None,
        webhook: WebhookLike | None = None,
        annotate: bool | None = None,
        chunk_seconds: float | None = None,
        timeout_seconds: float | None = None,
        stop_when: str | None = None,
        from_job: JobLike | None = None,
        dry_run: bool | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        starts_at: datetime | str | None = None,
        camera: CameraLike | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Have a video understood. Returns at once, with the job as it stands; `wait` and `frames` follow it.

        pipeline: the name of one that the service knows, a pipeline as a mapping or model, or the `pathlib.Path` of a
        YAML or JSON file on this machine. video: one that was uploaded, or its id. path: of a file on the server,
        under a folder that the service was told of; give this or `video`. range: seconds since the first frame,
        (start, stop), start <= time < stop; stop may be None. priority: 0 to 9, 9 goes first. labels: your own words.
        webhook: an address, or `{"url": ..., "secret": ...}` with a secret of its own. annotate: also make
        `annotated.mp4`. chunk_seconds: about how long a unit of work is. timeout_seconds: how long
        the job may run, pauses not counted. stop_when: a condition; the results end with the first frame for which
        it holds. from_job: one that is done, of which to take over what its stages found as
        far as they are the same; what is not given is as there. dry_run: do two seconds of the
        work, and predict what all of it takes. options: of stages, by their names, that are to be
        other than in the pipeline. starts_at: when the first frame was recorded, with its zone. camera: for
        stages that name none: a name, a mapping, or the path of a file. idempotency_key: submits with an equal key
        and an equal request are one job; made up here where not given, so that a retry never makes a second job.
        What is not given is left to the service's defaults.

        Raises: InvalidRequest for what is wrong on its face; ApiError (`invalid_pipeline`, `not_found`, ...).
        """
        return self._run(
            self._calls.submit(
                pipeline,
                video=video,
                path=path,
                range=range,
                priority=priority,
                labels=labels,
                webhook=webhook,
                annotate=annotate,
                chunk_seconds=chunk_seconds,
                timeout_seconds=timeout_seconds,
                stop_when=stop_when,
                from_job=from_job,
                dry_run=dry_run,
                options=options,
                starts_at=starts_at,
                camera=camera,
                idempotency_key=idempotency_key,
            )
        )

    def job(self, job: JobLike) -> Job:
        """A job as it stands now. Raises: ApiError (`not_found`)."""
        return self._run(self._calls.job(job))

    def jobs(self, *, state: JobState | str | None = None, label: str | None = None) -> Iterator[Job]:
        """All jobs, the newest first, read page by page as they are asked for.

        state: only jobs in this state. label: only jobs with this label, written `key=value`.
        """
        cursor: str | None = None
        while True:
            page, cursor = self._run(self._calls.jobs_page(state=state, label=label, cursor=cursor))
            yield from page
            if cursor is None:
                return

    def wait(self, job: JobLike, *, timeout_seconds: float | None = None, on_progress: OnProgress | None = None) -> Job:
        """The job once it has ended, well or badly: look at its `state`.

        timeout_seconds: how long to wait; None: for ever. on_progress: called with each new Progress.
        Raises: WaitTimeout, after which the job goes on as before.
        """
        waiting = Waiting(self._calls, job, timeout_seconds=timeout_seconds, on_progress=on_progress)
        try:
            return self._run(waiting.end())
        finally:
            self._run(waiting.line.close())

    def frames(self, job: JobLike, *, start: float | None = None, stop: float | None = None) -> Iterator[FrameRecord]:
        """The job's records, each once and in order of time, as they come; ends when there will be no more.

        Follows a running job live, and goes on where it was after a connection breaks. Leaving it early is fine.
        start, stop: seconds since the first frame, start <= time < stop.
        Memory: at most 500 records and one event.
        """
        records = Records(self._calls, job, start=start, stop=stop)
        try:
            while (batch := self._run(records.more())) is not None:
                yield from batch
        finally:
            self._run(records.line.close())

    def events(
        self, job: JobLike, *, start: float | None = None, stop: float | None = None, kinds: Sequence[str] = ()
    ) -> Iterator[Event]:
        """What has happened in the video, as far as the job's stages have told by now, in the order told.

        start, stop: seconds since the first frame; what touches start <= time < stop. kinds: only these; () for all.
        Memory: at most 500 events.
        """
        cursor: str | None = None
        while True:
            page, cursor = self._run(self._calls.events_page(job, start=start, stop=stop, kinds=kinds, cursor=cursor))
            yield from page
            if cursor is None:
                return

    def tracks(self, job: JobLike) -> Iterator[TrackRecord]:
        """What the job knows of each thing that was followed, and what its crops say together, in order of beginning.

        They are there once the crops of the whole job are done, for pipelines with a stage `crops`: `wait` first.
        """
        cursor: str | None = None
        while True:
            page, cursor = self._run(self._calls.tracks_page(job, cursor))
            yield from page
            if cursor is None:
                return

    def crop(self, job: JobLike, file: str) -> bytes:
        """The picture of a crop (`track.crops` names them), as the bytes of a JPEG. Raises: ApiError (`not_found`)."""
        return self._run(self._calls.crop(job, file))

    def search(self, job: JobLike, like: str, *, stage: str | None = None, top: int | None = None) -> list[Match]:
        """What else in the job looks like one of its frames or objects, by cosine of embeddings, the best first.

        like: `FRAME:OBJECT`, the number of a frame and the place in its objects, from 0; or `FRAME`, as a whole. stage:
        name of the `embed` stage; None: the first that embedded it. top: how many; None: as many as the service gives.
        Raises: ApiError (`not_found`, `invalid_request`).
        """
        return self._run(self._calls.search(job, like, stage=stage, top=top))

    def cancel(self, job: JobLike) -> Job:
        """Have a job stop; what it found so far stays. A job that has ended stays as it is."""
        return self._run(self._calls.told(job, "cancel"))

    def pause(self, job: JobLike) -> Job:
        """Have nobody work on a job until it is resumed. Raises: ApiError (`conflict`)."""
        return self._run(self._calls.told(job, "pause"))

    def resume(self, job: JobLike) -> Job:
        """Have a paused job go on. Raises: ApiError (`conflict`)."""
        return self._run(self._calls.told(job, "resume"))

    def retry(self, job: JobLike) -> Job:
        """Have a failed job go on from what is done. Raises: ApiError (`conflict`)."""
        return self._run(self._calls.begun_again(job, "retry"))

    def repair(self, job: JobLike) -> Job:
        """Look again at frames without results; what is good stays. Raises: ApiError (`conflict`)."""
        return self._run(self._calls.begun_again(job, "repair"))

    def calls(self, job: JobLike) -> Iterator[CallRecord]:
        """What the job's `external` stages asked servers outside, and what these said, in order."""
        after: int | None = 0
        while after is not None:
            page, after = self._run(self._calls.calls_page(job, after))
            yield from page

    def deliveries(self, job: JobLike) -> DeliveryLog:
        """What a job's webhook was told, message by message and attempt by attempt."""
        return self._run(self._calls.deliveries(job))

    def redeliver(self, job: JobLike, message: MessageLike) -> Message:
        """Have a message of a job's webhook delivered now, whatever became of it. Raises: ApiError (`not_found`)."""
        return self._run(self._calls.redeliver(job, message))

    def test_webhook(self, job: JobLike) -> Message:
        """Have a job's webhook told of a `webhook.test`. Raises: ApiError (`conflict`: it has none)."""
        return self._run(self._calls.test_webhook(job))

    def frame_picture(
        self, video: VideoLike, number: int, *, width: int | None = None, format: Literal["jpg", "png"] = "jpg"
    ) -> bytes:
        """Exactly this frame, as the bytes of a picture. Raises: ApiError (`not_found`)."""
        return self._run(self._calls.picture(video, f"frames/{number}.{format}", {"width": width}))

    def thumbnail(self, video: VideoLike, *, width: int | None = None) -> bytes:
        """A small JPEG that stands for the video."""
        return self._run(self._calls.picture(video, "thumbnail.jpg", {"width": width}))

    def sheet(
        self, video: VideoLike, *, columns: int | None = None, rows: int | None = None, width: int | None = None
    ) -> bytes:
        """A contact sheet, as a JPEG."""
        params = {"columns": columns, "rows": rows, "width": width}
        return self._run(self._calls.picture(video, "sheet.jpg", params))

    def clip(
        self, video: VideoLike, start: float, stop: float | None, path: str | os.PathLike[str], *,
        on_progress: OnTransfer | None = None,
    ) -> Path:  # fmt: skip
        """Save the frames with start <= time < stop (None: to the end) as an MP4 file; returns where it is."""
        return self._run(self._calls.clip(video, start, stop, path, on_progress))

    def delete(self, job: JobLike) -> None:
        """Remove a job that has ended, with its records and files. Raises: ApiError (`conflict`, `not_found`)."""
        self._run(self._calls.delete(job))

    def download(
        self, job: JobLike, name: str, dest: str | os.PathLike[str], *, on_progress: OnTransfer | None = None
    ) -> Path:
        """Save a file that the job made (`job.exports` names them); returns where it is.

        dest: a folder, or the path of the new file. It appears there when it is whole, replacing what was there.
        on_progress: called with the bytes received and the size, 0 where the service does not tell it.
        """
        return self._run(self._calls.download(job, name, dest, on_progress))

    def add_camera(self, camera: CameraLike, *, replace: bool = False) -> Camera:
        """Keep a camera on the service; returns it with how well its marks fit.

        camera: a mapping, a `CameraSpec`, or the `pathlib.Path` of a YAML or JSON file. replace: make a new version
        where there is another one of its name, which is otherwise an ApiError (`conflict`). One with a `chessboard` is
        `calibrating` until a worker has found its lens.
        """
        return self._run(self._calls.add_camera(camera, replace=replace))

    def camera(self, ref: str) -> Camera:
        """A camera: `name`, its newest version, or `name@version`. Raises: ApiError (`not_found`)."""
        return self._run(self._calls.camera(ref))

    def cameras(self) -> list[Camera]:
        """All cameras that the service knows, by name."""
        return self._run(self._calls.cameras())

    def remove_camera(self, name: str) -> None:
        """Remove a camera with all its versions; jobs keep theirs. Raises: ApiError (`not_found`)."""
        self._run(self._calls.remove_camera(name))

    def create_key(
        self,
        name: str,
        *,
        tenant: str | None = None,
        scopes: Collection[Scope | str] | None = None,
        quotas: Quotas | Mapping[str, float] | None = None,
        expires_in_seconds: float | None = None,
    ) -> MadeKey:
        """Make an API key, for administrators. Its `key` is shown this once.

        tenant: whose jobs and videos it is for; default: `default`. scopes: default: submit and read. quotas: how much
        it may take. expires_in_seconds: good for so long; None: until it is revoked.
        Raises: ApiError (`forbidden`); InvalidRequest.
        """
        given = {
            "name": name,
            "tenant": tenant,
            "scopes": None if scopes is None else list(scopes),
            "quotas": quotas,
            "expires_in_seconds": expires_in_seconds,
        }
        return self._run(self._calls.create_key(given))

    def keys(self) -> list[ApiKey]:
        """All keys of all tenants, revoked ones too, the oldest first, without their secrets."""
        return self._run(self._calls.keys())

    def revoke_key(self, key: KeyLike) -> ApiKey:
        """Have a key be good for nothing any more, within a second; by its id, or all of it.

        What it has submitted goes on. Raises: ApiError (`not_found`).
        """
        return self._run(self._calls.revoke_key(key))

    def stages(self) -> list[dict[str, Any]]:
        """The stages that pipelines can use, with the JSON Schema of their options."""
        return self._run(self._calls.listing("stages"))

    def pipelines(self) -> list[dict[str, Any]]:
        """The pipelines that the service knows by name."""
        return self._run(self._calls.listing("pipelines"))

    def models(self) -> list[dict[str, Any]]:
        """The cards of the models that the service has."""
        return self._run(self._calls.listing("models"))

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        """Take the steps of a call until it returns."""
        answer: Answer = None
        failure: httpx.RequestError | None = None
        while True:
            try:
                step = call.send(answer) if failure is None else call.throw(failure)
            except StopIteration as stop:
                result: T = stop.value
                return result
            answer = failure = None
            try:
                answer = self._take(step)
            except httpx.RequestError as error:
                failure = error

    def _take(self, step: Step) -> Answer:
        match step:
            case Ask():
                return self._http.send(asking(self._http, step))
            case Put():
                return self._http.send(putting(self._http, step, self._blocks(step)))
            case Patch():
                return self._http.send(patching(self._http, step, step.transfer.blocks(step.part, step.offset)))
            case Fetch():
                return self._fetch(step)
            case Listen():
                return self._listen(step)
            case Hear():
                return next(step.opened.chunks, b"")
            case HangUp():
                step.opened.response.close()
            case Sleep():
                time.sleep(step.seconds)
            case Work():
                return step.done()
            case _:
                assert_never(step)
        return None

    def _blocks(self, step: Put) -> Iterator[bytes]:
        transfer = step.transfer
        transfer.restart()
        with step.source.open("rb") as file:
            while wanted := transfer.next_bytes:
                block = file.read(wanted)
                transfer.expect(block)
                yield block
                transfer.count(block)

    def _fetch(self, step: Fetch) -> httpx.Response:
        response = self._http.send(fetching(self._http, step), stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                response.read()
                return response
            size = int(response.headers.get("content-length", 0))
            with step.target.open("wb") as file:
                for block in response.iter_bytes(BLOCK_BYTES):
                    file.write(block)
                    if step.on_progress is not None:
                        step.on_progress(file.tell(), size)
            return response
        finally:
            response.close()

    def _listen(self, step: Listen) -> httpx.Response | Opened:
        response = self._http.send(listening(self._http, step), stream=True)
        if is_event_stream(response):
            return Opened(response, response.iter_bytes())
        try:
            response.read()
        finally:
            response.close()
        return response
