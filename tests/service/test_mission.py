"""All three stages of work in one pipeline, on real video: pre-processing, frames, tracks, best crops, a call outside.

Each queue has a worker process of its own on RabbitMQ; the records are those of one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cvpipe.engine import run_local
from cvpipe.job import TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings
from tests.people import write_cards
from tests.receivers import Asked, Receiver, Said, receiving
from tests.servers import RabbitMQServer
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

VIDEO = "one-by-one-person-detection.mp4"
PART = {"from": 60, "to": 65}
QUEUES = ("ingest,media", "cpu", "gpu", "sequence", "crops", "external", "finish")
FLOOR = [
    {"pixel": [140, 410], "world": [0, 0]},
    {"pixel": [640, 410], "world": [4, 0]},
    {"pixel": [520, 210], "world": [4, 6]},
    {"pixel": [250, 210], "world": [0, 6]},
]
AREA = [point["pixel"] for point in FLOOR]
ANSWER = {"type": "object", "properties": {"seen": {"type": "integer"}}, "required": ["seen"]}


def make_pipeline(url: str) -> dict[str, Any]:
    return {
        "name": "mission",
        "stages": [
            {"type": "normalise", "fps": 5, "max_side": 320},
            {"type": "constant_rate", "fps": 5},
            {"type": "contrast", "method": "clahe"},
            {"type": "edges"},
            {"type": "lines", "max_lines": 20},
            {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"]},
            {"type": "parse", "of": "people", "model": "skin-clothes-hair"},
            {"type": "track", "of": "people"},
            {"type": "polygon_zone", "of": "people", "zones": [{"name": "floor", "polygon": AREA}]},
            {"type": "to_world", "of": "people", "camera": {"width": 768, "height": 432, "points": FLOOR}},
            {"type": "crops", "name": "best", "of": "people", "best": 2},
            {"type": "read_text", "of": "best"},
            {"type": "embed", "of": "best", "model": "person-reid"},
            {
                "type": "external", "name": "asked", "url": url, "per": "track", "of": "people",
                "fields": ["label", "track"], "answer": ANSWER,
            },
        ],
    }  # fmt: skip


def count(asked: Asked) -> Said:
    """Answers with the track that was asked about."""
    fields = json.loads(asked.body)["fields"]
    return Said(body=json.dumps({"seen": fields["track"]}).encode(), headers={"content-type": "application/json"})


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiving(count) as receiver:
        yield receiver


def test_the_whole_way_through_workers_on_queues_of_their_own_is_that_of_one_process(
    tmp_path: Path, assets: Path, redis_url: str, rabbitmq: RabbitMQServer, server: Receiver
) -> None:
    models = write_cards(tmp_path / "models", assets)
    video = assets / "videos" / VIDEO
    settings = Settings(data_dir=tmp_path / "one", models_dir=models, device="cpu", outside_loopback=True)
    pipeline = make_pipeline(server.url)
    out = tmp_path / "out"
    local = run_local(
        video, parse_pipeline(pipeline), out, settings=settings, chunk_seconds=2, range=TimeRange.model_validate(PART)
    )
    expected = {name: (out / name).read_text() for name in ("frames.ndjson", "tracks.ndjson", "events.ndjson")}
    bodies = sorted(asked.body for asked in server.asked)
    server.asked.clear()
    deployment = Deployment(
        tmp_path, redis_url=redis_url, broker_url=rabbitmq.url, MODELS_DIR=models, PATH_ROOTS=video.parent, DEVICE="cpu"
    )
    try:
        deployment.start_api()
        deployment.start("sweep")
        for queues in QUEUES:
            deployment.worker(queues=queues)
        with deployment.client() as client:
            job = client.submit(pipeline=pipeline, path=str(video), range=PART, chunk_seconds=2)
            done = client.wait(job.id, timeout_seconds=250)
            assert done.state == "succeeded", (done.error, deployment.logs())
            got = {
                name: (deployment.folder / "data" / "jobs" / "default" / job.id / name).read_text() for name in expected
            }
            assert got == expected
            records = list(client.frames(job.id))
            assert [record.to_json() for record in records] == expected["frames.ndjson"].splitlines()
            calls = list(client.calls(job.id))
        copy = deployment.folder / "data" / "jobs" / "default" / job.id / "normalised.mp4"
        assert copy.stat().st_size > 10_000
    finally:
        deployment.close()
    assert sorted(asked.body for asked in server.asked) == bodies
    # Each step has left something that it alone can have left.
    person = next(row for record in records for row in record.to_dict()["objects"] if row["stage"] == "people")
    assert person["values"].keys() >= {"parse", "to_world"}
    assert all(record.values["edges"]["density"] > 0 for record in records)
    assert any(row["stage"] == "lines" for record in records for row in record.to_dict()["objects"])
    tracks = [json.loads(line) for line in expected["tracks.ndjson"].splitlines()]
    assert tracks
    assert all(track["values"]["embed"] for track in tracks if track["crops"])
    assert any(json.loads(line)["kind"] == "zone_entered" for line in expected["events.ndjson"].splitlines())
    assert {item.values["seen"] for call in calls for item in call.items} == {track["track"] for track in tracks}
    assert local["frames"]["total"] == len(records) == 25
