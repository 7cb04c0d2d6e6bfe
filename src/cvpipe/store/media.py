"""Pictures and clips that are being made: whether somebody is at it, and why one could not be made."""

from __future__ import annotations

from typing import Final

from cvpipe.job import JobError
from cvpipe.store.connection import PREFIX, Connection, guarded
from cvpipe.store.tasks import Claim

_REFUSED_SECONDS: Final = 60


class Media(Connection):
    """What the API asks about tasks `media:<video>:<name>` and `probe:<video>`."""

    @guarded
    def refuse(self, claim: Claim, error: JobError) -> None:
        """End a task that can't be done; for a minute, whoever wants the same is told why."""
        self._redis.set(_error_key(claim.task), error.model_dump_json(), ex=_REFUSED_SECONDS)
        self._scripts["drop"](args=[claim.task, claim.token])

    @guarded
    def is_open(self, task: str) -> tuple[bool, JobError | None]:
        """Whether a task is waiting or worked on; and why it failed, where it did within the last minute."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.exists(f"{PREFIX}task:{task}")
        pipe.get(_error_key(task))
        known, error = pipe.execute()
        return bool(known), None if error is None else JobError.model_validate_json(error)


def _error_key(task: str) -> str:
    return f"{PREFIX}refused:{task}"
