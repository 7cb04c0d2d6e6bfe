"""Records: bytes and records per second into Redis, and back."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.setup import print_table
from cvpipe.results import FrameRecord, Objects
from cvpipe.store import Store
from tests.servers import RedisServer, find_redis

COUNT = 4000


def main(_assets: Path, _pairs: int) -> None:
    """Records with 20 objects, appended 16 at a time as workers do."""
    if find_redis() is None:
        print("records: needs redis-server on PATH")
        return
    records = [make_record(number) for number in range(COUNT)]
    started = time.perf_counter()
    packed = [record.pack() for record in records]
    pack_seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            store = Store.connect(server.url)
            before = int(store.client.info("memory")["used_memory"])
            append_seconds = _append(store, records)
            used = int(store.client.info("memory")["used_memory"]) - before
            started = time.perf_counter()
            page, _ = store.frames("t/bench", limit=COUNT)
            read_seconds = time.perf_counter() - started
            assert [record for _, record in page] == records
            store.close()
        finally:
            server.kill()
    rows = [
        ("bytes of a record (MessagePack)", f"{sum(map(len, packed)) / COUNT:.0f}"),
        ("bytes of a record (JSON)", f"{sum(len(r.to_json()) for r in records) / COUNT:.0f}"),
        ("bytes of a record in Redis's memory", f"{used / COUNT:.0f}"),
        ("packed per second", f"{COUNT / pack_seconds:,.0f}"),
        ("appended per second, fsync on each of 16", f"{COUNT / append_seconds:,.0f}"),
        ("read per second", f"{COUNT / read_seconds:,.0f}"),
    ]
    print_table("frame records with 20 objects", ("what", "figure"), rows)


def make_record(number: int) -> FrameRecord:
    """A record with 20 tracked people."""
    rng = np.random.default_rng(number)
    corner = rng.uniform(0, 1000, (20, 2))
    objects = Objects.make(
        stage="people", box=np.hstack([corner, corner + rng.uniform(20, 200, (20, 2))]), score=rng.uniform(0.3, 1, 20),
        label=["person"] * 20, class_id=[0] * 20, track=range(1, 21),
    )  # fmt: skip
    return FrameRecord(number, number * 512, number / 25, objects=objects)


def _append(store: Store, records: list[FrameRecord]) -> float:
    doc = {
        "pipeline": {}, "priority": 4, "labels": {}, "annotate": False, "chunk_seconds": 10,
    }  # fmt: skip
    store.submit("t/bench", doc, priority=4, webhook=False, idempotency_key=None, digest="")
    ingest = store.claim("ingest:t/bench", lease_seconds=60)
    assert not isinstance(ingest, str)
    store.plan(
        ingest, "t/bench", segments=[{"kind": "frames", "queue": "cpu"}], chunks=[(0, COUNT, 0)], frames_total=COUNT,
        video="t/v", models={},
    )  # fmt: skip
    claim = store.claim("chunk:t/bench:0:0", lease_seconds=60)
    assert not isinstance(claim, str)
    started = time.perf_counter()
    for start in range(0, COUNT, 16):
        store.append(claim, "t/bench", (0, 0), records[start : start + 16], lease_seconds=60, counted=True)
    seconds = time.perf_counter() - started
    store.finish_chunk(claim, "t/bench", 0, 0)
    return seconds
