"""Verbs of a job's life: with the store's scripts, the only writer of job state."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cvpipe import webhooks
from cvpipe.broker import DEFAULT_QUEUES, Bell
from cvpipe.camera import CameraSpec
from cvpipe.errors import (
    AddressRefused,
    Conflict,
    InvalidModel,
    InvalidPipeline,
    InvalidRequest,
    NotFound,
    QuotaExceeded,
    StoreUnavailable,
)
from cvpipe.inference.cards import ModelCard, find_card
from cvpipe.job import Job, JobRequest, JobState, Message, WebhookTarget, seconds_of
from cvpipe.keys import Identity
from cvpipe.library import Library
from cvpipe.outside import Outside, Secrets
from cvpipe.pipeline import PipelineSpec, Policy, check_calls, check_policy, check_stop, load_pipeline, with_cameras
from cvpipe.pipeline.cards import check_cards
from cvpipe.quotas import DAY_SECONDS
from cvpipe.settings import Settings
from cvpipe.sources import path as path_source
from cvpipe.sources.upload import stored_path
from cvpipe.store import Store, Submission, Submitted, new_job
from cvpipe.tenants import owned

_JOB_AGAIN_SECONDS = 10  # some job of a key that has as many as it may is over sooner or later
_NO_MODELS = frozenset({"name", "type", "queue", "of"})  # options that may be the same word as a model


@dataclass(frozen=True, slots=True)
class _Good:
    """A pipeline that was checked: with which cards, by its own names for them, and how a job has it."""

    spec: PipelineSpec
    cards: dict[str, ModelCard]
    written: dict[str, Any]


class Lifecycle(Library):
    """Submit, cancel and delete jobs, beside all of a library. Synchronous; thread-safe.

    Jobs go by their names inside the service, `<tenant>/<id>`.
    """

    def __init__(self, store: Store, bell: Bell, settings: Settings) -> None:
        super().__init__(store, bell, settings)
        self._outside = Outside.of(settings)
        self._good: dict[str, _Good] = {}

    def submit(self, request: JobRequest, *, by: Identity, idempotency_key: str | None = None) -> tuple[Job, bool]:
        """Commit a job of `by` to the store, then ring. Returns it, and whether it is new (not known by its key).

        Raises: what `prepare` and `commit` raise.
        """
        done = self.commit([self.prepare(request, by=by, idempotency_key=idempotency_key)])[0]
        if isinstance(done, Exception):
            raise done
        return done

    def prepare(self, request: JobRequest, *, by: Identity, idempotency_key: str | None = None) -> Submission:
        """Check all of a request but what only the store can know.

        Raises: InvalidPipeline, NotFound (pipeline, model, video), InvalidRequest (path), AddressRefused (webhook),
        Conflict (a camera without a lens), QuotaExceeded.
        """
        if idempotency_key is not None and not 1 <= len(idempotency_key) <= 255:
            raise InvalidRequest("an idempotency key has 1 to 255 characters", field="Idempotency-Key")
        tenant = by.tenant
        request = self._completed(request, tenant)
        assert request.pipeline is not None
        spec = load_pipeline(_changed(request), settings=self._settings, field="pipeline")
        good = self._known_good(spec)
        cards: dict[str, ModelCard] = {}
        if good is None:
            cards = check_cards(spec, self._settings.models_path, field="pipeline")
            self._check_queues(spec)
        self._check_minutes(request, by)
        if good is None:
            self._check_outside(spec)
        check_stop(spec, request.stop_when, field="stop_when")
        video = None
        if request.video is not None:
            video = owned(tenant, request.video)
            try:
                self._store.video(video)
            except NotFound as error:
                raise NotFound(error.message, field="video") from None
            if not stored_path(self._settings.data_dir, video).is_file():
                raise NotFound("this video is known by a `path` only; upload it, or give its path", field="video")
        path = None
        if request.path is not None:
            path = str(path_source.resolve(request.path, self._settings.roots_of(tenant)))
        webhook = request.webhook
        if webhook is not None:
            self._check_webhook(webhook)
        doc: dict[str, Any] = {
            "tenant": tenant,
            "video": video,
            "path": path,
            "pipeline": None,
            "range": request.range.model_dump(by_alias=True) if request.range else None,
            "starts_at": None if request.starts_at is None else round(request.starts_at.timestamp(), 3),
            "priority": request.priority,
            "labels": request.labels,
            "camera": _document(request.camera),
            "webhook_url": str(webhook.url) if webhook else None,
            "webhook_secrets": list(webhook.all_secrets) if webhook else [],
            "webhook_events": list(webhook.events) if webhook else [],
            "webhook_progress_percent": webhook.progress_percent if webhook else None,
            "annotate": request.annotate,
            "chunk_seconds": request.chunk_seconds,
            "timeout_seconds": request.timeout_seconds,
            "stop_when": request.stop_when,
            "from": None if request.from_job is None else owned(tenant, request.from_job),
            "dry_run": request.dry_run,
            "prediction": self._prediction_of(request, tenant),
        }
        digest = ""
        if idempotency_key is not None:
            asked = doc | {"pipeline": spec.model_dump(mode="json")}
            digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        # Behind the digest: the same request may find a newer model or camera, and is the same request.
        if good is None:
            written = with_cameras(
                self._with_versions(spec),
                lambda name: self._find_camera(tenant, name),
                default=request.camera,
                field="pipeline",
            ).model_dump(mode="json")
            good = _Good(spec, cards, written)
            if isinstance(request.pipeline, str) and _says_all(spec):
                self._good[spec.name] = good
        doc["pipeline"] = good.written
        return Submission(
            name=owned(tenant, new_id()),
            doc=doc,
            priority=request.priority,
            webhook=webhook.events if webhook else (),
            progress_percent=webhook.progress_percent if webhook else 0,
            idempotency_key=idempotency_key,
            digest=digest,
            key=by.key,
            open_jobs=by.quotas.open_jobs,
        )

    def commit(self, submissions: Sequence[Submission]) -> list[tuple[Job, bool] | Exception]:
        """Commit jobs to the store, all with one sync of the disk, then ring.

        Returns for each the job, and whether it is new, or why there is none: Conflict (the key was used for another
        request), QuotaExceeded, StoreUnavailable. Raises: StoreUnavailable, where none was answered.
        """
        results = self._store.submit_all(submissions)
        self._bell.ring(ring for result in results if not isinstance(result, Exception) for ring in result.rings)
        return [
            result if isinstance(result, Exception) else self._answer(submission, result)
            for submission, result in zip(submissions, results, strict=True)
        ]

    def _answer(self, submission: Submission, done: Submitted) -> tuple[Job, bool] | Exception:
        if done.verdict == "full":
            return QuotaExceeded(
                f"the key may have {submission.open_jobs} jobs that are not over, and has them",
                retry_after_seconds=_JOB_AGAIN_SECONDS,
            )
        if done.verdict == "other":
            return Conflict("this Idempotency-Key was used for another request; use a new one", field="Idempotency-Key")
        if done.made_at is not None:
            return new_job(submission, done), True
        try:
            return self._store.job(done.name), done.verdict == "new"
        except NotFound:
            return Conflict("the job of this Idempotency-Key was deleted; use a new key", field="Idempotency-Key")
        except StoreUnavailable as error:
            return error

    def _completed(self, request: JobRequest, tenant: str) -> JobRequest:
        """A request with what it leaves to the job `from`. Raises: NotFound, Conflict (that one is not done)."""
        if request.from_job is None:
            if request.pipeline is None:
                raise InvalidRequest("give a `pipeline`, or a job to begin with (`from`)", field="pipeline")
            if isinstance(request.pipeline, str) and request.options:
                return request.model_copy(update={"pipeline": self._written_out(request.pipeline)})
            return request
        name = owned(tenant, request.from_job)
        try:
            job, doc = self._store.job(name), self._store.job_doc(name)
        except NotFound as error:
            raise NotFound(error.message, field="from") from None
        if job.state not in (JobState.succeeded, JobState.succeeded_with_gaps):
            raise Conflict(
                f"the job {job.id} is {job.state}; only of one that is done can results be taken over", field="from"
            )
        given = request.model_fields_set
        update: dict[str, Any] = {}
        if request.video is None and request.path is None:
            update |= {"path": doc["path"], "video": None if doc["path"] is not None else job.video}
        if request.pipeline is None:
            update["pipeline"] = doc["pipeline"]
        elif isinstance(request.pipeline, str) and request.options:
            update["pipeline"] = self._written_out(request.pipeline)
        began = None if doc["starts_at"] is None else datetime.fromtimestamp(doc["starts_at"], UTC)
        kept = {
            "range": job.range, "starts_at": began, "stop_when": job.stop_when, "chunk_seconds": job.chunk_seconds,
        }  # fmt: skip
        return request.model_copy(update=update | {name: kept[name] for name in kept.keys() - given})

    def _known_good(self, spec: PipelineSpec) -> _Good | None:
        """What was found when this pipeline was checked, where all that it depends on is as it was then."""
        good = self._good.get(spec.name)
        if good is None or good.spec is not spec:
            return None
        try:
            is_same = all(find_card(self._settings.models_path, ref) is card for ref, card in good.cards.items())
        except (NotFound, InvalidModel):  # told by the check
            return None
        return good if is_same else None

    def _prediction_of(self, request: JobRequest, tenant: str) -> dict[str, Any] | None:
        """What was said of the job by the dry run that it is from."""
        if request.from_job is None or request.dry_run:
            return None
        prediction = self._store.job(owned(tenant, request.from_job)).prediction
        return None if prediction is None else prediction.model_dump()

    def _written_out(self, pipeline: str) -> dict[str, Any]:
        return load_pipeline(pipeline, settings=self._settings, field="pipeline").model_dump(mode="json")

    def _check_outside(self, spec: PipelineSpec) -> None:
        """Raises: InvalidPipeline, AddressRefused where it wants what the operator forbids; InvalidRequest (secret)."""
        check_policy(spec, Policy.of(self._settings.outside_pictures), field="pipeline")
        # Without either, the workers that call are elsewhere, and only they may have the secrets.
        knows_secrets = self._settings.outside_secrets is not None or self._settings.broker_url is None
        check_calls(spec, self._outside.check, self._headers if knows_secrets else None, field="pipeline")

    def _headers(self, secret: str | None, url: str) -> dict[str, str]:
        return {} if secret is None else Secrets.read(self._settings.outside_secrets).headers(secret, url)

    def _check_webhook(self, webhook: WebhookTarget) -> None:
        """Raises: AddressRefused; InvalidRequest where nothing could be signed."""
        try:
            self._outside.check(str(webhook.url))
        except AddressRefused as error:
            raise AddressRefused(error.message, field="webhook.url") from None
        if not webhook.all_secrets and self._settings.webhook_secret is None:
            raise InvalidRequest(
                "give a `secret` (whsec_...): this service has none of its own (CVPIPE_WEBHOOK_SECRET)",
                field="webhook.secret",
            )
        for number, secret in enumerate(webhook.all_secrets):
            try:
                webhooks.secret_bytes(secret)
            except InvalidRequest as error:
                field = "webhook.secret" if webhook.secret is not None else f"webhook.secrets.{number}"
                raise InvalidRequest(error.message, field=field) from None

    def _check_minutes(self, request: JobRequest, by: Identity) -> None:
        """Raises: QuotaExceeded. A video that is not indexed yet counts once it is: it may go over what is left."""
        quota = by.quotas.video_minutes_per_day
        if quota is None or by.key is None:
            return
        length = 0.0
        if request.video is not None:
            with suppress(NotFound):  # which is told later
                facts = self._store.video(owned(by.tenant, request.video))["facts"] or {}
                length = seconds_of(facts.get("duration_seconds", 0.0), request.range)
        used = self._store.video_seconds_today(by.key)
        if used >= 60 * quota or used + length > 60 * quota:
            wait = DAY_SECONDS - time.time() % DAY_SECONDS
            message = f"the key may have {quota:g} minutes of video looked at a day; {used / 60:.1f} are used"
            raise QuotaExceeded(f"{message}, and this video has {length / 60:.1f}", retry_after_seconds=wait)

    def _with_versions(self, spec: PipelineSpec) -> PipelineSpec:
        """The pipeline with each model named as `name@version`, so that a job keeps those it began with."""
        fixed = []
        for stage in spec.make_stages():
            newest = {
                field: find_card(self._settings.models_path, value).ref
                for field in type(stage.options).model_fields
                if field not in _NO_MODELS
                and isinstance(value := getattr(stage.options, field), str)
                and value in stage.models()
            }
            fixed.append(stage.options.model_copy(update=newest) if newest else stage.options)
        return spec.model_copy(update={"stages": tuple(fixed)})

    def _check_queues(self, spec: PipelineSpec) -> None:
        """A queue that nobody listens to would keep a job waiting for ever."""
        known = {*DEFAULT_QUEUES, *self._settings.extra_queues.split()}
        for number, stage in enumerate(spec.stages):
            if stage.queue is not None and stage.queue not in known:
                raise InvalidPipeline(
                    f"this service has no queue {stage.queue!r}; it has {', '.join(sorted(known))}"
                    " (the operator adds more with CVPIPE_EXTRA_QUEUES)",
                    field=f"pipeline.stages.{number}.queue",
                )

    def cancel(self, job_id: str) -> Job:
        """Take a job away from its workers, which leave within a second; one that is over stays. Raises: NotFound."""
        self._bell.ring(self._store.cancel(job_id))
        job = self._store.job(job_id)
        if job.state is JobState.canceled:  # else the last worker to leave it does so
            shutil.rmtree(memory_folder(self._settings, job_id), ignore_errors=True)
        return job

    def pause(self, job_id: str) -> Job:
        """Have nobody work on a job until it is resumed. Raises: NotFound, Conflict (it is over)."""
        self._bell.ring(self._store.pause(job_id))
        return self._store.job(job_id)

    def resume(self, job_id: str) -> Job:
        """Have a paused job go on. Raises: NotFound, Conflict (it is over)."""
        self._bell.ring(self._store.resume(job_id))
        return self._store.job(job_id)

    def retry(self, job_id: str) -> Job:
        """Have a failed job go on from what is done. Raises: NotFound, Conflict (it has not failed)."""
        self._bell.ring(self._store.retry(job_id))
        return self._store.job(job_id)

    def repair(self, job_id: str) -> Job:
        """Have the frames without results looked at again; what is good stays. Raises: NotFound, Conflict."""
        self._bell.ring(self._store.repair(job_id))
        return self._store.job(job_id)

    def redeliver(self, job_id: str, message_id: str | None) -> Message:
        """Have a message of a job's webhook delivered again; None: a new one, for a test.

        Raises: NotFound; Conflict where the job has no webhook.
        """
        if self._store.job_doc(job_id)["webhook_url"] is None:
            raise Conflict("the job has no webhook; give it one with `webhook` when it is submitted")
        message, rings = self._store.redeliver(job_id, message_id)
        self._bell.ring(rings)
        return message

    def delete(self, job_id: str) -> None:
        """Remove a job that is over, its records and its files. Raises: NotFound, Conflict."""
        self._store.delete_job(job_id)
        shutil.rmtree(job_folder(self._settings, job_id), ignore_errors=True)


def _says_all(spec: PipelineSpec) -> bool:
    """Whether a check of a pipeline depends on nothing but itself, the cards of its models and the settings."""
    return not any(stage.options.needs_camera or stage.scope == "outside" for stage in spec.make_stages())


def _document(camera: str | CameraSpec | None) -> str | dict[str, Any] | None:
    return camera.model_dump(mode="json") if isinstance(camera, CameraSpec) else camera


def _changed(request: JobRequest) -> str | dict[str, Any]:
    """The request's pipeline with its changed options. Raises: InvalidRequest (no such stage)."""
    pipeline = request.pipeline
    if not request.options or not isinstance(pipeline, dict):
        assert pipeline is not None
        return pipeline
    stages = [dict(stage) if isinstance(stage, dict) else stage for stage in pipeline.get("stages", ())]
    named = {stage.get("name") or stage.get("type"): stage for stage in stages if isinstance(stage, dict)}
    for name, changes in request.options.items():
        if name not in named:
            there_is = ", ".join(str(known) for known in named)
            raise InvalidRequest(f"the pipeline has no stage {name!r}; it has {there_is}", field=f"options.{name}")
        named[name].update(changes)
    return {**pipeline, "stages": stages}


def new_id() -> str:
    """Id of a job: begins with its time, so that ids sort by age; 26 characters of [0-9a-z]."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(7)}"


def job_folder(settings: Settings, job_id: str) -> Path:
    """Where a job's exported files lie."""
    return settings.data_dir / "jobs" / job_id


def memory_folder(settings: Settings, job_id: str) -> Path:
    """Where stages that remember all frames keep what they know between two chunks."""
    return job_folder(settings, job_id) / ".memory"
