"""The end of a job: what it lists, what it makes, turn by turn, and what is left of it when it is stopped."""

from __future__ import annotations

import errno
import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvpipe.errors import Conflict
from cvpipe.job import Job, JobRequest
from cvpipe.keys import Identity
from cvpipe.lifecycle import Lifecycle, job_folder
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from cvpipe.store import Ring, Store
from cvpipe.video import Decoders, Writer
from cvpipe.work import Bench, finish, ingest, work
from tests.video.clips import make_clip, x264

EDGES = {"type": "edges"}
NORMALISE = {"type": "normalise", "fps": 50}


class Crash(BaseException):
    """Ends a task as the end of its process would: nothing is handed back."""


class Bell:
    """Keeps the names of the tasks that are rung for."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def ring(self, rings: Iterable[Ring]) -> None:
        self.tasks += [ring.task for ring in rings]

    def close(self) -> None:
        """Nothing to close."""


class Service:
    """One worker, stepped by hand, on a real store."""

    def __init__(self, settings: Settings, decoders: Decoders) -> None:
        self.settings, self.bell = settings, Bell()
        self.store = Store.connect(settings.redis_url)
        self.bench = Bench(settings, self.store, self.bell, _decoders=decoders)  # type: ignore[arg-type]
        self.lifecycle = Lifecycle(self.store, self.bell, settings)  # type: ignore[arg-type]

    def submit(self, video: Path, *stages: dict[str, Any], **more: Any) -> str:
        """Post a job and do all of it but its end; returns its name."""
        request = JobRequest.model_validate(
            {"path": str(video), "pipeline": {"name": "p", "stages": stages}, "chunk_seconds": 1} | more
        )
        job, _ = self.lifecycle.submit(request, by=Identity("t", frozenset({Scope.admin})))
        while (task := self.bell.tasks.pop()) != f"finish:t/{job.id}":
            (ingest if task.startswith("ingest:") else work)(self.bench, task)
        return f"t/{job.id}"

    def finish(self, job: str, **how: float) -> Job:
        """One turn of its end."""
        finish(self.bench, f"finish:{job}", **how)  # type: ignore[arg-type]
        return self.store.job(job)

    def come_due(self, job: str) -> None:
        """The lease of who was at its end runs out, or the time until it is tried again."""
        self.store.client.hset(f"cvpipe:task:finish:{job}", mapping={"lease_until": 0, "not_before": 0})

    def folder(self, job: str) -> Path:
        return job_folder(self.settings, job)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders() as decoders:
        yield decoders


@pytest.fixture
def service(tmp_path: Path, redis_url: str, decoders: Decoders) -> Iterator[Service]:
    settings = Settings(
        redis_url=redis_url, data_dir=tmp_path / "data", path_roots=str(tmp_path), device="cpu", lease_seconds=60
    )
    service = Service(settings, decoders)
    yield service
    service.store.close()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """60 frames at 25 a second."""
    return make_clip(tmp_path / "video.mp4", options=x264(), container_options={"movflags": "+faststart"})


def names(folder: Path) -> list[str]:
    """What a user finds there; `.frames.records` is for jobs that begin with this one's."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".frames.records")


