"""The commands around a running service: one real `cvpipe up`, and all that talks to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cvpipe import verify_webhook
from tests.cli.clips import make_clip
from tests.cli.conftest import Cvpipe, Done
from tests.cli.test_doctor import with_other_arguments
from tests.picturenetworks import write_small_models
from tests.receivers import Said, receiving
from tests.test_camera import pitch_camera
from tests.test_embedded import ENV, Up


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("up") / "data"
    write_small_models(data / "models")
    up = Up(data)
    yield up.url
    up.close()


@pytest.fixture
def at(cvpipe: Cvpipe, service: str, monkeypatch: pytest.MonkeyPatch) -> Cvpipe:
    """`cvpipe WORDS` with CVPIPE_URL."""
    monkeypatch.setenv("CVPIPE_URL", service)
    return cvpipe


def test_a_job_from_the_file_to_its_results(at: Cvpipe, clip: Path, tmp_path: Path) -> None:
    done = at("jobs", "submit", clip, "-p", "edges", "--label", "camera=3", "--priority", "9", "--wait", "--json")
    assert done.code == 0
    job = done.json
    assert (job["state"], job["labels"], job["priority"]) == ("succeeded", {"camera": "3"}, 9)

    assert at("jobs", "show", job["id"], "--json").json["id"] == job["id"]
    shown = at("jobs", "show", job["id"]).out.splitlines()
    assert shown[0].startswith(f"{job['id']}  succeeded  10/10 frames")
    assert "  exports   frames.ndjson" in shown

    records = [json.loads(line) for line in at("jobs", "frames", job["id"]).out.splitlines()]
    assert [record["frame"] for record in records] == list(range(0, 20, 2))
    part = at("jobs", "frames", job["id"], "--from", "0.5", "--to", "1").out.splitlines()
    assert [json.loads(line) for line in part] == [r for r in records if 0.5 <= r["time"] < 1]

    saved = at("jobs", "download", job["id"], "--out", tmp_path / "saved")
    assert saved.out == f"{tmp_path / 'saved' / 'frames.ndjson'}\n"
    assert [json.loads(line) for line in (tmp_path / "saved" / "frames.ndjson").read_text().splitlines()] == records

    assert job["id"] in [each["id"] for each in at("jobs", "ls", "--label", "camera=3", "--json").json]
    assert at("jobs", "ls", "--label", "camera=4", "--json").json == []
    assert any(line.split()[:3] == [job["id"], "succeeded", "10/10"] for line in at("jobs", "ls").out.splitlines())

    assert at("jobs", "delete", job["id"], "--json").json == {"deleted": job["id"]}
    assert at("jobs", "show", job["id"]).code == 2


def test_a_video_is_uploaded_once_and_used_by_its_id(at: Cvpipe, clip: Path) -> None:
    video = at("videos", "upload", clip).out.strip()
    assert at("videos", "upload", clip, "--json").json["id"] == video
    submitted = at("jobs", "submit", video, "-p", "edges")
    waited = at("jobs", "wait", submitted.out.strip(), "--json")
    assert (waited.code, waited.json["video"]) == (0, video)
    assert f"{video}  ready  " in at("videos", "show", video).out
    assert at("videos", "show", video, "--json").json["facts"]["frames"] == 20


def test_a_pipeline_file_goes_with_the_job(at: Cvpipe, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nstages: [{type: decimate, fps: 1}, {type: edges}]\n")
    done = at("jobs", "submit", clip, "-p", file, "--from", "1", "--wait", "--json")
    assert (done.json["pipeline"]["name"], done.json["progress"]["frames_total"]) == ("mine", 1)


def test_a_webhook_gets_a_secret_of_its_own_that_is_shown_once(at: Cvpipe, clip: Path) -> None:
    with receiving(lambda _asked: Said()) as receiver:
        words = ["jobs", "submit", clip, "-p", "edges", "--webhook", f"{receiver.url}/hook", "--webhook-event"]
        none = at(*words, "job.running", "--json")
        assert (none.code, none.problem["field"]) == (2, "webhook.secret")
        done = at(*words, "job.succeeded", "--webhook-secret", "new", "--json")
        secret = done.json["webhook_secret"]
        assert at("jobs", "wait", done.json["id"]).code == 0
        assert secret not in at("jobs", "show", done.json["id"], "--json").out
        deadline = time.monotonic() + 60
        while not receiver.asked and time.monotonic() < deadline:
            time.sleep(0.05)
        told = receiver.asked[0]
        assert verify_webhook(told.body, told.headers, secret)["type"] == "job.succeeded"
        shown = at(*words, "job.succeeded", "--webhook-secret", "new")
        assert shown.err.startswith("webhook secret, shown this once: whsec_")
        assert at("jobs", "wait", shown.out.strip()).code == 0
    lost = at("jobs", "submit", clip, "-p", "edges", "--webhook-secret", "new", "--json")
    assert (lost.code, lost.problem["field"]) == (2, "--webhook-secret")


def test_a_job_ends_when_it_has_seen_enough(at: Cvpipe, clip: Path) -> None:
    done = at("jobs", "submit", clip, "-p", "edges", "--stop-when", "time >= 0.8", "--wait")
    assert done.code == 0
    lines = done.out.splitlines()
    assert "succeeded  5/5 frames" in lines[0]
    assert "  stopped   at frame 8, 0.8 s: time >= 0.8" in lines
    wrong = at("jobs", "submit", clip, "-p", "edges", "--stop-when", "scores > 3", "--json")
    assert (wrong.code, wrong.problem["field"]) == (2, "stop_when")


def test_a_dry_run_tells_what_it_takes_and_the_job_from_it_how_good_that_was(at: Cvpipe, clip: Path) -> None:
    dry = at("jobs", "submit", clip, "-p", "edges", "--dry-run")
    assert dry.code == 0
    said = dry.out.splitlines()
    assert [line.split()[0] for line in said[-3:]] == ["time", "memory", "output"]
    assert all(" to " in line and "it was" not in line for line in said[-3:])
    job = at("jobs", "submit", "--from-job", dry.out.split()[0], "--wait")
    assert job.code == 0
    lines = job.out.splitlines()
    assert "succeeded  10/10 frames" in lines[0]
    assert all("; it was " in line for line in lines if line.split()[0] in ("time", "memory", "output"))


def test_a_job_from_another_with_options_set_reuses_what_is_the_same(at: Cvpipe, clip: Path) -> None:
    first = at("jobs", "submit", clip, "-p", "edges", "--wait", "--json").json
    done = at("jobs", "submit", "--from-job", first["id"], "--set", "edges.low=20", "--set", "edges.high=200", "--wait")
    assert done.code == 0
    again = at("jobs", "show", done.out.split()[0], "--json").json
    assert [again["pipeline"]["stages"][3][name] for name in ("low", "high")] == [20, 200]
    assert again["from_job"] == first["id"]
    same = at("jobs", "submit", "--from-job", first["id"], "--wait")
    assert f"  reused    edges, of {first['id']}" in same.out.splitlines()
    named = at("jobs", "submit", clip, "-p", "edges", "--set", "decimate.fps=1", "--wait", "--json").json
    assert named["progress"]["frames_total"] == 2


@pytest.mark.parametrize(
    ("words", "field", "message"),
    [
        (["--set", "low=20"], "--set", "wanted STAGE.OPTION=VALUE, got 'low=20'"),
        (["--set", "edges.low=[1"], "--set", "can't read the value of 'edges.low=[1'"),
        (["--set", "edgs.low=20"], "options.edgs", "the pipeline has no stage 'edgs'"),
        (["--set", "edges.lwo=20"], "pipeline.stages.3.lwo", "lwo"),
        (["--from-job", "nobody"], "from", "there is no job 'nobody'"),
    ],
)
def test_what_is_wrong_with_options_and_other_jobs_is_told(
    at: Cvpipe, clip: Path, words: list[str], field: str, message: str
) -> None:
    done = at("jobs", "submit", clip, "-p", "edges", *words, "--json")
    assert (done.code, done.problem["field"]) == (2, field)
    assert message in done.problem["detail"]


def test_a_job_that_fails_has_exit_code_1_and_says_why(at: Cvpipe, tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk" * 100)
    done = at("jobs", "submit", junk, "-p", "edges", "--wait")
    assert done.code == 1
    assert "  failed  " in done.out
    assert "(media_unreadable)" in done.out


def test_pictures_and_clips_of_a_video_are_saved(at: Cvpipe, clip: Path, tmp_path: Path) -> None:
    video = at("videos", "upload", clip).out.strip()
    assert at("jobs", "submit", video, "-p", "edges", "--wait").code == 0
    png, jpg, sheet, part = (tmp_path / name for name in ("f.png", "f.jpg", "s.jpg", "c.mp4"))
    assert at("videos", "frame", video, "--number", "3", "--out", png).out == f"{png}\n"
    assert at("videos", "frame", video, "-n", "3", "-o", jpg, "--width", "32", "--json").json == {"saved": str(jpg)}
    assert at("videos", "sheet", video, "--out", sheet, "--columns", "2", "--rows", "2").code == 0
    assert at("videos", "clip", video, "--from", "0.5", "--to", "1", "--out", part).code == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert jpg.read_bytes().startswith(b"\xff\xd8")
    assert sheet.read_bytes().startswith(b"\xff\xd8")
    assert part.read_bytes()[4:8] == b"ftyp"
    missing = at("videos", "frame", video, "-n", "20", "-o", tmp_path / "none.png")
    assert missing.code == 2
    assert "there is no frame 20: the video has 20 frames, 0 to 19" in missing.err
    assert not (tmp_path / "none.png").exists()


def test_a_job_knows_when_its_video_was_recorded_and_a_whole_one_is_not_repaired(at: Cvpipe, clip: Path) -> None:
    words = ("jobs", "submit", clip, "-p", "edges", "--starts-at", "2026-01-01T10:00:00Z")
    job = at(*words, "--wait", "--json").json
    assert job["wall_clock"] == {"start": "2026-01-01T10:00:00Z", "source": "job"}
    first = json.loads(at("jobs", "frames", job["id"]).out.splitlines()[0])
    assert first["wall_time"] == "2026-01-01T10:00:00.000Z"
    refused = at("jobs", "repair", job["id"])
    assert (refused.code, refused.out) == (4, "")
    assert "only a job that ended with gaps can be repaired" in refused.err
    wrong = at("jobs", "submit", clip, "-p", "edges", "--starts-at", "2026-01-01 10:00")
    assert (wrong.code, wrong.out) == (2, "")
    assert "wanted a date and time with its zone" in wrong.err


def slow(tmp_path: Path) -> Path:
    file = tmp_path / "slow.yaml"
    file.write_text("name: slow\nstages: [{type: read_text}]\n")
    return file


def test_a_wait_that_takes_too_long_ends_and_the_job_can_be_canceled(at: Cvpipe, tmp_path: Path) -> None:
    long = make_clip(tmp_path / "long.mp4", frames=3000)  # more than is done before it is canceled
    done = at("jobs", "submit", long, "-p", slow(tmp_path), "--wait", "--timeout", "0", "--json")
    assert (done.code, done.out, done.problem["type"]) == (124, "", "wait_timeout")
    job = at("jobs", "ls", "--limit", "1", "--json").json[0]
    assert at("jobs", "delete", job["id"]).code == 4
    assert at("jobs", "pause", job["id"], "--json").json["state"] == "paused"
    assert at("jobs", "retry", job["id"]).code == 4
    assert at("jobs", "resume", job["id"], "--json").json["state"] in ("queued", "running")
    assert at("jobs", "cancel", job["id"], "--json").json["state"] in ("canceling", "canceled")
    assert at("jobs", "wait", job["id"]).code == 1
    assert at("jobs", "show", job["id"], "--json").json["state"] == "canceled"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["jobs", "show", "nope"], 2, id="job"),
        pytest.param(["videos", "show", "0" * 64], 2, id="video"),
        pytest.param(["jobs", "submit", "0" * 64, "-p", "edges"], 2, id="video of a job"),
        pytest.param(["jobs", "submit", "0" * 64, "-p", "edgs"], 2, id="pipeline"),
        pytest.param(["jobs", "submit", "nope.mp4", "-p", "edges"], 2, id="file"),
        pytest.param(["jobs", "submit", "--path", "/etc/passwd", "-p", "edges"], 2, id="path outside the roots"),
        pytest.param(["jobs", "ls", "--state", "tired"], 2, id="state"),
    ],
)
def test_what_the_service_refuses_is_told_in_one_line(words: list[str], code: int, at: Cvpipe) -> None:
    done = at(*words)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_a_service_that_is_not_there_is_told_with_its_address(cvpipe: Cvpipe) -> None:
    done = cvpipe("jobs", "ls", "--url", "http://127.0.0.1:1", "--json")
    assert (done.code, done.problem["type"]) == (3, "unavailable")
    assert "http://127.0.0.1:1" in done.problem["detail"]


# --- the parts of a deployment ----------------------------------------------------------------------------------------


def start(words: list[str], *, inherited: tuple[int, ...] = (), **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cvpipe", *words],
        env={**ENV, **env},
        pass_fds=inherited,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_each_part_stops_cleanly_when_asked_to(redis_url: str, tmp_path: Path) -> None:
    env = {"CVPIPE_REDIS_URL": redis_url, "CVPIPE_DATA_DIR": str(tmp_path)}
    started = []
    for words in (["api", "--port", "0"], ["worker", "--queues", "cpu, gpu", "--threads", "1", "--sweep"], ["sweep"]):
        reader, writer = os.pipe()
        started.append((start(words, inherited=(writer,), CVPIPE_READY_FD=str(writer), **env), reader))
        os.close(writer)
    for process, reader in started:
        assert os.read(reader, 16) == b"ready\n"
        os.close(reader)
        process.terminate()
    for process, _ in started:
        out, err = process.communicate(timeout=200)
        assert (process.returncode, out) == (0, ""), err


@pytest.mark.parametrize("words", [["api"], ["worker", "-q", "cpu"], ["sweep"]], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("address", "problem"),
    [
        pytest.param("", (2, "set CVPIPE_REDIS_URL"), id="no address"),
        pytest.param("redis://127.0.0.1:1/0", (3, "Redis does not answer"), id="nobody there"),
    ],
)
def test_a_part_without_a_store_does_not_start(
    words: list[str], address: str, problem: tuple[int, str], cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVPIPE_REDIS_URL", address)
    done = cvpipe(*words)
    assert (done.code, done.out) == (problem[0], "")
    assert done.err.startswith("error: ")
    assert problem[1] in done.err
    assert done.err.count("\n") == 1


def test_a_worker_for_a_queue_that_is_not_there_does_not_start(redis_url: str) -> None:
    process = start(["worker", "--queues", "cpu,gpx"], CVPIPE_REDIS_URL=redis_url)
    out, err = process.communicate(timeout=200)
    done = Done(process.returncode, out, err)
    assert done.code == 2
    assert "--queues: there is no queue gpx; there is cpu, " in done.err


def test_a_worker_without_the_device_it_was_told_to_use_does_not_start(redis_url: str) -> None:
    process = start(["worker", "-q", "gpu"], CVPIPE_REDIS_URL=redis_url, CVPIPE_DEVICE="cuda", CUDA_VISIBLE_DEVICES="")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 3
    assert "\nerror: device=cuda was asked for, but " in f"\n{err}"


def test_what_looks_alike_is_found(at: Cvpipe, clip: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "alike.yaml"
    pipeline.write_text("name: alike\nstages: [{type: embed, model: vectors}]\n")
    job = at("jobs", "submit", clip, "-p", pipeline, "--wait", "--json").json
    assert job["state"] == "succeeded"
    rows = at("jobs", "search", job["id"], "--like", "4", "--top", "3", "--json").json
    assert len(rows) == 3
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert all(row["frame"] != 4 and row["stage"] == "embed" and row["score"] > 0.9 for row in rows)
    shown = at("jobs", "search", job["id"], "--like", "4", "--top", "3").out.splitlines()
    assert shown[0].split()[:2] == ["SCORE", "FRAME:OBJECT"]
    assert [line.split()[1] for line in shown[1:]] == [str(row["frame"]) for row in rows]
    wrong = at("jobs", "search", job["id"], "--like", "4:0")
    assert (wrong.code, "no embedding at 4:0" in wrong.err) == (2, True)


def test_a_camera_is_given_to_the_service(at: Cvpipe, tmp_path: Path) -> None:
    (tmp_path / "west.json").write_text(json.dumps({k: v for k, v in pitch_camera().items() if k != "name"}))
    assert at("cameras", "add", tmp_path / "west.json").out.startswith("west@1 is ready, known by points\n")
    assert at("cameras", "ls").out.splitlines()[1].split() == ["west", "1", "ready", "points", "0.00", "pixels"]
    assert at("cameras", "show", "west@1", "--json").json["version"] == 1
    assert at("cameras", "rm", "west").code == 0
    assert at("cameras", "show", "west").code == 2


def test_what_has_happened_is_told(at: Cvpipe, clip: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "stays.yaml"
    pipeline.write_text(
        "name: stays\nstages: [{type: contours}, {type: track, of: contours, class_aware: false}, {type: dwell}]\n"
    )
    job = at("jobs", "submit", clip, "-p", pipeline, "--wait", "--json").json
    assert job["exports"] == ["frames.ndjson", "tracks.ndjson", "events.ndjson"]
    rows = [json.loads(line) for line in at("jobs", "events", job["id"], "--json").out.splitlines()]
    assert rows[0]["number"] == 1
    assert {row["kind"] for row in rows} == {"dwell"}
    shown = at("jobs", "events", job["id"], "--kind", "dwell").out.splitlines()
    assert shown[0].split() == ["START", "END", "KIND", "STAGE", "TRACKS", "EVIDENCE", "VALUES"]
    assert len(shown) == len(rows) + 1
    assert at("jobs", "events", job["id"], "--kind", "line_crossed", "--json").out == ""
    at("jobs", "download", job["id"], "events.ndjson", "--out", tmp_path)
    assert [json.loads(line) for line in (tmp_path / "events.ndjson").read_text().splitlines()] == rows


@pytest.mark.parametrize("words", [["api", "--port", "0"], ["worker", "-q", "cpu"]], ids=lambda words: words[0])
def test_a_part_whose_data_directory_can_not_be_written_does_not_start(
    words: list[str], redis_url: str, tmp_path: Path, cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CVPIPE_REDIS_URL", redis_url)
    monkeypatch.setenv("CVPIPE_DATA_DIR", str(tmp_path / "file" / "data"))
    done = cvpipe(*words)
    assert (done.code, done.out) == (2, "")
    assert "can't write to the data directory" in done.err
    assert "CVPIPE_DATA_DIR" in done.err


@pytest.mark.parametrize(
    ("configuration", "why"),
    [
        pytest.param({"appendonly": "no"}, "without an append-only file", id="keeps nothing"),
        pytest.param({"maxmemory-policy": "allkeys-lru"}, "may evict records", id="evicts"),
    ],
)
def test_a_part_does_not_start_on_a_store_that_would_lose_jobs(
    configuration: dict[str, str], why: str, redis_url: str, cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVPIPE_REDIS_URL", redis_url)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        before = {name: client.config_get(name)[name] for name in configuration}
        for name, value in configuration.items():
            client.config_set(name, value)
        try:
            done = cvpipe("sweep")
        finally:
            for name, value in before.items():
                client.config_set(name, value)
    assert (done.code, done.out) == (3, "")
    assert why in done.err
    assert "redis-cli CONFIG SET" in done.err


@pytest.mark.parametrize("url", ["amqp://guest:guest@rabbit.example/", "amqp://10.0.0.5:5672/%2f"])
def test_a_part_does_not_use_a_broker_elsewhere_as_guest(
    url: str, redis_url: str, cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVPIPE_REDIS_URL", redis_url)
    monkeypatch.setenv("CVPIPE_BROKER_URL", url)
    done = cvpipe("sweep")
    assert (done.code, done.out) == (2, "")
    assert "guest/guest" in done.err
    assert "rabbitmqctl add_user" in done.err


def test_a_part_does_not_start_where_a_queue_is_another(
    rabbitmq_url: str, redis_url: str, cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_other_arguments(rabbitmq_url)
    monkeypatch.setenv("CVPIPE_REDIS_URL", redis_url)
    monkeypatch.setenv("CVPIPE_BROKER_URL", rabbitmq_url)
    done = cvpipe("sweep")
    assert (done.code, done.out) == (4, "")
    assert "rabbitmqctl delete_queue cvpipe.v1.gpu" in done.err
