"""What the documents and the examples show is run as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cvpipe
from cvpipe.client.following import PAGE_RECORDS
from cvpipe.client.sse import MAX_EVENT_BYTES
from cvpipe.client.steps import BLOCK_BYTES, CALL_WAITS, FOLLOW_WAITS
from cvpipe.client.uploading import PART_BYTES
from cvpipe.job import JobState
from cvpipe.outside import Outside, Rules
from cvpipe.store import Store
from cvpipe.webhooks import MAX_ATTEMPTS, SCHEDULE_SECONDS, deliver
from tests.api import worker
from tests.client.server import Service

HERE = Outside(Rules(loopback=True))


def blocks(document: Path) -> list[str]:
    """The Python in a document, to be run from the top."""
    return re.findall(r"^```python\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def workers(store: Store) -> Iterator[None]:
    """Somebody does every job that is submitted."""
    over = threading.Event()
    failures: list[BaseException] = []
    done: set[str] = set()

    def work() -> None:
        try:
            while not over.wait(0.02):
                queued = {job.id for job in store.jobs("default", state=JobState.queued)[0]}
                for job in queued - done:
                    worker.run(store, job, chunks=3)
                    done.add(job)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join(60)
    assert failures == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service) -> Path:
    """A folder with a video, and the service at the default address."""
    (tmp_path / "street.mp4").write_bytes(b"a video")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here", "workers")
def test_the_code_in_the_clients_document_runs(
    root: Path, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    code = "\n".join(blocks(root / "docs/client.md")).replace("http://127.0.0.1:8000", service.url)
    exec(code, names)
    names["client"].close()
    printed = capsys.readouterr().out
    assert "0 0.0 ok 1\n" in printed
    assert "29 2.9 ok 1\nsucceeded\n" in printed
    assert "person 0.5 [10.  1. 19. 20.]" in printed
    assert "person 0.5 [25.  1. 34. 20.]" not in printed
    assert "100%" in printed
    assert "not_found 404" in printed


def test_the_clients_document_lists_every_call(root: Path) -> None:
    document = (root / "docs/client.md").read_text()
    calls = {name for name in vars(cvpipe.Client) if not name.startswith("_") and name != "close"}
    assert {name for name in calls if f"`{name}(" not in document} == set()


def test_the_numbers_in_the_clients_document_are_those_of_the_code(root: Path) -> None:
    document = (root / "docs/client.md").read_text()
    assert f"one page of {PAGE_RECORDS} records" in document
    assert f"an event over {MAX_EVENT_BYTES // 2**20} MiB" in document
    assert f"`upload` holds a\npart of {PART_BYTES // 2**20} MiB, `download` {BLOCK_BYTES // 1024} KiB" in document
    assert f"one of {PART_BYTES // 2**20} MiB or more" in document
    assert sum(CALL_WAITS) == pytest.approx(3)
    assert sum(FOLLOW_WAITS) == pytest.approx(60)


def test_the_code_in_the_webhooks_document_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec("\n".join(blocks(root / "docs/webhooks.md")), {})
    secret, taken, refused = capsys.readouterr().out.splitlines()
    assert secret.startswith("whsec_")
    assert taken == "job.succeeded 01jf4kzq"
    assert refused.startswith("refused: no signature matches")


def test_the_schedule_in_the_webhooks_document_is_that_of_the_code(root: Path) -> None:
    document = (root / "docs/webhooks.md").read_text()
    units = {"s": 1, "min": 60, "h": 3600}
    told = re.search(r"waits of ([^:]*) between", document)
    assert told is not None
    waits = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", told[1])]
    assert waits == list(SCHEDULE_SECONDS)
    assert MAX_ATTEMPTS == 10
    assert "up to ten attempts" in document


@contextmanager
def started(root: Path, example: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An example, as a user starts it."""
    path = str(Path(cvpipe.__file__).parents[1])
    command = [sys.executable, str(root / "examples" / example), *arguments]
    with subprocess.Popen(command, env={"PYTHONPATH": path, "PATH": ""}, text=True, stdout=subprocess.PIPE) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.usefixtures("workers")
def test_the_example_that_follows_a_job_prints_every_record(root: Path, service: Service, here: Path) -> None:
    with started(root, "client_follow.py", str(here / "street.mp4"), "edges", service.url) as program:
        printed = program.communicate(timeout=100)[0].splitlines()
    assert program.returncode == 0
    assert printed[0] == "sent 7 of 7 bytes"
    assert printed[1:-1] == [f"{number / 10:8.2f} s person" for number in range(30)]
    assert printed[-1] == "succeeded"


@pytest.mark.usefixtures("workers")
def test_the_asynchronous_example_counts_in_several_videos(root: Path, service: Service, here: Path) -> None:
    videos = [str(here / f"{number}.mp4") for number in range(3)]
    for video in videos:
        Path(video).write_text(video)
    with started(root, "client_async.py", service.url, "edges", *videos) as program:
        printed = program.communicate(timeout=100)[0].splitlines()
    assert program.returncode == 0
    assert sorted(printed) == [f"{video}: 30 objects on 30 frames" for video in videos]


def test_the_webhook_example_takes_what_is_signed_with_its_secret(
    root: Path, service: Service, here: Path, store: Store
) -> None:
    with started(root, "client_webhook.py", str(here / "street.mp4"), "edges", service.url) as program:
        until = time.monotonic() + 100
        while not (jobs := store.jobs("default")[0]):
            assert time.monotonic() < until, "the example submitted nothing"
            time.sleep(0.05)
        document = store.job_doc(worker.named(jobs[0].id))
        body = b'{"type":"job.succeeded","data":{"id":"1"}}'
        assert deliver(HERE, document["webhook_url"], document["webhook_secrets"], "msg_1", body).delivered
        assert program.communicate(timeout=100)[0] == "job.succeeded 1\n"
    assert program.returncode == 0
