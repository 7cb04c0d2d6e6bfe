"""For whom a thread works just now: its job, how urgent it is, and whom to tell what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A job's claim to the device. priority: 0 to 9, 9 goes first.

    tell: called with what the job waits for, and with None when it goes on. check: called now and then while it waits;
    what it raises ends the wait.
    """

    job: str = ""
    priority: int = 4
    tell: Callable[[str | None], None] | None = None
    check: Callable[[], None] | None = None

    def say(self, what: str | None) -> None:
        """Tell the job what it waits for; None: it goes on."""
        if self.tell is not None:
            self.tell(what)

    def look_up(self) -> None:
        """Called now and then while waiting. Raises: what `check` does."""
        if self.check is not None:
            self.check()


_current: ContextVar[Share] = ContextVar("share", default=Share())  # noqa: B039 - frozen


def current() -> Share:
    """This thread's."""
    return _current.get()


@contextmanager
def working_for(share: Share) -> Iterator[None]:
    """What this thread asks of networks in the block is for `share`."""
    token = _current.set(share)
    try:
        yield
    finally:
        _current.reset(token)
