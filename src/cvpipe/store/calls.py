"""The ledger of a job: every call to a server outside, before it is made and after."""

from __future__ import annotations

from cvpipe.calls import CallRecord
from cvpipe.errors import LeaseLost, NotFound
from cvpipe.store.connection import Connection, guarded, job_key
from cvpipe.store.tasks import Claim
from cvpipe.tenants import id_of


class Calls(Connection):
    """Written under a claim, read by all."""

    @guarded
    def put_call(self, claim: Claim, job_id: str, call: CallRecord, *, lease_seconds: float) -> None:
        """Write a call down, or what has become of it; it is on disk when this returns. Raises: LeaseLost."""
        args = [claim.task, claim.token, int(lease_seconds * 1000), job_id, call.id, call.to_json()]
        if not self._commit("put_call", args):
            raise LeaseLost(f"task {claim.task} is no longer ours")

    @guarded
    def all_calls(self, job_id: str) -> list[CallRecord]:
        """The whole ledger, in order. Memory: some hundred bytes a call."""
        raw = self._redis.hvals(f"{job_key(job_id)}:calls")
        return sorted((CallRecord.model_validate_json(line) for line in raw), key=lambda call: call.number)

    @guarded
    def calls(self, job_id: str, *, after: int = 0, limit: int = 200) -> tuple[list[CallRecord], int | None]:
        """Calls behind number `after`, and the number to go on behind; None: there are no more. Raises: NotFound."""
        if not self._redis.exists(job_key(job_id)):
            raise NotFound(f"there is no job {id_of(job_id)!r}")
        found = [call for call in self.all_calls(job_id) if call.number > after]
        return found[:limit], found[limit - 1].number if len(found) > limit else None
