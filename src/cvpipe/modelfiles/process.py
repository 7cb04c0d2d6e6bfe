"""Trying a model in a process of its own: what a hostile file can do there is be refused with a code."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from cvpipe import errors
from cvpipe.errors import InvalidModel, ModelCrashed, ModelTimeout, TooLarge, Unavailable
from cvpipe.inference.cards import ModelCard
from cvpipe.modelfiles.found import Found
from cvpipe.modelfiles.wish import Wish
from cvpipe.settings import Settings

_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from cvpipe.modelfiles.child import main; main(*map(int, sys.argv[2:]))"
)
_ANSWER_BYTES: Final = 32 * 2**20
_ERRORS: Final[Mapping[str, type[InvalidModel]]] = {
    cls.code: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, InvalidModel)
}


class Step(BaseModel):
    """One thing that `check` looked at."""

    what: str = Field(max_length=100)
    ok: bool
    words: str = Field(max_length=5000)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the process that tries a model. memory_bytes: of address space. seconds: of time, and of processor time."""

    memory_bytes: int = 4 * 2**30
    seconds: float = 120
    max_bytes: int = 2 * 2**30 - 1

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """As the operator has set them."""
        return cls(settings.model_memory_bytes, settings.model_timeout_seconds, settings.max_model_bytes)


def examine(file: Path, wish: Wish, name: str, limits: Limits) -> tuple[Found, bytes | None]:
    """What is found out about an ONNX file, and the edited file; None: it is to be kept as it came.

    Raises: InvalidModel and those below it, TooLarge, Unavailable, ExtraMissing.
    """
    order = {"order": "add", "wish": wish.model_dump(mode="json"), "name": name}
    said, kept = _ask([file], order, limits)
    try:
        found = Found.model_validate(said.get("found"))
    except ValidationError as error:
        raise ModelCrashed("the process that tried it said what can't be") from error
    if found.edited and not kept:
        raise ModelCrashed("the process that tried it gave no file")
    return found, kept if found.edited else None


def check(file: Path, card: ModelCard, limits: Limits) -> list[Step]:
    """What is right and wrong with a card's file, in order, up to the first thing that is wrong."""
    try:
        said, _ = _ask([file], {"order": "check", "card": card.model_dump(mode="json")}, limits)
        return [Step(what=what, ok=ok, words=_line(words)) for what, ok, words in said["steps"]]
    except InvalidModel as error:
        return [Step(what="trial", ok=False, words=f"{error.code}: {error.message}")]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelCrashed("the process that tried it said what can't be") from error


def try_captioner(card: ModelCard, files: Sequence[Path], limits: Limits) -> None:
    """Have a captioning card's networks say two words. files: the card's file and all of its further ones.

    Raises: InvalidModel and those below it, TooLarge, Unavailable.
    """
    order = {"order": "caption", "card": card.model_dump(mode="json"), "names": [file.name for file in files]}
    _ask(files, order, limits)


def too_large(size: int, limits: Limits) -> TooLarge:
    """The error for a file of `size` bytes, more than are allowed."""
    return TooLarge(f"the file has {size} bytes; at most {limits.max_bytes} are accepted (CVPIPE_MAX_MODEL_BYTES)")


def _ask(files: Sequence[Path], order: dict[str, Any], limits: Limits) -> tuple[dict[str, Any], bytes]:
    """The answer to an order about files, and what the process wrote of them. Raises as `examine` does."""
    seconds = math.ceil(limits.seconds)
    wanted = {**order, "memory_bytes": limits.memory_bytes, "cpu_seconds": seconds}
    with ExitStack() as stack:

        def keep(fd: int) -> int:
            stack.callback(os.close, fd)
            return fd

        models = []
        for file in files:
            try:
                models.append(keep(os.open(file, os.O_RDONLY | os.O_CLOEXEC)))
            except OSError as error:
                raise InvalidModel(f"can't read {file.name}: {error.strerror}", field="file") from error
        size = sum(os.fstat(model).st_size for model in models)
        if size > limits.max_bytes:
            raise too_large(size, limits)
        try:
            inward, outward, kept = (
                keep(os.memfd_create(name, os.MFD_CLOEXEC)) for name in ("order", "answer", "kept")
            )
            os.write(inward, json.dumps(wanted).encode())
            status, peak = _run((inward, outward, kept, *models), limits.seconds)
        except OSError as error:
            raise Unavailable(f"the process that tries models does not start: {error}") from error
        said = _read(outward, _ANSWER_BYTES)
        answer = _understood(said) if status == 0 else None
        if answer is None:
            raise _ended(status, peak, limits)
        return answer, _read(kept, 2 * size + 2**26)


def _run(fds: tuple[int, ...], seconds: float) -> tuple[int | None, int]:
    """How the process ended (None: it was killed for taking too long), and the most memory it had, in bytes."""
    # Isolated mode ignores PYTHONPATH and the current folder, so our own path is handed over.
    path = [str(Path(entry).absolute()) for entry in sys.path if entry]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOT, json.dumps(path), str(os.getpid()), *map(str, fds)],
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if "CVPIPE_DEBUG" not in os.environ else None,
        cwd="/",
        env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        status: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        process.kill()
        process.wait()
    return status, max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024


def _understood(said: bytes) -> dict[str, Any] | None:
    """The answer; None where it is none. Raises: the error that it tells."""
    try:
        answer = json.loads(said)
        told = answer.get("error")
        error = None if told is None else _ERRORS[told["code"]](_line(told["message"]), field=told.get("field"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if error is not None:
        raise error
    return dict(answer)


def _ended(status: int | None, peak: int, limits: Limits) -> InvalidModel:
    if status is None or status == -signal.SIGXCPU:
        return ModelTimeout(f"trying it took longer than {limits.seconds:g} s (CVPIPE_MODEL_TIMEOUT_SECONDS)")
    if status == -signal.SIGKILL:
        return ModelCrashed("the process that tried it was killed; maybe the machine ran out of memory")
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return ModelCrashed(f"the process that tried it died ({how}, at most {peak // 2**20} MiB)")


def _read(fd: int, most: int) -> bytes:
    size = os.fstat(fd).st_size
    if size > most:
        raise ModelCrashed("the process that tried it said too much")
    return os.pread(fd, size, 0) if size < 2**30 else b"".join(os.pread(fd, 2**28, at) for at in range(0, size, 2**28))


def _line(said: Any) -> str:
    """Text that can be shown: one line, no control characters."""
    text = "".join(c if c.isprintable() else " " for c in str(said)[:4000])
    return " ".join(text.split())
