"""Ask servers outside, within limits; every call is written down before it is made and after."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from cvpipe import __version__
from cvpipe.calls import Asking, CallRecord
from cvpipe.errors import AddressRefused, CallFailed, OutsideUnavailable
from cvpipe.job import JobError
from cvpipe.log import fields
from cvpipe.stages import blaming

if TYPE_CHECKING:
    from cvpipe.outside import Answer, Caller
    from cvpipe.stages.external import External, ExternalOptions

log = logging.getLogger(__name__)

_TRY_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_BACKOFF_SECONDS: Final = 0.5
_MAX_WAIT_SECONDS: Final = 30.0
_MAX_ANSWER_BYTES: Final = 4 * 2**20
_LOOK_SECONDS: Final = 0.2


class Ledger(Protocol):
    """Where calls are written down. Thread-safe."""

    def known(self) -> Mapping[str, CallRecord]:
        """All calls written so far, by id."""
        ...

    def put(self, call: CallRecord) -> None:
        """Write a call down, or what has become of it; it is kept when this returns. Raises: LeaseLost."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A call to be made, or a line of the ledger about why it is not."""

    record: CallRecord
    asked: Sequence[Asking]


class Asker:
    """The calls of one stage. Budget, rate and breaker count over all its threads; the budget over earlier runs too."""

    def __init__(
        self, stage: External, headers: Mapping[str, str], way: Caller, ledger: Ledger,
        known: dict[str, CallRecord], *, rounds: int,
    ) -> None:  # fmt: skip
        """headers: to be sent along. known: what the ledger has; kept up to date. rounds: see `CallRecord.round`."""
        from jsonschema import Draft202012Validator

        self._stage, self._headers, self._way, self._ledger, self._known = stage, headers, way, ledger, known
        self._options: ExternalOptions = stage.options
        self._schema = Draft202012Validator(self._options.answer)  # without references: see the stage's options
        mine = [call for call in known.values() if call.stage == stage.name]
        self._attempts = sum(call.attempts for call in mine)
        self._bytes = sum(call.bytes_sent for call in mine)
        self._rounds = rounds
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failed_on_end = 0
        self._open_until = self._next_at = 0.0

    def run(self, questions: Iterable[Question], check: Callable[[], None], is_turn_over: Callable[[], bool]) -> bool:
        """Make the calls, so many at a time; False where the turn was over before. Memory: the bodies of these."""
        done: queue.Queue[CallRecord | Exception] = queue.Queue()
        under_way, is_over = 0, False
        waiting: list[CallRecord] = []
        try:
            for question in questions:
                check()
                before = self._known.get(question.record.id)
                if before is not None and before.is_settled(self._rounds):
                    continue
                if question.record.is_over:
                    if not self._settled(question.record):
                        waiting.append(question.record)
                    continue
                while under_way >= self._options.concurrency:
                    under_way -= self._taken(done, check)
                if is_over := is_turn_over():
                    break
                under_way += 1
                # A thread that nobody waits for: a worker that is told to stop must not wait for a slow server.
                threading.Thread(target=self._ask, args=(question, before, done), daemon=True).start()
            while under_way:
                under_way -= self._taken(done, check)
        finally:
            self._over.set()
        for record in waiting:
            self._settled(record)
        return not is_over

    def _taken(self, done: queue.Queue[CallRecord | Exception], check: Callable[[], None]) -> int:
        """Take what a thread has done; 0 where none has yet."""
        check()
        try:
            got = done.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            return 0
        if isinstance(got, Exception):
            raise got
        self._keep(got)
        return 1

    def _settled(self, record: CallRecord) -> bool:
        """Write down a call that is not made; False where the one that it is the same as is not over yet."""
        change: dict[str, Any] = {"error": record.error}
        if record.same_as is not None:
            original = self._known.get(record.same_as)
            if original is None or not original.is_over:
                return False
            change = {"values": original.items[0].values, "error": original.items[0].error}
        items = [item.model_copy(update=change) for item in record.items]
        record = record.model_copy(update={"items": items})
        self._ledger.put(record)
        self._keep(record)
        return True

    def _keep(self, record: CallRecord) -> None:
        self._known[record.id] = record
        wrong = next((item.error for item in record.items if item.error is not None), None)
        if wrong is not None and self._options.on_error == "fail":
            raise CallFailed(f"stage {self._stage.name!r}: {wrong.message} ({wrong.code})")

    def _ask(self, question: Question, before: CallRecord | None, done: queue.Queue[CallRecord | Exception]) -> None:
        """One call, in a thread of its own."""
        try:
            done.put(self._called(question, before))
        except Exception as error:  # noqa: BLE001 - raised by who waits for this thread
            done.put(error)

    def _called(self, question: Question, before: CallRecord | None) -> CallRecord:
        with blaming(self._stage):
            body = self._stage.body(question.asked)
        # What an earlier run had begun counts, and is made again: nobody knows whether the server did it.
        record = (
            question.record
            if before is None
            else before.model_copy(
                update={"state": "sent", "error": None, "round": self._rounds, "items": question.record.items}
            )
        )
        began = time.monotonic()
        wrong: JobError | None = None
        for attempt in range(1 + self._options.retries):
            refused = self._leave_to_call(len(body), is_first=attempt == 0)
            if refused is not None:
                state = "skipped" if record.attempts == 0 else "failed"
                return self._ended(record.model_copy(update={"state": state}), wrong or refused, began)
            count, size = record.attempts + 1, record.bytes_sent + len(body)
            record = record.model_copy(update={"attempts": count, "bytes_sent": size, "at": round(time.time(), 3)})
            self._ledger.put(record)
            answer, wrong, wait = self._attempt(record.id, body)
            if answer is not None:
                received = record.bytes_received + len(answer.body)
                record = record.model_copy(update={"status": answer.status, "bytes_received": received})
            if wrong is None:
                assert answer is not None
                self._note(is_down=False)
                return self._answered(record, answer, began)
            if wait is None or attempt == self._options.retries or self._over.is_set():
                self._note(is_down=wait is not None)
                break
            self._over.wait(wait or min(_BACKOFF_SECONDS * 2**attempt, _MAX_WAIT_SECONDS) * _jitter())
        assert wrong is not None
        return self._ended(record.model_copy(update={"state": "failed"}), wrong, began)

    def _attempt(self, call_id: str, body: bytes) -> tuple[Answer | None, JobError | None, float | None]:
        """One attempt: the answer, what is wrong, and how long to wait for another; 0: as always, None: none helps."""
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "user-agent": f"cvpipe/{__version__}",
            "idempotency-key": f"cvpipe-{call_id}",
            **self._headers,
        }
        try:
            answer = self._way.call(
                "POST",
                self._options.url,
                headers=headers,
                body=body,
                timeout_seconds=self._options.timeout_seconds,
                max_answer_bytes=_MAX_ANSWER_BYTES,
            )
        except (OutsideUnavailable, AddressRefused) as error:
            return None, JobError(code=error.code, message=error.message), 0 if error.retryable else None
        if answer.problem is not None:
            return answer, JobError(code="answer_unusable", message=answer.problem), 0
        if 200 <= answer.status < 300:
            return answer, None, None
        wrong = JobError(code="call_refused", message=f"HTTP {answer.status} {answer.reason}".strip())
        if answer.status not in _TRY_AGAIN:
            return answer, wrong, None
        return answer, wrong, min(answer.retry_after_seconds or 0, _MAX_WAIT_SECONDS)

    def _answered(self, record: CallRecord, answer: Answer, began: float) -> CallRecord:
        record = record.model_copy(update={"state": "answered"})
        try:
            said = self._stage.read(answer.body, len(record.items))
        except (ValueError, RecursionError) as error:
            what = f"the answer can't be read: {error}"[:300]
            return self._ended(record, JobError(code="answer_unusable", message=what), began)
        items = []
        for item, value in zip(record.items, said, strict=True):
            wrong = next(iter(self._schema.iter_errors(value)), None)
            if wrong is None and isinstance(value, dict):
                items.append(item.model_copy(update={"values": value}))
            else:
                message = "the answer is no JSON object" if wrong is None else _why(wrong)
                items.append(item.model_copy(update={"error": JobError(code="answer_unusable", message=message)}))
        record = record.model_copy(update={"items": items, "seconds": round(time.monotonic() - began, 3)})
        self._ledger.put(record)
        return record

    def _ended(self, record: CallRecord, error: JobError, began: float) -> CallRecord:
        items = [item.model_copy(update={"error": error}) for item in record.items]
        seconds = round(time.monotonic() - began, 3)
        record = record.model_copy(update={"error": error, "items": items, "seconds": seconds})
        log.info("a call outside %s %s", record.state, fields(stage=self._stage.name, code=error.code, call=record.id))
        self._ledger.put(record)
        return record

    def _leave_to_call(self, size: int, *, is_first: bool) -> JobError | None:
        """Wait for the rate, and take from the budget; or why no call may be made."""
        options, now = self._options, time.monotonic()
        with self._lock:
            if is_first and self._failed_on_end >= options.breaker:
                if now < self._open_until:
                    return JobError(code="circuit_open", message="the server failed again and again; it is left alone")
                self._open_until = now + options.breaker_seconds  # this one tries it, and nobody else meanwhile
            if self._attempts >= options.max_calls:
                return JobError(code="budget_spent", message=f"all {options.max_calls} calls of `max_calls` are made")
            if self._bytes + size > options.max_bytes:
                return JobError(code="budget_spent", message=f"it would be more than {options.max_bytes} bytes in all")
            self._attempts += 1
            self._bytes += size
            wait = 0.0
            if options.rate_per_second is not None:
                self._next_at = max(now, self._next_at)
                wait = self._next_at - now
                self._next_at += 1 / options.rate_per_second
        self._over.wait(wait)
        return None

    def _note(self, *, is_down: bool) -> None:
        """Count calls that failed on end, for the breaker."""
        with self._lock:
            self._failed_on_end = self._failed_on_end + 1 if is_down else 0
            if self._failed_on_end >= self._options.breaker:
                self._open_until = time.monotonic() + self._options.breaker_seconds


def _jitter() -> float:
    return random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing


def _why(wrong: Any) -> str:
    """What a JSON Schema validator found wrong, in one line."""
    where = ".".join(str(part) for part in wrong.absolute_path)
    return f"the answer is not as declared: {where + ': ' if where else ''}{wrong.message}"[:300]
