"""The client for asynchronous code; the twin of `Client` in `blocking.py`, whose calls it has, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, assert_never

import anyio
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


class AsyncClient:
    """A cvpipe service, over HTTP, for asyncio. Takes what `Client` takes and does what it does.

    >>> import cvpipe
    >>> async def main() -> None:
    ...     async with cvpipe.AsyncClient() as client:
    ...         job = await client.submit("people", video=await client.upload("street.mp4"))
    ...         async for record in client.frames(job):
    ...             print(record.time, record.objects.label)
    """

    verify_webhook = staticmethod(verify_webhook)

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout = 30,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(transport=transport, **httpx_options(base_url, api_key, timeout, headers))
        self._calls = Calls(base_url)

    async def upload(self, path: str | os.PathLike[str], *, on_progress: OnTransfer | None = None) -> Video:
        """See `Client.upload`."""
        return await self._run(upload(self._calls, path, on_progress))

    async def video(self, video: VideoLike) -> Video:
        """See `Client.video`."""
        return await self._run(self._calls.video(video))

    async def submit(
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
        """See `Client.submit`."""
        return await self._run(
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

    async def job(self, job: JobLike) -> Job:
        """See `Client.job`."""
        return await self._run(self._calls.job(job))

    async def jobs(self, *, state: JobState | str | None = None, label: str | None = None) -> AsyncIterator[Job]:
        """See `Client.jobs`."""
        cursor: str | None = None
        while True:
            page, cursor = await self._run(self._calls.jobs_page(state=state, label=label, cursor=cursor))
            for job in page:
                yield job
            if cursor is None:
                return

    async def wait(
        self, job: JobLike, *, timeout_seconds: float | None = None, on_progress: OnProgress | None = None
    ) -> Job:
        """See `Client.wait`."""
        waiting = Waiting(self._calls, job, timeout_seconds=timeout_seconds, on_progress=on_progress)
        try:
            return await self._run(waiting.end())
        finally:
            await self._run(waiting.line.close())

    async def frames(
        self, job: JobLike, *, start: float | None = None, stop: float | None = None
    ) -> AsyncIterator[FrameRecord]:
        """See `Client.frames`."""
        records = Records(self._calls, job, start=start, stop=stop)
        try:
            while (batch := await self._run(records.more())) is not None:
                for record in batch:
                    yield record
        finally:
            await self._run(records.line.close())

    async def events(
        self, job: JobLike, *, start: float | None = None, stop: float | None = None, kinds: Sequence[str] = ()
    ) -> AsyncIterator[Event]:
        """See `Client.events`."""
        cursor: str | None = None
        while True:
            call = self._calls.events_page(job, start=start, stop=stop, kinds=kinds, cursor=cursor)
            page, cursor = await self._run(call)
            for event in page:
                yield event
            if cursor is None:
                return

    async def tracks(self, job: JobLike) -> AsyncIterator[TrackRecord]:
        """See `Client.tracks`."""
        cursor: str | None = None
        while True:
            page, cursor = await self._run(self._calls.tracks_page(job, cursor))
            for track in page:
                yield track
            if cursor is None:
                return

    async def crop(self, job: JobLike, file: str) -> bytes:
        """See `Client.crop`."""
        return await self._run(self._calls.crop(job, file))

    async def search(self, job: JobLike, like: str, *, stage: str | None = None, top: int | None = None) -> list[Match]:
        """See `Client.search`."""
        return await self._run(self._calls.search(job, like, stage=stage, top=top))

    async def cancel(self, job: JobLike) -> Job:
        """See `Client.cancel`."""
        return await self._run(self._calls.told(job, "cancel"))

    async def pause(self, job: JobLike) -> Job:
        """Have nobody work on a job until it is resumed. Raises: ApiError (`conflict`)."""
        return await self._run(self._calls.told(job, "pause"))

    async def resume(self, job: JobLike) -> Job:
        """Have a paused job go on. Raises: ApiError (`conflict`)."""
        return await self._run(self._calls.told(job, "resume"))

    async def retry(self, job: JobLike) -> Job:
        """Have a failed job go on from what is done. Raises: ApiError (`conflict`)."""
        return await self._run(self._calls.begun_again(job, "retry"))

    async def repair(self, job: JobLike) -> Job:
        """See `Client.repair`."""
        return await self._run(self._calls.begun_again(job, "repair"))

    async def calls(self, job: JobLike) -> AsyncIterator[CallRecord]:
        """See `Client.calls`."""
        after: int | None = 0
        while after is not None:
            page, after = await self._run(self._calls.calls_page(job, after))
            for call in page:
                yield call

    async def deliveries(self, job: JobLike) -> DeliveryLog:
        """See `Client.deliveries`."""
        return await self._run(self._calls.deliveries(job))

    async def redeliver(self, job: JobLike, message: MessageLike) -> Message:
        """See `Client.redeliver`."""
        return await self._run(self._calls.redeliver(job, message))

    async def test_webhook(self, job: JobLike) -> Message:
        """See `Client.test_webhook`."""
        return await self._run(self._calls.test_webhook(job))

    async def frame_picture(
        self, video: VideoLike, number: int, *, width: int | None = None, format: Literal["jpg", "png"] = "jpg"
    ) -> bytes:
        """See `Client.frame_picture`."""
        return await self._run(self._calls.picture(video, f"frames/{number}.{format}", {"width": width}))

    async def thumbnail(self, video: VideoLike, *, width: int | None = None) -> bytes:
        """See `Client.thumbnail`."""
        return await self._run(self._calls.picture(video, "thumbnail.jpg", {"width": width}))

    async def sheet(
        self, video: VideoLike, *, columns: int | None = None, rows: int | None = None, width: int | None = None
    ) -> bytes:
        """See `Client.sheet`."""
        params = {"columns": columns, "rows": rows, "width": width}
        return await self._run(self._calls.picture(video, "sheet.jpg", params))

    async def clip(
        self, video: VideoLike, start: float, stop: float | None, path: str | os.PathLike[str], *,
        on_progress: OnTransfer | None = None,
    ) -> Path:  # fmt: skip
        """See `Client.clip`."""
        return await self._run(self._calls.clip(video, start, stop, path, on_progress))

    async def delete(self, job: JobLike) -> None:
        """See `Client.delete`."""
        await self._run(self._calls.delete(job))

    async def download(
        self, job: JobLike, name: str, dest: str | os.PathLike[str], *, on_progress: OnTransfer | None = None
    ) -> Path:
        """See `Client.download`."""
        return await self._run(self._calls.download(job, name, dest, on_progress))

    async def add_camera(self, camera: CameraLike, *, replace: bool = False) -> Camera:
        """See `Client.add_camera`."""
        return await self._run(self._calls.add_camera(camera, replace=replace))

    async def camera(self, ref: str) -> Camera:
        """See `Client.camera`."""
        return await self._run(self._calls.camera(ref))

    async def cameras(self) -> list[Camera]:
        """See `Client.cameras`."""
        return await self._run(self._calls.cameras())

    async def remove_camera(self, name: str) -> None:
        """See `Client.remove_camera`."""
        await self._run(self._calls.remove_camera(name))

    async def create_key(
        self,
        name: str,
        *,
        tenant: str | None = None,
        scopes: Collection[Scope | str] | None = None,
        quotas: Quotas | Mapping[str, float] | None = None,
        expires_in_seconds: float | None = None,
    ) -> MadeKey:
        """See `Client.create_key`."""
        given = {
            "name": name,
            "tenant": tenant,
            "scopes": None if scopes is None else list(scopes),
            "quotas": quotas,
            "expires_in_seconds": expires_in_seconds,
        }
        return await self._run(self._calls.create_key(given))

    async def keys(self) -> list[ApiKey]:
        """See `Client.keys`."""
        return await self._run(self._calls.keys())

    async def revoke_key(self, key: KeyLike) -> ApiKey:
        """See `Client.revoke_key`."""
        return await self._run(self._calls.revoke_key(key))

    async def stages(self) -> list[dict[str, Any]]:
        """See `Client.stages`."""
        return await self._run(self._calls.listing("stages"))

    async def pipelines(self) -> list[dict[str, Any]]:
        """See `Client.pipelines`."""
        return await self._run(self._calls.listing("pipelines"))

    async def models(self) -> list[dict[str, Any]]:
        """See `Client.models`."""
        return await self._run(self._calls.listing("models"))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, call: Call[T]) -> T:
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
                answer = await self._take(step)
            except httpx.RequestError as error:
                failure = error

    async def _take(self, step: Step) -> Answer:
        match step:
            case Ask():
                return await self._http.send(asking(self._http, step))
            case Put():
                return await self._http.send(putting(self._http, step, self._blocks(step)))
            case Patch():
                return await self._http.send(patching(self._http, step, _blocks_of(step)))
            case Fetch():
                return await self._fetch(step)
            case Listen():
                return await self._listen(step)
            case Hear():
                return await anext(step.opened.chunks, b"")
            case HangUp():
                await step.opened.response.aclose()
            case Sleep():
                await anyio.sleep(step.seconds)
            case Work():
                return await anyio.to_thread.run_sync(step.done)
            case _:
                assert_never(step)
        return None

    async def _blocks(self, step: Put) -> AsyncIterator[bytes]:
        transfer = step.transfer
        transfer.restart()
        async with await anyio.open_file(step.source, "rb") as file:
            while wanted := transfer.next_bytes:
                block = await file.read(wanted)
                transfer.expect(block)
                yield block
                transfer.count(block)

    async def _fetch(self, step: Fetch) -> httpx.Response:
        response = await self._http.send(fetching(self._http, step), stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                return response
            size = int(response.headers.get("content-length", 0))
            async with await anyio.open_file(step.target, "wb") as file:
                async for block in response.aiter_bytes(BLOCK_BYTES):
                    await file.write(block)
                    if step.on_progress is not None:
                        step.on_progress(await file.tell(), size)
            return response
        finally:
            await response.aclose()

    async def _listen(self, step: Listen) -> httpx.Response | Opened:
        response = await self._http.send(listening(self._http, step), stream=True)
        if is_event_stream(response):
            return Opened(response, response.aiter_bytes())
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response


async def _blocks_of(step: Patch) -> AsyncIterator[bytes]:
    for block in step.transfer.blocks(step.part, step.offset):
        yield block
