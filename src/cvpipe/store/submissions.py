"""Jobs on their way in: any number of them committed at once, for the price of one sync of the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from cvpipe.job import Job, JobState
from cvpipe.store.connection import as_ours, guarded
from cvpipe.store.jobs import Jobs, read_job
from cvpipe.store.tasks import GRACE_MS, Ring, read_rings

_IDEMPOTENCY_TTL_MS: Final = 24 * 3600 * 1000

Verdict = Literal["new", "same", "other", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job to be committed. name: `<tenant>/<id>`. doc: all that is to be known of it.

    webhook: events that its receiver wants to be told of. progress_percent: between two `job.progress`. digest: of the
    request, to tell whether another one of the same idempotency key is the same; '' without such a key. key: id of the
    API key that it comes from. open_jobs: how many that key may have that are not over.
    """

    name: str
    doc: Mapping[str, Any]
    priority: int
    webhook: Sequence[str] = ()
    progress_percent: int = 10
    idempotency_key: str | None = None
    digest: str
    key: str | None = None
    open_jobs: int | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission.

    verdict: whether the job is new or was known by its idempotency key (`same`; `other`: for another request); `full`:
    the API key has as many jobs as it may, and nothing was committed. rings: what to ring. made_at: of a job that is
    new for certain, ms since the epoch; it is queued, and nothing else has become of it. waiting: what it waits for.
    """

    name: str
    verdict: Verdict
    rings: list[Ring]
    made_at: int | None = None
    waiting: str | None = None


class Submissions(Jobs):
    """Commits jobs."""

    @guarded
    def submit_all(self, submissions: Sequence[Submission]) -> list[Submitted | Exception]:
        """Commit jobs, each whether or not the others can be. What one of them raised stands in its place.

        One round trip and one sync of the disk for all of them. Raises: StoreUnavailable, where none was answered.
        """
        args = [part for submission in submissions for part in _arguments(submission)]
        results = self._commit("submit", [_IDEMPOTENCY_TTL_MS, GRACE_MS, *args])
        answered = [result for result in results if not isinstance(result, Exception)]
        words = self._waits_in_words({name.decode(): rest[1] for name, _, _, *rest in answered if rest}, lately=True)
        return [as_ours(result) if isinstance(result, Exception) else _submitted(result, words) for result in results]

    def submit(
        self,
        job_id: str,
        doc: Mapping[str, Any],
        *,
        priority: int,
        webhook: Sequence[str] = (),
        progress_percent: int = 10,
        idempotency_key: str | None,
        digest: str,
        key: str | None = None,
        open_jobs: int | None = None,
    ) -> tuple[str, Verdict, list[Ring]]:
        """Commit one job, see `Submission`. Returns its name, the verdict, what to ring. Raises: StoreUnavailable."""
        done = self.submit_all(
            [
                Submission(
                    name=job_id, doc=doc, priority=priority, webhook=webhook, progress_percent=progress_percent,
                    idempotency_key=idempotency_key, digest=digest, key=key, open_jobs=open_jobs,
                )
            ]
        )[0]  # fmt: skip
        if isinstance(done, Exception):
            raise done
        return done.name, done.verdict, done.rings


def new_job(submission: Submission, done: Submitted) -> Job:
    """A job that is new for certain, as the service shows it."""
    fields = {b"state": JobState.queued.value.encode(), b"created_at": str(done.made_at).encode()}
    job = read_job(submission.name, fields, submission.doc)
    job.progress.waiting = done.waiting
    return job


def _arguments(submission: Submission) -> list[Any]:
    timeout = submission.doc.get("timeout_seconds")
    return [
        submission.name, json.dumps(submission.doc), submission.priority, " ".join(submission.webhook),
        submission.progress_percent, submission.idempotency_key or "", submission.digest, submission.key or "",
        submission.open_jobs or 0, "" if timeout is None else int(timeout * 1000),
    ]  # fmt: skip


def _submitted(result: Any, waits: Mapping[str, str]) -> Submitted:
    raw, said, rings, *new = result
    name, verdict = raw.decode(), said.decode()
    if verdict == "again":  # the answer got lost, and the job may have gone on meanwhile
        verdict = "new"
    return Submitted(name, verdict, read_rings(rings), new[0] if new else None, waits.get(name))
