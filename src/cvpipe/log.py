"""Logging: one line an event on standard error, key=value pairs behind the message."""

from __future__ import annotations

import logging
import sys
from typing import Any


def configure(level: str = "info") -> None:
    """Send cvpipe's and Dramatiq's log lines to standard error; call once, at an entry point."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s %(message)s",
        force=True,
    )
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It raises what it logs as an error, and we say in one line what follows from that.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def fields(**values: Any) -> str:
    """`key=value` pairs for the end of a log message, in the order given."""
    return " ".join(f"{key}={value}" for key, value in values.items())
