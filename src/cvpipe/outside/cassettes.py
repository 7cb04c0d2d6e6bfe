"""Cassettes: answers of servers outside, recorded once and played again, so that a pipeline can be tried offline.

A cassette is a file of JSON lines. A request is known by its method, address and body; of the body only the hash is
kept, and of headers nothing, so that there are neither pictures nor secrets in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvpipe.errors import InvalidRequest, OutsideUnavailable
from cvpipe.outside.answers import Answer
from cvpipe.outside.caller import Caller
from cvpipe.outside.targets import Target

_KEPT_HEADERS = ("content-type", "retry-after", "date")


class Recording:
    """Calls, and keeps what was answered. Thread-safe."""

    def __init__(self, way: Caller, path: Path) -> None:
        self._way, self._path = way, path
        self._lock = threading.Lock()

    def check(self, url: str) -> Target:
        """See `Outside.check`."""
        return self._way.check(url)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        max_answer_bytes: int,
    ) -> Answer:
        """See `Outside.call`; where there is no answer, nothing is kept."""
        answer = self._way.call(
            method, url, headers=headers, body=body, timeout_seconds=timeout_seconds, max_answer_bytes=max_answer_bytes
        )
        line = {
            "request": _name(method, url, body),
            "url": url,
            "status": answer.status,
            "reason": answer.reason,
            "headers": {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers},
            "body": base64.b64encode(answer.body).decode(),
            "problem": answer.problem,
        }
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return answer


class Replaying:
    """Answers from a cassette, and calls nobody. The last answer to a request counts."""

    def __init__(self, path: Path) -> None:
        """Raises: InvalidRequest where there is no cassette, or something else."""
        self._known: dict[str, dict[str, Any]] = {}
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self._known[entry["request"]] = entry
        except OSError as error:
            raise InvalidRequest(f"the cassette {path} can't be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise InvalidRequest(f"{path} is no cassette: wanted lines of JSON as they were recorded") from None

    def check(self, url: str) -> Target:
        """Where a call would go; nobody is called."""
        return Target.parse(url)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],  # noqa: ARG002 - of no account to a cassette
        body: bytes = b"",
        timeout_seconds: float,  # noqa: ARG002 - see headers
        max_answer_bytes: int,  # noqa: ARG002 - see headers
    ) -> Answer:
        """What was recorded. Raises: OutsideUnavailable where nothing was."""
        entry = self._known.get(_name(method, url, body))
        if entry is None:
            raise OutsideUnavailable("the cassette has no answer to this request; record it again")
        return Answer(
            entry["status"], entry["reason"], entry["headers"], base64.b64decode(entry["body"]), entry["problem"]
        )


def with_cassette(way: Caller, setting: str | None) -> Caller:
    """The way out as a setting says: `record:FILE`, `replay:FILE`, or as it is. Raises: InvalidRequest."""
    mode, _, name = (setting or "").partition(":")
    if mode == "replay":
        return Replaying(Path(name))
    return Recording(way, Path(name)) if mode == "record" else way


def _name(method: str, url: str, body: bytes) -> str:
    return hashlib.sha256(b"\0".join((method.encode(), url.encode(), body))).hexdigest()
