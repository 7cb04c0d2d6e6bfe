"""Exit codes: the one place that says what each means. A test compares it with the table in `docs/cli.md`."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

from cvpipe.errors import (
    AlreadyRunning,
    ApiError,
    Conflict,
    CvpipeError,
    DeviceUnavailable,
    ExtraMissing,
    InvalidRequest,
    LeaseLost,
    NotFound,
    StageFailed,
    TooLarge,
    Unavailable,
    VideoError,
    WaitTimeout,
)


class ExitCode(IntEnum):
    """What an exit code of `cvpipe` means."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """A code with its meaning."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    ok = 0, "All went well. `up`, `api`, `worker` and `sweep`: stopped because they were asked to."
    failed = 1, "The job failed or was canceled; `doctor` found a problem."
    usage = 2, "The command line or an input is wrong: an option, a pipeline, a video, a name that does not exist."
    unavailable = 3, "Something needed is not there: the service, the store, a package, a device, disk space."
    conflict = 4, "The thing is in a state that forbids this: already up, port in use, job still running."
    gaps = 5, "The job is done, but some frames could not be read or understood, or a file not made."
    internal = 70, "A defect of cvpipe. CVPIPE_DEBUG=1 shows the traceback."
    timed_out = 124, "The job did not end in the time given with --timeout. It goes on."
    interrupted = 130, "Interrupted (Ctrl-C)."
    broken_pipe = 141, "Whoever read the output stopped reading."


_BY_CLASS: tuple[tuple[type[CvpipeError], ExitCode], ...] = (
    (InvalidRequest, ExitCode.usage),
    (NotFound, ExitCode.usage),
    (TooLarge, ExitCode.usage),
    (VideoError, ExitCode.usage),
    (Unavailable, ExitCode.unavailable),
    (DeviceUnavailable, ExitCode.unavailable),
    (ExtraMissing, ExitCode.unavailable),
    (Conflict, ExitCode.conflict),
    (AlreadyRunning, ExitCode.conflict),
    (LeaseLost, ExitCode.conflict),
    (WaitTimeout, ExitCode.timed_out),
    (StageFailed, ExitCode.failed),
)

_CONFLICT_STATUS = 409
_FIRST_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429


def exit_code_of(error: CvpipeError) -> ExitCode:
    """The exit code for an error."""
    if isinstance(error, ApiError):
        if error.status == _CONFLICT_STATUS:
            return ExitCode.conflict
        is_ours = error.status >= _FIRST_SERVER_ERROR or error.status == _TOO_MANY_REQUESTS
        return ExitCode.unavailable if is_ours else ExitCode.usage
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), ExitCode.internal)


def exit_code_of_state(state: str) -> ExitCode:
    """The exit code for a job that ended in `state`."""
    return {"succeeded": ExitCode.ok, "succeeded_with_gaps": ExitCode.gaps}.get(state, ExitCode.failed)
