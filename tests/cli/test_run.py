"""`cvpipe run`: one process, real decoding, files at the end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cvpipe


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "frames.ndjson").read_text(encoding="utf-8").splitlines()]


def test_run_writes_records_and_a_job_document(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    done = cvpipe("run", clip, "--pipeline", "edges", "--out", tmp_path / "out")
    assert done.code == 0
    assert done.out.startswith("10 frames in ")
    assert done.out.endswith(f" frames/s: {tmp_path / 'out' / 'frames.ndjson'}\n")
    assert done.err == ""  # no terminal, no progress bar
    assert [record["frame"] for record in records(tmp_path / "out")] == list(range(0, 20, 2))
    assert json.loads((tmp_path / "out" / "job.json").read_text())["state"] == "succeeded"


def test_run_in_chunks_of_a_part_of_the_video(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "every-frame.yaml"
    file.write_text("name: every-frame\nstages: [{type: edges}]\n")
    cvpipe("run", clip, "-p", file, "-o", tmp_path / "all")
    part = ["--chunk-seconds", "0.5", "--from", "0.5", "--to", "1.5", "--threads", "2"]
    done = cvpipe("run", clip, "-p", file, "-o", tmp_path / "part", *part, "--json")
    assert done.code == 0
    assert done.json == json.loads((tmp_path / "part" / "job.json").read_text())
    assert done.json["chunks"] == 2
    assert records(tmp_path / "part") == [r for r in records(tmp_path / "all") if 0.5 <= r["time"] < 1.5]
    assert len(records(tmp_path / "part")) == 10


def test_run_ends_with_the_first_frame_for_which_a_condition_holds(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    words = ["run", clip, "-p", "edges", "-o", tmp_path / "out", "--chunk-seconds", "0.5", "--stop-when"]
    done = cvpipe(*words, "edges.density >= 0 and time >= 0.8")
    assert done.out.startswith("5 frames (seen enough at 0.8 s) in ")
    assert [record["frame"] for record in records(tmp_path / "out")] == [0, 2, 4, 6, 8]
    wrong = cvpipe(*words, "edgs.density > 0", "--json")
    assert (wrong.code, wrong.problem["field"]) == (2, "--stop-when")
    assert "no stage 'edgs' (did you mean 'edges'?)" in wrong.problem["detail"]


def test_a_pipeline_can_be_a_file(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nstages: [{type: decimate, fps: 1}, {type: edges}]\n")
    done = cvpipe("run", clip, "-p", file, "-o", tmp_path / "out", "--json")
    assert (done.code, done.json["pipeline"]["name"], done.json["frames"]["total"]) == (0, "mine", 2)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        pytest.param(["nope.mp4", "-p", "edges"], "invalid_request", id="no such file"),
        pytest.param([__file__, "-p", "edges"], "media_unreadable", id="not a video"),
        pytest.param(["CLIP", "-p", "edgs"], "not_found", id="no such pipeline"),
        pytest.param(["CLIP", "-p", "nope.yaml"], "not_found", id="no such pipeline file"),
        pytest.param(["CLIP", "-p", "detect"], "not_found", id="no such model"),
        pytest.param(["CLIP", "-p", "edges", "--from", "7"], "invalid_request", id="nothing in the range"),
        pytest.param(["CLIP", "-p", "edges", "--starts-at", "2026-01-01T10:00"], "invalid_request", id="no time zone"),
        pytest.param(["CLIP", "-p", "edges", "--starts-at", "noon"], "invalid_request", id="no time"),
    ],
)
def test_what_is_wrong_with_the_input_is_told(
    words: list[str], problem: str, cvpipe: Cvpipe, clip: Path, tmp_path: Path
) -> None:
    given = [str(clip) if word == "CLIP" else word for word in words]
    done = cvpipe("run", *given, "-o", tmp_path / "out", "--json")
    assert (done.code, done.out, done.problem["type"]) == (2, "", problem)
    assert not (tmp_path / "out" / "frames.ndjson").exists()


def test_a_run_with_gaps_has_an_exit_code_of_its_own(
    cvpipe: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {
        "state": "succeeded_with_gaps",
        "frames": {"total": 10, "ok": 7, "decode_error": 2, "failed": 1},
        "gaps": [{"status": "decode_error"}, {"status": "failed"}, {"status": "missing"}],
        "decoding": {},
        "summary": {"gate": {"frames": 10, "skipped": 4, "skipped_fraction": 0.4}, "scenes": {"cut": 1}},
        "seconds": 2.0,
        "fps": 5.0,
        "exports": ["frames.ndjson"],
    }
    monkeypatch.setattr("cvpipe.engine.run_local", lambda *_args, **_kwargs: job)
    done = cvpipe("run", clip, "-p", "edges", "-o", tmp_path)
    assert done.code == 5
    assert done.out == (
        "10 frames (3 could not be read, in 2 gaps, the file is cut off, 4 skipped by gate) in 2.0 s, 5.0 frames/s: "
        f"{tmp_path}/frames.ndjson\n"
    )


@pytest.mark.parametrize(
    ("told", "noted"),
    [
        pytest.param({"frames": 10, "skipped": 0}, "", id="a gate that let all through"),
        pytest.param({"calls": 4, "items": 4, "failed": 0, "skipped": 0}, "", id="all answered"),
        pytest.param(
            {"calls": 2, "items": 5, "failed": 1, "skipped": 3},
            " (4 of 5 questions of make without an answer)",
            id="some",
        ),
        pytest.param(
            {"calls": 1, "items": 1, "failed": 1, "skipped": 0},
            " (1 of 1 question of make without an answer)",
            id="none",
        ),
    ],
)
def test_what_a_server_outside_left_open_is_told(
    told: dict[str, int], noted: str, cvpipe: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {
        "state": "succeeded",
        "frames": {"total": 10, "ok": 10, "decode_error": 0, "failed": 0},
        "gaps": [],
        "decoding": {},
        "summary": {"make": told},
        "seconds": 2.0,
        "fps": 5.0,
        "exports": ["calls.ndjson"],
    }
    monkeypatch.setattr("cvpipe.engine.run_local", lambda *_args, **_kwargs: job)
    done = cvpipe("run", clip, "-p", "edges", "-o", tmp_path)
    assert (done.code, done.out) == (0, f"10 frames{noted} in 2.0 s, 5.0 frames/s: {tmp_path}/calls.ndjson\n")


def test_what_a_card_did_not_decode_is_told(
    cvpipe: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {
        "state": "succeeded",
        "frames": {"total": 10, "ok": 10, "decode_error": 0, "failed": 0},
        "gaps": [],
        "decoding": {"cpu: h264 of yuv422p": 1, "nvdec": 9},
        "summary": {},
        "seconds": 2.0,
        "fps": 5.0,
        "exports": ["frames.ndjson"],
    }
    monkeypatch.setattr("cvpipe.engine.run_local", lambda *_args, **_kwargs: job)
    done = cvpipe("run", clip, "-p", "edges", "-o", tmp_path)
    assert done.out.startswith("10 frames (1 decoded by cpu: h264 of yuv422p, 9 decoded by nvdec) in 2.0 s")


def test_nvdec_that_is_not_there_ends_a_run_before_it_begins(
    cvpipe: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvpipe.video.hardware._CONTROL", tmp_path / "nvidiactl")
    words = ["run", clip, "-p", "edges", "-o", tmp_path / "out", "--decode"]
    done = cvpipe(*words, "nvdec", "--json")
    assert (done.code, done.problem["type"]) == (3, "device_unavailable")
    assert "decode=nvdec was asked for, but there is no" in done.problem["detail"]
    assert not (tmp_path / "out" / "job.json").exists()
    done = cvpipe(*words, "auto", "--json")
    assert (done.code, done.json["decoding"]) == (0, {})
    monkeypatch.setenv("CVPIPE_DECODE", "gpu")
    done = cvpipe(*words[:-1], "--json")
    assert (done.code, done.problem["type"], done.problem["field"]) == (2, "invalid_request", "CVPIPE_DECODE")


def test_a_stage_that_raises_is_blamed_in_one_line(
    cvpipe: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvpipe.stages.edges import Edges

    monkeypatch.setattr(Edges, "process", lambda self, frames, found: {}["x"])
    done = cvpipe("run", clip, "-p", "edges", "-o", tmp_path / "out")
    assert (done.code, done.out, done.err) == (1, "", "error: stage 'edges' failed: KeyError: 'x'\n")
    done = cvpipe("run", clip, "-p", "edges", "-o", tmp_path / "out", "--json")
    assert done.problem["type"] == "stage_failed"


def test_records_tell_the_time_of_day_where_the_beginning_is_given(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    done = cvpipe(
        "run", clip, "-p", "edges", "-o", tmp_path / "out", "--starts-at", "2026-01-01T12:00:00+02:00", "--json"
    )
    assert done.json["starts_at"] == "2026-01-01T10:00:00.000Z"
    assert [r["wall_time"] for r in records(tmp_path / "out")[:2]] == [
        "2026-01-01T10:00:00.000Z", "2026-01-01T10:00:00.200Z",
    ]  # fmt: skip
    cvpipe("run", clip, "-p", "edges", "-o", tmp_path / "out")
    assert "wall_time" not in records(tmp_path / "out")[0]


def test_a_missing_extra_is_named(cvpipe: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvpipe.cli.extras.missing_modules", lambda _extra: ["av"])
    done = cvpipe("run", clip, "-p", "edges", "-o", tmp_path)
    assert (done.code, done.err) == (
        3,
        "error: cvpipe run needs av: pip install 'cvpipe[cpu]' (or 'cvpipe[gpu]', never both)\n",
    )


def command(root: Path, *words: object) -> tuple[list[str], dict[str, str]]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root / "src"), "TERM": "xterm", "COLUMNS": "100"}
    return [sys.executable, "-m", "cvpipe", *map(str, words)], env


def test_a_terminal_gets_a_progress_bar_on_standard_error(root: Path, clip: Path, tmp_path: Path) -> None:
    words, env = command(root, "run", clip, "-p", "edges", "-o", tmp_path, "--json")
    screen, terminal = pty.openpty()
    done = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=terminal, text=True)
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # what Linux says at the end of a terminal
        while block := os.read(screen, 4096):
            shown += block
    out, _ = done.communicate(timeout=200)
    os.close(screen)
    assert done.returncode == 0
    assert json.loads(out)["state"] == "succeeded"
    assert b"clip.mp4" in shown
    assert b"10/10" in shown


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            children = [int(child) for child in task.read_text().split()]
            found += children
            for child in children:
                found += descendants(child)
    return found


def test_ctrl_c_ends_a_run_in_one_line(root: Path, assets: Path, tmp_path: Path) -> None:
    file = tmp_path / "slow.yaml"
    file.write_text("name: slow\nstages: [{type: read_text}]\n")
    video = assets / "videos" / "one-by-one-person-detection.mp4"  # minutes of reading: it is not over before
    words, env = command(root, "run", video, "-p", file, "-o", tmp_path / "out")
    words = ["env", "--default-signal=INT", *words]  # tests that a shell has begun in the background ignore it
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 60
        while len(descendants(run.pid)) < 2 and run.poll() is None:  # the fork server and a decoder: it is at work
            assert time.monotonic() < deadline
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=200)
    assert (run.returncode, out, err) == (130, "", "error: interrupted\n")
    assert not (tmp_path / "out" / "frames.ndjson").exists()


CAMERA = "points:\n" + "".join(
    f"- {{pixel: {pixel}, world: {world}}}\n"
    for pixel, world in [([0, 180], [0, 0]), ([320, 180], [9, 0]), ([250, 90], [9, 12]), ([70, 90], [0, 12])]
)


def test_a_camera_is_for_stages_that_name_none(cvpipe: Cvpipe, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nstages: [{type: decimate, fps: 1}, {type: edges}, {type: to_world}]\n"
    )
    (tmp_path / "street.yaml").write_text(CAMERA)
    words = ["run", clip, "-p", tmp_path / "mine.yaml", "-o", tmp_path / "out", "--json"]
    done = cvpipe(*words, "--camera", tmp_path / "street.yaml")
    assert done.code == 0
    assert done.json["pipeline"]["stages"][2]["camera"]["name"] == "street"
    refused = cvpipe(*words)
    assert (refused.code, refused.problem["type"]) == (2, "invalid_pipeline")
    assert "stage 3 (to_world) needs a camera" in refused.problem["detail"]
