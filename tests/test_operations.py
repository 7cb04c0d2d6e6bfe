"""The commands of docs/operations.md do what it says: they are run as they stand there."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from cvpipe.settings import Settings
from cvpipe.store import Store
from tests.api import worker
from tests.api.conftest import Service
from tests.servers import RedisServer

EXPORT = b"{}\n" * 50


def commands(root: Path, heading: str, comment: str) -> str:
    """The block of commands under a heading that begins with a comment."""
    page = (root / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) if block.startswith(f"# {comment}")]
    assert len(blocks) == 1
    return blocks[0]


def run(script: str, data: Path, backup: Path) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DATA": str(data), "BACKUP": str(backup)}
    done = subprocess.run(
        ["sh", "-euc", script], env=env, capture_output=True, text=True, timeout=60, check=False
    )  # pipefail is no word of sh
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def at_work(data: Path) -> Iterator[tuple[httpx.Client, Store]]:
    """A service on a data directory, its Redis in `store` as that of `cvpipe up`; killed at the end."""
    (data / "store").mkdir(parents=True, exist_ok=True)
    redis = RedisServer(data / "store")
    redis.start()
    try:
        service = Service(Settings(redis_url=redis.url, data_dir=data, port=0))
        service.start()
        store = Store.connect(redis.url)
        try:
            with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as api:
                yield api, store
        finally:
            store.close()
            service.stop()
    finally:
        redis.kill()


def frames(api: httpx.Client, job: str) -> list[int]:
    return [frame["frame"] for frame in api.get(f"/v1/jobs/{job}/frames").json()["frames"]]


def test_what_was_backed_up_is_restored_and_work_goes_on(root: Path, tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with at_work(data) as (api, store):
        done = worker.submit(api, labels={"which": "done"})["id"]
        worker.plan(store, done, chunks=2)
        for chunk in range(2):
            worker.work_chunk(store, done, chunk)
        worker.finish(store, done, folder=data, exports={"frames.ndjson": EXPORT})
        running = worker.submit(api, labels={"which": "running"})["id"]
        worker.plan(store, running, chunks=2)
        worker.work_chunk(store, running, 0)
        held = worker.claim(store, f"chunk:{worker.named(running)}:0:1")
        worker.append(store, held, running, 1, range(10, 14))
        video = hashlib.sha256(b"a video").hexdigest()

        run(commands(root, "Backup", "cvpipe up"), data, backup)

        worker.append(store, held, running, 1, range(14, 17))
        later = worker.submit(api, labels={"which": "later"})["id"]
    tail = max((backup / "store" / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_size)
    with tail.open("ab") as file:  # what a copy has that was made in the middle of a write
        file.write(b"*3\r\n$3\r\nSET\r\n$5\r\nhal")
    shutil.rmtree(data / "videos")

    said = run(commands(root, "Restore", "what is there"), data, backup)

    assert "Successfully truncated AOF" in said
    assert len(list(data.glob("store.*"))) == 1
    with at_work(data) as (api, store):
        assert (api.get(f"/v1/jobs/{done}").json()["state"], frames(api, done)) == ("succeeded", list(range(20)))
        assert api.get(f"/v1/jobs/{done}/exports/frames.ndjson").content == EXPORT
        assert api.get(f"/v1/videos/{video}").status_code == 200
        assert (data / "videos" / "default" / video[:2] / video).read_bytes() == b"a video"
        assert api.get(f"/v1/jobs/{later}").status_code == 404
        assert (api.get(f"/v1/jobs/{running}").json()["state"], frames(api, running)) == ("running", list(range(14)))
        worker.append(store, held, running, 1, range(14, 20))  # who held the task goes on behind the last record
        store.finish_chunk(held, worker.named(running), 0, 1)
        worker.finish(store, running)
        assert (api.get(f"/v1/jobs/{running}").json()["state"], frames(api, running)) == ("succeeded", list(range(20)))
