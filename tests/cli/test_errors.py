"""Errors are one line with an exit code that is documented; with `--json`, one object."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cvpipe import errors
from cvpipe.cli.errors import report
from cvpipe.cli.exits import ExitCode, exit_code_of, exit_code_of_state
from cvpipe.cli.extras import missing_extra, require
from cvpipe.errors import ApiError, CvpipeError, ExtraMissing
from tests.cli.conftest import Cvpipe


def test_the_exit_codes_are_those_of_the_documentation(root: Path) -> None:
    text = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    table = {int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)}
    assert table == {int(code): code.meaning for code in ExitCode}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidPipeline("x"), 2),
        (errors.NotFound("x"), 2),
        (errors.MediaUnreadable("x"), 2),
        (errors.TooLarge("x"), 2),
        (errors.StoreUnavailable("x"), 3),
        (errors.DeviceUnavailable("x"), 3),
        (errors.ExtraMissing("x"), 3),
        (errors.Conflict("x"), 4),
        (errors.AlreadyRunning("x"), 4),
        (errors.WaitTimeout("x"), 124),
        (ApiError({"type": "about:blank#not_found"}, status=404), 2),
        (ApiError({"type": "about:blank#invalid_pipeline"}, status=422), 2),
        (ApiError({"type": "about:blank#conflict"}, status=409), 4),
        (ApiError({"type": "about:blank#store_unavailable"}, status=503), 3),
        (ApiError({"type": "about:blank"}, status=429), 3),
        (CvpipeError("x"), 70),
    ],
    ids=lambda value: f"{type(value).__name__} {value.status}" if isinstance(value, CvpipeError) else str(value),
)
def test_each_error_has_its_exit_code(error: CvpipeError, code: int) -> None:
    assert exit_code_of(error) == code


@pytest.mark.parametrize(
    ("state", "code"), [("succeeded", 0), ("succeeded_with_gaps", 5), ("failed", 1), ("canceled", 1)]
)
def test_the_exit_code_tells_how_a_job_ended(state: str, code: int) -> None:
    assert exit_code_of_state(state) == code


def no_module(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.NotFound("there is no job 7", field="job"), 2, "job: there is no job 7"),
        (errors.NotFound("two\nlines"), 2, "two lines"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.mp4"), 2, "a.mp4: No such file"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Abort(), 130, "interrupted"),
        (no_module("av.video"), 3, "this needs av: pip install 'cvpipe[cpu]' (or 'cvpipe[gpu]', never both)"),
        (no_module("uvicorn"), 3, "this needs uvicorn: pip install 'cvpipe[api]'"),
        (KeyError("x"), 70, "KeyError: 'x' (a defect of cvpipe; CVPIPE_DEBUG=1 shows where)"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_error_is_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(error, as_json=False, debug=False) == code
    assert capsys.readouterr() == ("", f"error: {line}\n")


def test_with_json_an_error_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(errors.InvalidPipeline("no", field="stages.1.fps"), as_json=True, debug=False) == 2
    assert json.loads(capsys.readouterr().err) == {
        "type": "invalid_pipeline",
        "detail": "stages.1.fps: no",
        "field": "stages.1.fps",
        "exit_code": 2,
    }


def test_debug_adds_the_traceback(cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in cvpipe("stages", "show", "nope").err
    monkeypatch.setenv("CVPIPE_DEBUG", "1")
    done = cvpipe("stages", "show", "nope")
    assert "Traceback" in done.err
    assert done.err.endswith("error: there is no stage 'nope'; there is " + done.err.rpartition("there is ")[2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stages", "shw"], "No such command 'shw'. Did you mean 'show'?; see `cvpipe stages --help`"),
        (["run"], "Missing argument 'VIDEO'; see `cvpipe run --help`"),
        (["run", "a.mp4", "--pipline", "edges"], "No such option: --pipline"),
        (["up", "--port", "65536"], "less than or equal to 65535"),
        (["jobs", "submit", "--pipeline", "edges"], "give either VIDEO or --path, or a job to begin with (--from-job)"),
        (["jobs", "submit", "a.mp4", "--pipeline", "edges", "--label", "x"], "--label: wanted KEY=VALUE, got 'x'"),
        (["run", "a.mp4", "-p", "edges", "-o", "o", "--from", "2", "--to", "1"], "--to: must be greater than --from"),
        (
            ["run", "a.mp4", "-p", "edges", "-o", "o", "--from", "nan"],
            "--from: wanted seconds from 0 to 10000000, got nan",
        ),
        (["run", "a.mp4", "-p", "edges", "-o", "o", "--to", "-1"], "--to: wanted seconds from 0 to 10000000, got -1"),
        (
            ["video", "clip", "a.mp4", "--to", "1e9", "-o", "o.mp4"],
            "--to: wanted seconds from 0 to 10000000, got 1e+09",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value[:20],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_wrong_command_line_is_told_in_one_line(
    words: list[str], message: str, as_json: bool, cvpipe: Cvpipe
) -> None:
    done = cvpipe(*words, *(["--json"] if as_json else []))
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert message in (done.problem["detail"] if as_json else done.err)


def test_a_wrong_environment_variable_is_named(cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVPIPE_THREADS", "many")
    done = cvpipe("models", "ls")
    assert done.code == 2
    assert done.err.startswith("error: CVPIPE_THREADS: ")
    assert "'many'" in done.err


def test_what_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("av", "fastapi") else object())
    with pytest.raises(ExtraMissing) as raised:
        require("api", "worker", what="cvpipe up")
    assert raised.value.message == (
        "cvpipe up needs av, fastapi: pip install 'cvpipe[api]' "
        "and pip install 'cvpipe[cpu]' (or 'cvpipe[gpu]', never both)"
    )


def test_a_module_of_no_extra_is_a_defect() -> None:
    assert missing_extra(ModuleNotFoundError("No module named 'cvpip'", name="cvpip")) is None


def test_a_reader_that_goes_away_is_no_error(root: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-m", "cvpipe", "stages", "ls", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, env=env, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=200, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
