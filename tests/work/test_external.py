"""Calls outside through a worker, on real video: what is sent, what comes back, and what a crash does to it."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from cvpipe.calls import CallRecord
from cvpipe.engine import run_local
from cvpipe.errors import AddressRefused, InvalidPipeline, InvalidRequest
from cvpipe.job import Job, JobRequest, JobState
from cvpipe.keys import Identity
from cvpipe.pipeline import parse_pipeline
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from cvpipe.video import Decoders
from cvpipe.work import finish, ingest, work
from cvpipe.work.bench import Lease
from tests.modelcards import write_yolox_card
from tests.receivers import Asked, Receiver, Said, receiving
from tests.work.test_finish import Crash, Service

ANSWER = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
PEOPLE = {"type": "detect", "name": "people", "model": "yolox-nano", "classes": ["person"], "score": 0.4}
BAGS = {"type": "detect", "name": "bags", "model": "yolox-nano", "classes": ["handbag", "backpack"], "score": 0.3}
#: Two people, one after the other; and one of them.
TRACK = {"type": "track", "of": "people"}
TWO = [{"type": "range", "from": 16, "to": 26}, {"type": "decimate", "fps": 1}, PEOPLE, BAGS, TRACK]
FIND = [{"type": "range", "from": 24, "to": 26}, {"type": "decimate", "fps": 5}, PEOPLE, TRACK]


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders() as decoders:
        yield decoders


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, assets: Path) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_yolox_card(folder, assets)
    return folder


@pytest.fixture
def video(assets: Path) -> Path:
    return assets / "videos" / "one-by-one-person-detection.mp4"


def settings_of(tmp_path: Path, models: Path, video: Path, **more: Any) -> Settings:
    return Settings(
        data_dir=tmp_path / "data", models_dir=models, path_roots=str(video.parent), device="cpu", threads=1,
        outside_loopback=True, lease_seconds=60, **more,
    )  # fmt: skip


@pytest.fixture
def service(tmp_path: Path, models: Path, video: Path, redis_url: str, decoders: Decoders) -> Iterator[Service]:
    service = Service(settings_of(tmp_path, models, video, redis_url=redis_url), decoders)
    yield service
    service.store.close()


def ask(receiver: Receiver, **options: Any) -> dict[str, Any]:
    plain = {
        "type": "external",
        "name": "ask",
        "url": f"{receiver.url}/ask",
        "per": "track",
        "of": "people",
        "answer": ANSWER,
    }
    return plain | options


def yellow(_: Asked) -> Said:
    return Said(200, b'{"colour": "yellow"}')


def calls_of(service: Service, job: str) -> list[CallRecord]:
    return service.store.all_calls(job)


def ended(service: Service, video: Path, *stages: dict[str, Any]) -> tuple[str, Job]:
    name = service.submit(video, *stages)
    return name, service.finish(name)


class Posted:
    """A job that is done step by step."""

    def __init__(self, service: Service, video: Path) -> None:
        self._service, self._video = service, video
        self.name = self.task = ""

    def submit(self, *stages: dict[str, Any]) -> None:
        request = {"path": str(self._video), "pipeline": {"name": "p", "stages": stages}}
        by = Identity("t", frozenset({Scope.admin}))
        job, _ = self._service.lifecycle.submit(JobRequest.model_validate(request), by=by)
        self.name = f"t/{job.id}"

    def go_on(self) -> JobState:
        while self._service.bell.tasks:
            self.task = self._service.bell.tasks.pop()
            {"ingest": ingest, "finish": finish}.get(self.task.split(":")[0], work)(self._service.bench, self.task)
        return self._service.store.job(self.name).state


def test_each_track_is_asked_about_once_with_a_picture_of_it(service: Service, video: Path) -> None:
    with receiving(yellow) as receiver:
        name, job = ended(
            service, video, *TWO,
            ask(receiver, images="crop", blur=["bags"], fields=["label", "track", "frames", "box"]),
        )  # fmt: skip
    assert job.state is JobState.succeeded
    calls = calls_of(service, name)
    tracks = sorted(call.items[0].track for call in calls)
    assert len(tracks) == len(set(tracks)) >= 2
    assert {call.state for call in calls} == {"answered"}
    assert [call.items[0].values for call in calls] == [{"colour": "yellow"}] * len(calls)
    assert sorted(request.headers["idempotency-key"] for request in receiver.asked) == sorted(
        f"cvpipe-{call.id}" for call in calls
    )
    for request in receiver.asked:
        body = json.loads(request.body)
        assert set(body) == {"stage", "fields", "images"}
        assert set(body["fields"]) == {"label", "track", "frames", "box"}
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(body["images"][0]), np.uint8), cv2.IMREAD_COLOR)
        x1, y1, x2, y2 = body["fields"]["box"]
        assert picture.shape[1] == pytest.approx(1.1 * (x2 - x1), abs=6)
        assert picture.shape[0] == pytest.approx(1.1 * (y2 - y1), abs=6)
    told = job.summary["ask"]
    assert (told["calls"], told["answered"], told["failed"]) == (len(calls), len(calls), 0)
    lines = [json.loads(line) for line in (service.folder(name) / "calls.ndjson").read_text().splitlines()]
    assert [line["id"] for line in lines] == [call.id for call in calls]


def test_one_process_asks_the_same_as_the_service(service: Service, models: Path, video: Path, tmp_path: Path) -> None:
    with receiving(yellow) as receiver:
        stages = [*TWO, ask(receiver, images="crop", blur=["bags"], cache_distance=4, per="object", max_items=6)]
        name, _ = ended(service, video, *stages)
        by_service = sorted(request.body for request in receiver.asked)
        receiver.asked.clear()
        run_local(
            video, parse_pipeline({"name": "p", "stages": stages}), tmp_path / "out",
            settings=settings_of(tmp_path, models, video), chunk_seconds=1,
        )  # fmt: skip
        assert sorted(request.body for request in receiver.asked) == by_service
    told = [(call.state, call.items) for call in calls_of(service, name)]
    lines = (tmp_path / "out" / "calls.ndjson").read_text().splitlines()
    assert [(c.state, c.items) for c in map(CallRecord.model_validate_json, lines)] == told


def test_after_a_crash_what_was_answered_is_not_asked_again(
    service: Service, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Posted(service, video)
    alive = Lease.check
    is_dead = threading.Event()

    def holds_the_sixth(request: Asked) -> Said:
        if len(receiver.asked) == 6:
            assert is_dead.wait(60)
        return yellow(request)

    def dies_at_the_sixth(lease: Lease) -> None:
        alive(lease)
        if len(receiver.asked) == 6:
            raise Crash

    with receiving(holds_the_sixth) as receiver:
        job.submit(*FIND, ask(receiver, per="object", concurrency=1))
        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(Lease, "check", dies_at_the_sixth)
            job.go_on()
        assert [call.state for call in calls_of(service, job.name)] == ["answered"] * 5 + ["sent"]
        is_dead.set()
        until = time.monotonic() + 60
        while calls_of(service, job.name)[-1].state == "sent":  # its thread has outlived the worker
            assert time.monotonic() < until
            time.sleep(0.02)
        assert len(receiver.asked) == 6
        service.store.client.hset(f"cvpipe:task:{job.task}", "lease_until", 0)  # its lease has run out
        service.bell.tasks.append(job.task)
        assert job.go_on() is JobState.succeeded
    asked = Counter(request.headers["idempotency-key"] for request in receiver.asked)
    calls = calls_of(service, job.name)
    assert len(calls) >= 8
    assert {call.state for call in calls} == {"answered"}
    assert sorted(asked.values()) == [1] * len(calls)


def test_a_server_that_is_down_is_an_error_of_each_item_and_the_job_goes_on(service: Service, video: Path) -> None:
    with receiving(yellow) as gone:
        pass
    name, job = ended(service, video, *FIND, ask(gone, per="object", retries=0, breaker=3, concurrency=1))
    calls = calls_of(service, name)
    assert job.state is JobState.succeeded
    assert [call.items[0].error.code for call in calls[:3]] == ["outside_unavailable"] * 3  # type: ignore[union-attr]
    assert {call.items[0].error.code for call in calls[3:]} == {"circuit_open"}  # type: ignore[union-attr]
    assert job.summary["ask"]["failed"] == 3
    assert job.summary["ask"]["skipped"] == len(calls) - 3


def test_a_job_that_must_not_go_on_without_an_answer_fails_and_goes_on_when_it_is_tried_again(
    service: Service, video: Path
) -> None:
    status = 400
    with receiving(lambda _: Said(status, b'{"colour": "red"}')) as receiver:
        job = Posted(service, video)
        job.submit(*FIND, ask(receiver, on_error="fail"))
        assert job.go_on() is JobState.failed
        error = service.store.job(job.name).error
        assert error is not None
        assert (error.code, "HTTP 400" in error.message) == ("call_failed", True)
        status = 200
        service.lifecycle.retry(job.name)
        assert job.go_on() is JobState.succeeded
    assert {call.state for call in calls_of(service, job.name)} == {"answered"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"images": "crop"}, InvalidPipeline, "name the stages that find faces and plates"),
        ({"images": "frame", "per": "frame", "of": None, "blur": ["bags"]}, InvalidPipeline, "sends no whole frames"),
        (
            {"url": "http://169.254.169.254/"},
            AddressRefused,
            r"stage 6 \(external 'ask'\): 169.254.169.254 is a link-local address, which is never called",
        ),
        ({"secret": "modles"}, InvalidRequest, r"stage 6 \(external 'ask'\): there is no secret 'modles'"),
    ],
)
def test_what_the_operator_forbids_is_refused_when_the_job_is_posted(
    service: Service, video: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with receiving(yellow) as receiver, pytest.raises(error, match=words):
        service.submit(video, *TWO, ask(receiver, **options))
    assert receiver.asked == []


@pytest.mark.expects_errors
def test_a_secret_that_goes_while_a_job_runs_is_told_and_a_repair_makes_the_calls(
    tmp_path: Path, models: Path, video: Path, redis_url: str, decoders: Decoders
) -> None:
    with receiving(yellow) as receiver:
        secrets = tmp_path / "secrets.yaml"
        known = yaml.safe_dump({"models": {"server": receiver.url, "value": "Bearer sk-very-secret"}})
        secrets.write_text(known)
        service = Service(settings_of(tmp_path, models, video, redis_url=redis_url, outside_secrets=secrets), decoders)
        job = Posted(service, video)
        job.submit(*FIND, ask(receiver, secret="models", max_items=1))
        secrets.write_text("{}")
        assert job.go_on() is JobState.succeeded_with_gaps
        error = service.store.job(job.name).error
        assert error is not None
        assert "there is no secret 'models'" in error.message
        assert receiver.asked == []
        secrets.write_text(known)
        service.bell.ring(service.store.repair(job.name))
        assert job.go_on() is JobState.succeeded
        service.store.close()
    assert [request.headers["authorization"] for request in receiver.asked] == ["Bearer sk-very-secret"]


@pytest.mark.expects_errors
def test_a_secret_goes_to_its_own_server_and_into_no_document_or_log(
    tmp_path: Path, models: Path, video: Path, redis_url: str, decoders: Decoders, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving(yellow) as receiver, receiving(yellow) as thief:
        secrets = tmp_path / "secrets.yaml"
        secrets.write_text(yaml.safe_dump({"models": {"server": receiver.url, "value": "Bearer sk-very-secret"}}))
        service = Service(settings_of(tmp_path, models, video, redis_url=redis_url, outside_secrets=secrets), decoders)
        _, job = ended(service, video, *FIND, ask(receiver, secret="models", max_items=1))
        with pytest.raises(AddressRefused, match="'models' is for another server") as robbed:
            service.submit(video, *FIND, ask(thief, secret="models", max_items=1))
        kept = b"".join(service.store.client.dump(key) or b"" for key in service.store.client.keys("*"))
        service.store.close()
    assert receiver.asked[0].headers["authorization"] == "Bearer sk-very-secret"
    assert thief.asked == []
    assert robbed.value.field == "pipeline.stages.4.secret"
    assert b"sk-very-secret" not in kept
    assert "sk-very-secret" not in job.model_dump_json() + str(robbed.value) + caplog.text
    for file in (tmp_path / "data").rglob("*"):
        assert not file.is_file() or b"sk-very-secret" not in file.read_bytes()


LINE = {
    "type": "line_zone",
    "name": "way",
    "of": "people",
    "lines": [{"name": "out", "start": [530, 432], "end": [530, 0]}],
}
DESK = {
    "type": "polygon_zone", "name": "places", "of": "people", "units": "relative",
    "zones": [{"name": "desk", "polygon": [[0.4, 0.5], [0.75, 0.5], [0.75, 1], [0.4, 1]]}],
}  # fmt: skip
LEAVES = [{"type": "range", "from": 14, "to": 21}, {"type": "decimate", "fps": 2.5}, PEOPLE, BAGS, TRACK, LINE, DESK]


def test_each_event_is_asked_about_with_who_took_part(
    service: Service, models: Path, video: Path, tmp_path: Path
) -> None:
    about = {"per": "event", "of": None, "images": "crop", "blur": ["bags"]}
    fields = ["kind", "start", "tracks", "values.direction", "evidence_frame"]
    with receiving(yellow) as receiver:
        stages = [*LEAVES, ask(receiver, **about, fields=fields, kinds=["line_crossed", "zone_left"])]
        name, job = ended(service, video, *stages)
        bodies = [json.loads(request.body) for request in receiver.asked]
        run_local(
            video, parse_pipeline({"name": "p", "stages": stages}), tmp_path / "out",
            settings=settings_of(tmp_path, models, video),
        )  # fmt: skip
        assert sorted(request.body for request in receiver.asked[:2]) == sorted(
            request.body for request in receiver.asked[2:]
        )
    assert job.state is JobState.succeeded
    told = {event.number: event for _, event in service.store.event_log(name)[0]}
    assert len(told) > 2
    calls = calls_of(service, name)
    assert [(call.items[0].of, told[call.items[0].event].kind) for call in calls] == [  # type: ignore[index]
        ("way", "line_crossed"), ("places", "zone_left"),
    ]  # fmt: skip
    assert {call.state for call in calls} == {"answered"}
    for body in sorted(bodies, key=lambda body: body["fields"]["kind"]):
        event = next(event for event in told.values() if event.kind == body["fields"]["kind"])
        assert body["fields"] == {
            "kind": event.kind, "start": event.start.time, "tracks": list(event.tracks),
            "values.direction": event.values.get("direction"), "evidence_frame": event.evidence.frame,
        }  # fmt: skip
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(body["images"][0]), np.uint8), cv2.IMREAD_COLOR)
        x1, _, x2, _ = event.objects[0]["box"]
        assert picture.shape[1] == pytest.approx(1.1 * (x2 - x1), abs=6)


@pytest.mark.parametrize("per", ["track", "object"])
def test_the_best_crops_of_tracks_are_asked_about_and_a_cassette_answers_the_same(
    service: Service, models: Path, video: Path, tmp_path: Path, per: str
) -> None:
    """What `crops` has chosen, with what was read on it; by the service, and in one process from a cassette."""
    cassette = tmp_path / "answers.ndjson"
    best = {"type": "crops", "name": "best", "of": "people", "best": 2}
    with receiving(yellow) as receiver:
        fields = ["label", "track"] if per == "track" else ["label", "track", "frame"]
        stages = [*TWO, best, ask(receiver, per=per, of="best", images="crop", blur=["bags"], fields=fields)]
        name, job = ended(service, video, *stages)
        assert job.state is JobState.succeeded
        by_service = sorted(request.body for request in receiver.asked)
        receiver.asked.clear()
        for mode in ("record", "replay"):
            run_local(
                video, parse_pipeline({"name": "p", "stages": stages}), tmp_path / mode,
                settings=settings_of(tmp_path, models, video, outside_cassette=f"{mode}:{cassette}"),
            )  # fmt: skip
        assert sorted(request.body for request in receiver.asked) == by_service
    crops = [json.loads(line) for line in (service.folder(name) / "crops.ndjson").read_text().splitlines()]
    calls = calls_of(service, name)
    assert {call.state for call in calls} == {"answered"}
    if per == "object":
        assert sorted((call.items[0].track, call.items[0].frame) for call in calls) == sorted(
            (crop["object"]["track"], crop["frame"]) for crop in crops
        )
    else:
        assert sorted(call.items[0].track for call in calls) == sorted({crop["object"]["track"] for crop in crops})
    said = [
        [call["items"] for call in map(json.loads, (tmp_path / mode / "calls.ndjson").read_text().splitlines())]
        for mode in ("record", "replay")
    ]
    assert said[0] == said[1] == [json.loads(call.to_json())["items"] for call in calls]


def test_a_run_in_one_process_tells_before_it_begins_what_can_not_be_called(
    models: Path, video: Path, tmp_path: Path
) -> None:
    for options, words in (({"secret": "none"}, "no secret 'none'"), ({"url": "http://224.0.0.1/"}, "never called")):
        with receiving(yellow) as receiver, pytest.raises(InvalidRequest, match=words):
            run_local(
                video, parse_pipeline({"name": "p", "stages": [*FIND, ask(receiver, **options)]}), tmp_path / "out",
                settings=settings_of(tmp_path, models, video),
            )  # fmt: skip
        assert not (tmp_path / "out" / "frames.ndjson").exists()


def test_a_pipeline_is_tried_offline_with_a_cassette(models: Path, video: Path, tmp_path: Path) -> None:
    cassette = tmp_path / "answers.ndjson"
    with receiving(yellow) as receiver:
        pipeline = parse_pipeline({"name": "p", "stages": [*TWO, ask(receiver, images="crop", blur=["bags"])]})
        for mode in ("record", "replay"):
            settings = settings_of(tmp_path, models, video, outside_cassette=f"{mode}:{cassette}")
            run_local(video, pipeline, tmp_path / mode, settings=settings)
            if mode == "record":
                count = len(receiver.asked)
        assert len(receiver.asked) == count > 1
    said = [
        [(c["id"], c["items"]) for c in map(json.loads, (tmp_path / mode / "calls.ndjson").read_text().splitlines())]
        for mode in ("record", "replay")
    ]
    assert said[0] == said[1]
    assert all(items[0]["values"] == {"colour": "yellow"} for _, items in said[1])
    assert "image" not in cassette.read_text()
