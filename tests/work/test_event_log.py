"""Events of real people, through the store: as in one process, whatever the chunks, messages and repairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cvpipe.engine import run_local
from cvpipe.errors import StoreUnavailable
from cvpipe.job import JobError, JobState, TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings
from cvpipe.store import Claim, Ring
from cvpipe.video import Decoders
from cvpipe.work import finish, ingest, work
from tests.modelcards import write_yolox_card
from tests.work.test_finish import Service

VIDEO = "one-by-one-person-detection.mp4"
SPAN = {"from": 14, "to": 21}  # a woman who stands at a desk leaves on the right
OUT = {"name": "out", "start": [530, 432], "end": [530, 0]}
STAGES: list[dict[str, Any]] = [
    {"type": "decimate", "fps": 2.5},
    {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"], "score": 0.4},
    {"type": "track", "of": "people"},
    {"type": "line_zone", "name": "way", "of": "people", "lines": [OUT]},
    {
        "type": "polygon_zone", "name": "places", "of": "people", "units": "relative",
        "zones": [{"name": "desk", "polygon": [[0.4, 0.5], [0.75, 0.5], [0.75, 1], [0.4, 1]]}],
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def models(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_yolox_card(folder, assets)
    return folder


@pytest.fixture(scope="module")
def expected(assets: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The events from one process and one chunk, a line each."""
    out = tmp_path_factory.mktemp("one")
    job = run_local(
        assets / "videos" / VIDEO, parse_pipeline({"name": "p", "stages": STAGES}), out, chunk_seconds=100,
        settings=Settings(models_dir=models, device="cpu", threads=2), range=TimeRange(start=14, stop=21),
    )  # fmt: skip
    lines = (out / "events.ndjson").read_text().splitlines()
    assert job["exports"] == ["frames.ndjson", "tracks.ndjson", "events.ndjson"]
    assert job["events"] == len(lines)
    return lines


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders() as decoders:
        yield decoders


@pytest.fixture
def service(tmp_path: Path, redis_url: str, models: Path, assets: Path, decoders: Decoders) -> Iterator[Service]:
    settings = Settings(
        redis_url=redis_url, data_dir=tmp_path / "data", path_roots=str(assets), models_dir=models, device="cpu"
    )
    service = Service(settings, decoders)
    yield service
    service.store.close()


def submit(service: Service, assets: Path, **more: Any) -> str:
    return service.submit(assets / "videos" / VIDEO, *STAGES, range=SPAN, chunk_seconds=2, **more)


def logged(service: Service, job: str, **which: Any) -> list[str]:
    return [event.to_json() for _, event in service.store.event_log(job, **which)[0]]


def test_a_woman_who_leaves_is_told_of(expected: list[str]) -> None:
    rows = [json.loads(line) for line in expected]
    assert [(row["kind"], row["tracks"], row["start"], row["end"], row["values"]) for row in rows] == [
        ("zone_entered", [1], 14.0, 14.0, {"zone": "desk"}),
        ("line_crossed", [1], 18.8, 18.8, {"line": "out", "direction": "in"}),
        ("zone_left", [1], 18.8, 18.8, {"zone": "desk"}),
        ("zone_dwell", [1], 14.0, 18.8, {"zone": "desk", "seconds": 4.8}),
    ]
    assert all(row["objects"][0]["label"] == "person" and row["is_over"] for row in rows)


def test_the_log_is_that_of_one_process_whatever_the_chunks(
    service: Service, assets: Path, expected: list[str]
) -> None:
    job = submit(service, assets)
    assert logged(service, job) == expected
    assert service.finish(job).exports == ["frames.ndjson", "tracks.ndjson", "events.ndjson"]
    assert (service.folder(job) / "events.ndjson").read_text().splitlines() == expected


def test_a_chunk_worked_on_twice_tells_nothing_twice(
    service: Service, assets: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, lost = service.store.finish_chunk, []

    def lose_the_first(claim: Any, job: str, segment: int, chunk: int, **more: Any) -> list[Ring]:
        if segment == 1 and chunk not in lost:
            lost.append(chunk)
            raise StoreUnavailable("gone for a moment")
        return commit(claim, job, segment, chunk, **more)

    monkeypatch.setattr(service.store, "finish_chunk", lose_the_first)
    monkeypatch.setattr(type(service.store), "release", quickly(type(service.store).release))
    job = submit(service, assets)
    assert sorted(lost) == [0, 1, 2]
    assert logged(service, job) == expected


def quickly(release: Any) -> Any:
    """Tasks are handed back to be done at once."""

    def at_once(self: Any, claim: Claim, *, delay_seconds: float = 0, **more: Any) -> Any:
        return release(self, claim, **more)

    return at_once


def test_a_repair_makes_the_log_anew_and_one_that_is_canceled_leaves_it(
    service: Service, assets: Path, expected: list[str]
) -> None:
    job = submit(service, assets)
    service.store.client.sadd(f"cvpipe:job:{job}:gapped", 1)
    held = service.store.claim(f"finish:{job}", lease_seconds=30)
    assert isinstance(held, Claim)
    service.store.end_job(
        held, job, JobState.succeeded_with_gaps,
        error=JobError(code="frames_damaged", message="x"), exports=[],
    )  # fmt: skip
    service.bell.tasks.clear()
    service.bell.ring(service.store.repair(job))
    assert logged(service, job) == []
    service.store.cancel(job)
    assert logged(service, job) == expected
    service.bell.ring(service.store.repair(job))
    while (task := service.bell.tasks.pop()) != f"finish:{job}":
        (ingest if task.startswith("ingest:") else work)(service.bench, task)
    assert logged(service, job) == expected
    finish(service.bench, task)
    service.store.delete_job(job)
    assert list(service.store.client.scan_iter(f"cvpipe:job:{job}*")) == []


LEAVES = ["line_crossed", "left", "dwell"]


def fail_between(monkeypatch: pytest.MonkeyPatch, service: Service, start: float, stop: float) -> None:
    """Have the line fail on records of a part of the video, behind a zone that has told already."""
    from cvpipe.stages.line_zone import LineZone

    update = LineZone.update

    def fail_there(self: LineZone, record: Any) -> Any:
        if start < record.time < stop:
            raise ValueError("no")
        return update(self, record)

    monkeypatch.setattr(LineZone, "update", fail_there)
    monkeypatch.setattr(type(service.store), "release", quickly(type(service.store).release))


@pytest.mark.expects_errors
@pytest.mark.parametrize(
    ("start", "stop", "told"),
    [
        pytest.param(18.3, 99, ["entered"], id="the last chunk"),
        pytest.param(16.5, 17, ["entered", *LEAVES], id="the middle one"),
        pytest.param(14.5, 15, ["entered", "entered", *LEAVES], id="the first one"),
    ],
)
def test_a_chunk_that_is_given_up_costs_no_event_of_the_others(
    service: Service, assets: Path, monkeypatch: pytest.MonkeyPatch, start: float, stop: float, told: list[str]
) -> None:
    fail_between(monkeypatch, service, start, stop)
    zone_first = [*STAGES[:3], STAGES[4], STAGES[3]]
    job = service.submit(assets / "videos" / VIDEO, *zone_first, range=SPAN, chunk_seconds=2)
    rows = [json.loads(line) for line in logged(service, job)]
    ended = [row["kind"] for row in rows if not row["is_over"]]
    assert [row["kind"].removeprefix("zone_") for row in rows if row["is_over"]] == told
    assert ended == (["zone_dwell"] if stop > SPAN["to"] else [])
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
