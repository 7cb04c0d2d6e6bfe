"""A worker's resources, and the lease under which it works on a task."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cvpipe.broker import Bell
from cvpipe.engine import FramesRunner
from cvpipe.errors import CvpipeError, Interrupted, LeaseLost, StageFailed, StoreUnavailable, Unavailable
from cvpipe.inference.cards import find_card
from cvpipe.inference.shares import Share, working_for
from cvpipe.job import JobError, JobState
from cvpipe.log import fields
from cvpipe.outside import Caller, Outside, Secrets, with_cassette
from cvpipe.pipeline import PipelineSpec, Segment
from cvpipe.settings import Settings
from cvpipe.store import Claim, Ring, Store

if TYPE_CHECKING:
    from cvpipe.inference import OnnxTools
    from cvpipe.video import Decoders

log = logging.getLogger(__name__)

#: How soon a worker knows that a job was canceled or paused.
_LOOK_SECONDS: Final = 0.4
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_NO_SPACE_SECONDS: Final = 2.0

MAX_CRASHES = 3
MAX_FAILURES = 3


class Stopping(Interrupted):
    """This worker is shutting down: the task goes back to the store, nothing is lost."""


@dataclass
class Bench:
    """A worker process's resources: opened at boot, shared by its threads, closed at shutdown.

    taken: tasks that were handed out to this process and that nobody has begun with. held: those that are worked on.
    """

    settings: Settings
    store: Store
    bell: Bell
    stopping: threading.Event = field(default_factory=threading.Event)
    taken: dict[str, Claim] = field(default_factory=dict)
    held: set[Claim] = field(default_factory=set)
    _decoders: Decoders | None = None
    _tools: OnnxTools | None = None
    _outside: Outside | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _runners: dict[tuple[int, int], FramesRunner] = field(default_factory=dict)

    @property
    def decoders(self) -> Decoders:
        """Decoder processes, from the first use on."""
        with self._lock:
            if self._decoders is None:
                from cvpipe.video import Decoders

                self._decoders = Decoders.of(self.settings)
                self._decoders.__enter__()
            return self._decoders

    @property
    def outside(self) -> Outside:
        """The way to servers that jobs name."""
        with self._lock:
            if self._outside is None:
                self._outside = Outside.of(self.settings)
            return self._outside

    @property
    def way_for_stages(self) -> Caller:
        """The way out for stages: recorded or replayed where the operator says so."""
        return with_cassette(self.outside, self.settings.outside_cassette)

    @property
    def secrets(self) -> Secrets:
        """The operator's secrets for servers outside, as they are now. Raises: InvalidRequest."""
        return Secrets.read(self.settings.outside_secrets)

    @property
    def protection(self) -> tuple[str, ...] | None:
        """What protects against the videos that its decoders open; None where it has opened none yet."""
        with self._lock:
            decoders = self._decoders
        return None if decoders is None else decoders.protection

    @property
    def engine(self) -> dict[str, Any] | None:
        """What networks and decoders have done here, as plain JSON values; None where no network was opened yet.

        decoded: frames by what decoded them.
        """
        with self._lock:
            tools, decoders = self._tools, self._decoders
        if tools is None:
            return None
        return {**tools.state(), "decoded": {} if decoders is None else decoders.decoded()}

    @contextmanager
    def working_for(self, job: str, *, priority: int, lease: Lease) -> Iterator[None]:
        """What this thread asks of networks in the block is for a job; what they did for it is noted with the job."""

        def tell(what: str | None) -> None:
            log.info("a job waits %s", fields(job=job, reason=repr(what))) if what else None
            with suppress(Unavailable):
                self.store.say_waiting(job, what)

        try:
            with working_for(Share(job, priority, tell, lease.check)):
                yield
        finally:
            use: dict[str, dict[str, Any]] = {m: use.to_dict() for m, use in self.tools.meters.take(job).items()}
            if self._decoders is not None and (decoded := self._decoders.take_decoded()):
                use[""] = {name.replace("|", " "): frames for name, frames in decoded.items()}
            with suppress(Unavailable):
                self.store.add_use(job, use)

    @property
    def tools(self) -> OnnxTools:
        """Networks and libraries for stages, from the first use on."""
        with self._lock:
            if self._tools is None:
                from cvpipe.inference import OnnxTools

                self._tools = OnnxTools.of(self.settings)
            return self._tools

    def holding(self, spec: PipelineSpec, segment: Segment) -> AbstractContextManager[None]:
        """The models of a segment stay in memory in the block. Waits for room; raises: NoRoomForModels."""
        stages = spec.make_stages()
        return self.tools.holding(name for number in segment.stages for name in stages[number].held())

    def runner(self, spec: PipelineSpec, segment: Segment) -> FramesRunner:
        """The opened segment of this thread; kept warm between chunks and jobs, as long as no model card changes."""
        cards = [find_card(self.settings.models_path, model).model_dump_json() for model in spec.models()]
        key = (threading.get_ident(), hash((spec.model_dump_json(), segment, *cards)))
        with self._lock:
            known = self._runners.pop(key, None)
            if known is not None:
                self._runners[key] = known  # most recently used goes last
        if known is None:
            known = FramesRunner(spec, segment, self.tools)
            with self._lock:
                self._runners[key] = known
                while len(self._runners) > 16:
                    del self._runners[next(iter(self._runners))]
        return known

    def hand_back(self) -> None:
        """Give back what is still worked on: who did not stop when told to can write no more, nobody waits for it."""
        for claim in [*self.taken.values(), *self.held]:
            with suppress(Unavailable):  # its lease runs out
                self.bell.ring(self.store.release(claim))

    def close(self) -> None:
        """Stop decoder processes and close connections."""
        if self._decoders is not None:
            self._decoders.__exit__(None, None, None)
        self.bell.close()
        self.store.close()