def pictures(decoders: Decoders, path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times and pictures of a video that was made."""
    from tests.video.reading import read

    index = decoders.index(path)
    found = [image for image in read(decoders, path, index).values() if image is not None]
    return index.times.tolist(), found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def overwrite_packet(path: Path, number: int) -> None:
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        assert packet.pos is not None
        place, size = packet.pos, packet.size
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * size)


def test_what_stages_make_of_the_video_is_listed_and_nothing_else_is_left(
    service: Service, video: Path, decoders: Decoders
) -> None:
    job = service.submit(video, EDGES, NORMALISE, annotate=True)
    done = service.finish(job)
    assert (done.state, done.error, done.gaps, done.gaps_total) == ("succeeded", None, [], 0)
    assert done.exports == ["frames.ndjson", "annotated.mp4", "normalised.mp4", "normalised.map.ndjson"]
    assert names(service.folder(job)) == sorted(done.exports)
    times, images = pictures(decoders, service.folder(job) / "normalised.mp4")
    assert times == [pytest.approx(n / 50, abs=1e-5) for n in range(120)]
    assert len(images) == 120
    told = lines(service.folder(job) / "normalised.map.ndjson")
    assert [line["source"] for line in told] == [n // 2 for n in range(120)]
    assert [line["frame"] for line in lines(service.folder(job) / "frames.ndjson")] == list(range(60))


def test_ranges_of_the_job_and_of_its_stages_hold_for_all_files(
    service: Service, video: Path, decoders: Decoders
) -> None:
    stages = [
        {"type": "range", "from": 0.4, "to": 2},
        {"type": "decimate", "every": 5},
        {"type": "normalise", "fps": 25},
    ]
    job = service.submit(video, *stages, range={"from": 0, "to": 1.2}, annotate=True)
    done = service.finish(job)
    assert done.state == "succeeded"
    assert [line["source"] for line in lines(service.folder(job) / "normalised.map.ndjson")] == list(range(10, 30))
    assert len(decoders.index(service.folder(job) / "annotated.mp4")) == 20


def test_what_stages_say_of_all_frames_is_told(service: Service, video: Path) -> None:
    job = service.submit(video, {"type": "constant_rate", "fps": 50}, {"type": "motion_gate", "threshold": 1}, EDGES)
    done = service.finish(job)
    assert done.summary["constant_rate"]["ticks"] == 120
    assert done.summary["motion_gate"] == {"frames": 60, "skipped": 59, "skipped_fraction": 0.9833}


def test_frames_that_can_not_be_decoded_are_listed(service: Service, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "damaged.avi", codec="mjpeg", pixel_format="yuvj420p", frames=30)
    for number in (5, 6, 20):
        overwrite_packet(path, number)
    done = service.finish(service.submit(path, EDGES, NORMALISE))
    assert (done.state, done.gaps_total) == ("succeeded_with_gaps", 2)
    assert done.error is not None
    assert (done.error.code, done.error.message) == ("frames_damaged", "3 frames could not be decoded")
    assert [(gap.first, gap.last, gap.start, gap.stop, gap.frames, gap.status) for gap in done.gaps] == [
        (5, 6, 0.2, 0.24, 2, "decode_error"),
        (20, 20, 0.8, 0.8, 1, "decode_error"),
    ]
    assert done.exports == ["frames.ndjson", "normalised.mp4", "normalised.map.ndjson"]


def test_what_a_file_lacks_that_is_cut_off_is_listed(service: Service, video: Path) -> None:
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    done = service.finish(service.submit(video, EDGES))
    there = done.progress.frames_total
    assert there is not None
    assert 20 < there < 60
    assert (done.state, done.gaps_total) == ("succeeded_with_gaps", 1)
    assert done.error is not None
    assert done.error.code == "media_truncated"
    assert done.error.message.startswith(f"the file is cut off: {there} frames (")
    (gap,) = done.gaps
    assert (gap.first, gap.last, gap.frames, gap.status, gap.error) == (
        there, 59, 60 - there, "missing", "media_truncated",
    )  # fmt: skip
    assert gap.stop == pytest.approx(2.4, abs=0.05)


def in_turns(service: Service, job: str, **how: Any) -> tuple[Job, int]:
    """Finish the job with turns that are over as soon as anything is done."""
    turns = 0
    while not service.store.job(job).state.is_final:
        assert turns < 100
        service.bell.tasks.clear()
        service.finish(job, turn_seconds=0, **how)
        assert f"finish:{job}" in service.bell.tasks or service.store.job(job).state.is_final
        turns += 1
    return service.store.job(job), turns


def test_work_in_turns_makes_the_files_of_one_go(service: Service, video: Path, decoders: Decoders) -> None:
    tracked = ({"type": "decimate", "every": 3}, {"type": "track"}, NORMALISE)
    once = service.submit(video, *tracked, annotate=True)
    assert service.finish(once, frames_a_part=25).state == "succeeded"
    often = service.submit(video, *tracked, annotate=True)
    done, turns = in_turns(service, often, frames_a_part=25)
    # records; annotated: 2 parts of 25 frames, then the file; normalised: 4 parts, then the files; the end
    assert (done.state, turns) == ("succeeded", 1 + 3 + 5 + 1)
    assert names(service.folder(often)) == sorted(done.exports)
    for name in ("annotated.mp4", "normalised.mp4"):
        (times, images), (others, expected) = (pictures(decoders, service.folder(j) / name) for j in (often, once))
        assert times == others
        assert len(images) == len(expected) > 0
        assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))
    for name in ("frames.ndjson", "normalised.map.ndjson"):
        assert (service.folder(often) / name).read_bytes() == (service.folder(once) / name).read_bytes()


def on_picture(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[], None]) -> list[int]:
    """Do something when the picture of this number, counted from 1, is to be written; returns how many were."""
    write, written = Writer.write, [0]

    def counted(self: Writer, image: Any, time_seconds: float) -> None:
        written[0] += 1
        if written[0] == number:
            do()
        write(self, image, time_seconds)

    monkeypatch.setattr(Writer, "write", counted)
    return written


def crash() -> None:
    raise Crash


def test_a_crash_costs_one_part(
    service: Service, video: Path, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = service.submit(video, EDGES, NORMALISE)
    service.finish(expected, frames_a_part=20)
    job = service.submit(video, EDGES, NORMALISE)
    written = on_picture(monkeypatch, 53, crash)
    with pytest.raises(Crash):
        service.finish(job, frames_a_part=20)
    workspace = service.folder(job) / ".finish" / "0"
    assert sorted(path.name for path in (workspace / "normalised.mp4.parts").glob("part-*")) == [
        "part-000000-0.mp4",
        "part-000001-36000.mp4",
    ]
    assert not (service.folder(job) / "normalised.mp4").exists()
    service.come_due(job)
    done = service.finish(job, frames_a_part=20)
    assert done.state == "succeeded"
    assert written[0] == 53 + 120 - 40
    assert names(service.folder(job)) == ["frames.ndjson", "normalised.map.ndjson", "normalised.mp4"]
    made, other = (pictures(decoders, service.folder(j) / "normalised.mp4") for j in (job, expected))
    assert made[0] == other[0]
    assert all(np.array_equal(a, b) for a, b in zip(made[1], other[1], strict=True))


@pytest.mark.expects_errors
def test_crashes_count_from_the_last_part_on(service: Service, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = service.submit(video, EDGES, NORMALISE)
    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(Crash):
            on_picture(patch, 3, crash)
            service.finish(job, frames_a_part=50)
        service.come_due(job)
    service.finish(job, turn_seconds=0, frames_a_part=50)  # makes the first part, and hands the task back
    with monkeypatch.context() as patch, pytest.raises(Crash):
        on_picture(patch, 3, crash)
        service.finish(job, frames_a_part=50)
    service.come_due(job)
    assert service.finish(job, frames_a_part=50).state == "succeeded"


def refuse() -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.expects_errors
def test_a_file_that_can_not_be_made_costs_neither_results_nor_other_files(
    service: Service, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.submit(video, EDGES, NORMALISE, annotate=True)
    stale = service.folder(job) / "annotated.mp4"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier end")
    for _ in range(3):
        with monkeypatch.context() as patch:
            on_picture(patch, 1, refuse)
            assert service.finish(job).state == "running"
        service.come_due(job)
    done = service.finish(job)
    assert (done.state, done.gaps_total, done.progress.frames_done) == ("succeeded_with_gaps", 0, 60)
    assert done.exports == ["frames.ndjson", "normalised.mp4", "normalised.map.ndjson"]
    assert names(service.folder(job)) == sorted(done.exports)
    assert {name: (why.code, why.message) for name, why in done.exports_failed.items()} == {
        "annotated.mp4": ("internal", "OSError: [Errno 5] Input/output error")
    }
    assert done.error is not None
    assert done.error.message == "annotated.mp4 could not be made: OSError: [Errno 5] Input/output error"
    with pytest.raises(Conflict, match="none of its chunks has frames that could be tried again"):
        service.lifecycle.repair(job)


@pytest.mark.expects_errors
def test_a_file_that_kills_its_worker_three_times_is_given_up_with_all_that_belongs_to_it(
    service: Service, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.submit(video, EDGES, NORMALISE)
    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(Crash):
            on_picture(patch, 3, crash)
            service.finish(job)
        service.come_due(job)
    assert service.finish(job).state == "running"
    done = service.finish(job)
    assert (done.state, done.exports) == ("succeeded_with_gaps", ["frames.ndjson"])
    assert {name: why.code for name, why in done.exports_failed.items()} == {
        "normalised.mp4": "worker_crashed",
        "normalised.map.ndjson": "worker_crashed",
    }
    assert names(service.folder(job)) == ["frames.ndjson"]


@pytest.mark.expects_errors
def test_a_job_whose_records_can_not_be_written_has_failed(
    service: Service, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.submit(video, EDGES)
    monkeypatch.setattr(sys.modules[finish.__module__], "write_ndjson", lambda *_: {}["x"])
    for _ in range(3):
        service.finish(job)
        service.come_due(job)
    done = service.store.job(job)
    assert (done.state, done.exports, done.exports_failed) == ("failed", [], {})
    assert done.error is not None
    assert done.error.message == "KeyError: 'x'"


def test_nothing_is_left_of_files_that_a_canceled_job_was_making(
    service: Service, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.submit(video, EDGES, NORMALISE)

    def cancel() -> None:
        service.lifecycle.cancel(job)
        leases = [thread for thread in threading.enumerate() if thread.name == f"lease finish:{job}"]
        assert len(leases) == 1
        leases[0].join(60)  # it ends when it knows

    written = on_picture(monkeypatch, 30, cancel)
    assert service.finish(job, frames_a_part=20).state == "canceled"
    assert written[0] == 30
    assert not service.folder(job).exists()


def test_nothing_is_left_of_a_job_that_is_canceled_between_two_turns(service: Service, video: Path) -> None:
    job = service.submit(video, EDGES, NORMALISE)
    service.finish(job, turn_seconds=0)
    assert (service.folder(job) / ".finish").exists()
    service.lifecycle.cancel(job)
    assert service.finish(job).state == "canceled"  # its ring was on the way
    assert not service.folder(job).exists()


def test_what_an_earlier_end_has_left_is_not_taken_for_this_one(service: Service, video: Path) -> None:
    job = service.submit(video, EDGES)
    stale = service.folder(job) / ".finish" / "0"
    stale.mkdir(parents=True)
    (stale / "made.json").write_text('{"names": ["frames.ndjson"]}')
    assert service.finish(job).exports == ["frames.ndjson"]
    assert len(lines(service.folder(job) / "frames.ndjson")) == 60
    assert names(service.folder(job)) == ["frames.ndjson"]
