from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cvpipe.webhooks import new_secret, sign
from examples.demo import run
from examples.demo.receiver import Receiver

SECRET = new_secret()
BODY = b'{"type":"job.succeeded","data":{"id":"abc"}}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as listening:
        yield listening


def test_the_receiver_takes_a_webhook_that_is_signed(receiver: Receiver) -> None:
    answer = httpx.post(receiver.url, content=BODY, headers=sign(SECRET, "msg_1", time.time(), BODY), trust_env=False)
    assert answer.status_code == 204
    taken = receiver.wait(60)
    assert taken is not None
    assert (taken.id, taken.message["type"]) == ("msg_1", "job.succeeded")


def test_the_receiver_refuses_what_another_signed(receiver: Receiver) -> None:
    headers = sign(new_secret(), "msg_1", time.time(), BODY)
    assert httpx.post(receiver.url, content=BODY, headers=headers, trust_env=False).status_code == 401
    assert httpx.post(receiver.url, content=BODY, trust_env=False).status_code == 401
    assert receiver.wait(0.05) is None


def fake_service(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


UP = 'import time; print(\'{"url": "http://127.0.0.1:1"}\', flush=True); time.sleep(60)'


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Processes that the demo starts."""
    processes: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            processes.append(self)

    monkeypatch.setattr(run.subprocess, "Popen", Recorded)
    return processes


def test_the_address_comes_from_the_service_itself(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    with run.running_service(tmp_path, fake_service(UP)) as wait_until_up:
        assert wait_until_up() == "http://127.0.0.1:1"
        assert is_running(started[0].pid)
    assert started[0].returncode == -signal.SIGTERM


@pytest.mark.parametrize("error", [KeyboardInterrupt, run.DemoFailed, ValueError])
def test_the_service_is_stopped_whatever_happens(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], error: type[BaseException]
) -> None:
    with pytest.raises(error), run.running_service(tmp_path, fake_service(UP)):
        raise error
    assert started[0].returncode == -signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_service_that_does_not_stop_is_killed(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_STOP_SECONDS", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + UP
    with run.running_service(tmp_path, fake_service(deaf)) as wait_until_up:
        wait_until_up()
    assert started[0].returncode == -signal.SIGKILL


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    broken = fake_service("import sys; sys.exit('the port is taken')")
    with (
        run.running_service(tmp_path, broken) as wait_until_up,
        pytest.raises(run.DemoFailed, match="the port is taken"),
    ):
        wait_until_up()


def test_settings_of_another_service_do_not_reach_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVPIPE_REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("CVPIPE_THREADS", "1")
    tell = "import os, json; print(json.dumps({'url': sorted(k for k in os.environ if k.startswith('CVPIPE_'))}))"
    with run.running_service(tmp_path, fake_service(tell)) as wait_until_up:
        assert wait_until_up() == "['CVPIPE_THREADS']"


@contextmanager
def demo_running(root: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo as `make demo` starts it; killed at the end if it still runs."""
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}", "COLUMNS": "160"}
    with subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--out", str(out)],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a signal to the demo's group must not reach the tests
    ) as demo:
        try:
            yield demo
        finally:
            demo.kill()


def processes_that_know(folder: Path) -> set[int]:
    """Process ids of all that have `folder` in their arguments or environment: the demo and its service's children."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is no process of ours
        if os.fsencode(folder) in known:
            found.add(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_the_demo_finds_all_as_drawn(root: Path, tmp_path: Path) -> None:
    with demo_running(root, tmp_path) as demo:
        said, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, said
    assert "all found as drawn" in said
    assert "job.succeeded, verified" in said
    assert "/docs while it is up" in said
    for plate in ("BV 3975", "MX 6284", "KA 4729", "RT 8351"):
        assert f"{plate}, #" in said
    records = [json.loads(line) for line in (tmp_path / "frames.ndjson").read_text(encoding="utf-8").splitlines()]
    assert len(records) == 40
    assert (tmp_path / "annotated.mp4").stat().st_size > 100_000
    assert processes_that_know(tmp_path) == set()


@pytest.mark.slow
def test_a_demo_that_is_interrupted_leaves_nothing_running(root: Path, tmp_path: Path) -> None:
    with demo_running(root, tmp_path) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("job "):
                break
        assert len(processes_that_know(tmp_path)) > 3
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: all in the foreground get it
        said, _ = demo.communicate(timeout=200)
    assert demo.returncode == 130, said
    assert "interrupted; the service is stopped" in said
    assert processes_that_know(tmp_path) == set()