class Lease:
    """A claimed task, renewed in the background while it is worked on."""

    def __init__(self, bench: Bench, claim: Claim) -> None:
        self.claim = claim
        self.task = claim.task
        self._bench = bench
        bench.held.add(claim)
        self._lost = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {claim.task}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Call often. Raises: LeaseLost (canceled, or taken over), Stopping."""
        if self._lost.is_set():
            raise LeaseLost(f"task {self.task} is no longer ours")
        if self._bench.stopping.is_set():
            raise Stopping

    def close(self) -> None:
        """Stop renewing."""
        self._bench.held.discard(self.claim)
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        store, seconds = self._bench.store, self._bench.settings.lease_seconds
        renewed_at = time.monotonic()
        while not self._over.wait(min(_LOOK_SECONDS, seconds / 4)):
            try:
                if time.monotonic() - renewed_at < min(1.0, seconds / 4):
                    ours = store.holds(self.claim)
                else:
                    ours = store.renew(self.claim, lease_seconds=seconds)
                    renewed_at = time.monotonic()
                if not ours:
                    self._lost.set()
                    return
            except Unavailable as error:
                log.warning("can't renew the lease of %s now: %s", self.task, error)


def is_disk_full(error: BaseException) -> bool:
    """It says that a disk, or its owner's share of it, has no room; or what it was raised for does."""
    while error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, OSError) and error.errno in _NO_SPACE


OnGivenUp = Callable[[Lease, JobError], Sequence[Ring]]


@contextmanager
def leased(bench: Bench, task: str, *, on_given_up: OnGivenUp | None) -> Iterator[Lease | None]:
    """Hold a task for the length of the block: one that was taken, or that is claimed here; None: it is not to be had.

    An exception hands the task back, to be tried again after a while. After three crashes or three failures, or at once
    for what trying again can't cure, `on_given_up` is called instead; it must commit an end. None: never given up.
    """
    taken = bench.taken.pop(task, None)
    try:
        claim = taken or bench.store.claim(task, lease_seconds=bench.settings.lease_seconds)
    except StoreUnavailable as unavailable:
        log.warning("the sweeper will ring again for a task: %s %s", unavailable, fields(task=task))
        yield None
        return
    if isinstance(claim, str):
        log.debug("task not to be had %s", fields(task=task, why=claim))
        yield None
        return
    lease = Lease(bench, claim)
    try:
        if on_given_up is not None and claim.crashes >= MAX_CRASHES:
            error = JobError(code="worker_crashed", message=f"the worker died {claim.crashes} times at {task}")
            _give_up(bench, lease, error, on_given_up)
            yield None
            return
        yield lease
    except LeaseLost:
        _leave(bench, claim)
    except Stopping:
        bench.bell.ring(bench.store.release(claim))
    except StoreUnavailable as error:
        # Not the task's fault, so it counts as no failure; where the store stays away, the lease runs out.
        log.warning("task handed back: %s %s", error, fields(task=task))
        with suppress(Unavailable):
            bench.bell.ring(bench.store.release(claim, delay_seconds=1))
    except Exception as error:
        if is_disk_full(error):
            # Nor is this: it is tried again until somebody has made room.
            log.warning("task handed back: %s %s", error, fields(task=task))
            with suppress(Unavailable):
                bench.bell.ring(bench.store.release(claim, delay_seconds=_NO_SPACE_SECONDS))
            return
        if not isinstance(error, CvpipeError) or isinstance(error, StageFailed):
            log.exception("task raised %s", fields(task=task))
        _retry(bench, lease, error, on_given_up)
    finally:
        lease.close()


def _leave(bench: Bench, claim: Claim) -> None:
    log.info("left a task that is no longer ours %s", fields(task=claim.task))
    with suppress(Unavailable):  # a cancel then ends when its patience is over
        bench.bell.ring(bench.store.leave(claim))


def _retry(bench: Bench, lease: Lease, error: Exception, on_given_up: OnGivenUp | None) -> None:
    claim = lease.claim
    final = claim.failures + 1 >= MAX_FAILURES or (isinstance(error, CvpipeError) and not error.retryable)
    if final and on_given_up is not None:
        _give_up(bench, lease, _reason(error), on_given_up)
        return
    try:
        delay = 0.5 * 4 ** min(claim.failures, 6)
        bench.bell.ring(bench.store.release(claim, delay_seconds=delay, failed=True))
    except Unavailable as unavailable:
        log.warning("the task's lease will run out: %s %s", unavailable, fields(task=claim.task))


def _give_up(bench: Bench, lease: Lease, error: JobError, on_given_up: OnGivenUp) -> None:
    """Commit an end: the task's own, or, where even that fails, the job's. Otherwise it would come back for ever."""
    task = lease.claim.task
    try:
        try:
            bench.bell.ring(on_given_up(lease, error))
        except (LeaseLost, Unavailable):
            raise
        except Exception as worse:
            log.exception("giving up failed too %s", fields(task=task))
            if task.startswith(("probe:", "media:", "model:", "camera:")):
                return  # it belongs to no job; its lease runs out, and it is tried again
            job_id = task.split(":")[1]
            failed = bench.store.end_job(lease.claim, job_id, JobState.failed, error=_reason(worse), exports=[])
            bench.bell.ring(failed)
    except LeaseLost:
        _leave(bench, lease.claim)
    except Unavailable as unavailable:
        log.warning("the task's lease will run out: %s %s", unavailable, fields(task=task))


def _reason(error: Exception) -> JobError:
    if isinstance(error, CvpipeError):
        return JobError(code=error.code, message=str(error)[:1000])
    return JobError(code="internal", message=f"{type(error).__name__}: {error}"[:1000])
