"""From any exception to one line on standard error and an exit code."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from typing import Any

import typer

from cvpipe.cli.exits import ExitCode, exit_code_of
from cvpipe.cli.extras import missing_extra
from cvpipe.errors import CvpipeError, InvalidRequest

_INPUT_ERRNOS = frozenset(
    getattr(errno, name)
    for name in ("ENOENT", "EACCES", "EPERM", "EISDIR", "ENOTDIR", "EEXIST", "EROFS", "ENAMETOOLONG")
)


def report(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Tell of `error` on standard error; returns the exit code."""
    if isinstance(error, SystemExit):
        return _broken_pipe() if isinstance(error.__context__, BrokenPipeError) else int(error.code or 0)
    if isinstance(error, BrokenPipeError):
        return _broken_pipe()
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        _tell("interrupted", code="interrupted", exit_code=ExitCode.interrupted, as_json=as_json)
        return ExitCode.interrupted
    if debug:
        traceback.print_exception(error)
    message, code, exit_code, more = _read(error)
    _tell(message, code=code, exit_code=exit_code, as_json=as_json, **more)
    return exit_code


def _read(error: BaseException) -> tuple[str, str, ExitCode, dict[str, Any]]:
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, CvpipeError):
        error = missing_extra(error) or error
    if isinstance(error, CvpipeError):
        more = {"field": error.field} if error.field else {}
        return str(error), error.code, exit_code_of(error), more
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "cvpipe"
        return f"{error.format_message().rstrip('.')}; see `{where} --help`", "usage", ExitCode.usage, {}
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        is_input = error.errno in _INPUT_ERRNOS
        return what, InvalidRequest.code if is_input else "os", ExitCode.usage if is_input else ExitCode.unavailable, {}
    what = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return f"{what} (a defect of cvpipe; CVPIPE_DEBUG=1 shows where)", "internal", ExitCode.internal, {}


def _tell(message: str, *, code: str, exit_code: ExitCode, as_json: bool, **more: Any) -> None:
    if as_json:
        line = json.dumps({"type": code, "detail": message, **more, "exit_code": int(exit_code)}, ensure_ascii=False)
    else:
        line = "error: " + " ".join(message.split())  # one line, whatever the message holds
    sys.stderr.write(line + "\n")


def _broken_pipe() -> int:
    # What is still in the buffer can't go anywhere; without this the interpreter would complain of it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.broken_pipe
