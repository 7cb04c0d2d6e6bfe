"""`cvpipe keys`, and commands that bring a key, around one real `cvpipe up` that wants them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cvpipe
from tests.cli.test_service import start
from tests.test_embedded import Up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("keys") / "data", CVPIPE_AUTH="keys")
    yield up
    up.close()


@pytest.fixture
def at(cvpipe: Cvpipe, up: Up, monkeypatch: pytest.MonkeyPatch) -> Cvpipe:
    """`cvpipe WORDS` beside the service, without a key."""
    monkeypatch.setenv("CVPIPE_URL", up.url)
    monkeypatch.setenv("CVPIPE_DATA_DIR", up.ready["data_dir"])
    monkeypatch.delenv("CVPIPE_API_KEY", raising=False)
    return cvpipe


def test_the_first_key_is_told_once_and_does_all_of_a_job(
    up: Up, at: Cvpipe, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = at("jobs", "ls", "--json")
    assert (refused.code, refused.out, refused.problem["type"]) == (2, "", "unauthenticated")
    key = up.ready["admin_key"]
    monkeypatch.setenv("CVPIPE_API_KEY", key)
    job = at("jobs", "submit", clip, "-p", "edges", "--wait", "--json").json
    assert (job["state"], job["progress"]["frames_done"]) == ("succeeded", 10)
    assert len(at("jobs", "frames", job["id"]).out.splitlines()) == 10
    assert at("jobs", "download", job["id"], "--out", tmp_path).code == 0
    assert at("videos", "frame", job["video"], "-n", "3", "-o", tmp_path / "3.jpg").code == 0
    data = Path(up.ready["data_dir"])
    everywhere = [path for path in data.rglob("*") if path.is_file()]
    assert len(everywhere) > 5
    assert [path for path in everywhere if key[-64:].encode() in path.read_bytes()] == []


def test_keys_are_made_listed_used_and_revoked(at: Cvpipe, monkeypatch: pytest.MonkeyPatch) -> None:
    made = at("keys", "create", "camera gateway", "--tenant", "site-3", "--scope", "read", "--days", "30")
    key = made.out.strip()
    key_id = key.split("_")[1]
    assert made.err == f"this is the key {key_id} of the tenant site-3, and shown this once; it may read\n"
    monkeypatch.setenv("CVPIPE_API_KEY", key)
    assert at("jobs", "ls", "--json").json == []
    refused = at("jobs", "submit", "--path", "/x.mp4", "-p", "edges")
    assert (refused.code, "a key with the scope `submit`" in refused.err) == (2, True)

    listed = {each["id"]: each for each in at("keys", "ls", "--json").json}
    assert (listed[key_id]["name"], listed[key_id]["scopes"]) == ("camera gateway", ["read"])
    assert listed[key_id]["last_used_at"] is not None
    lines = at("keys", "ls").out.splitlines()
    assert lines[0].split() == ["ID", "TENANT", "MAY", "STATE", "LAST", "USED", "NAME"]
    (line,) = (line for line in lines if line.startswith(key_id))
    assert line.split()[1:4] == ["site-3", "read", "until"]

    assert at("keys", "revoke", key).out == f"{key_id} revoked (camera gateway)\n"
    assert at("keys", "revoke", key_id, "--json").json["revoked_at"] is not None
    assert at("keys", "revoke", "ffffffffffff").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tenant", "Site 3"], "--tenant: "),
        (["--scope", "root"], "--scope"),
        (["--days", "-1"], "--days: must be greater than 0, and at most 36600; got -1\n"),
        (["--days", "nan"], "--days: must be greater than 0, and at most 36600; got nan\n"),
        (["--quota", "nope=1"], "--quota: there is no quota 'nope'; there is: upload_bytes, stored_bytes, "),
        (["--quota", "open_jobs"], "--quota: wanted NAME=NUMBER, such as open_jobs=5; got 'open_jobs'"),
    ],
    ids=str,
)
def test_a_key_that_can_not_be_is_refused_in_one_line(words: list[str], said: str, at: Cvpipe) -> None:
    done = at("keys", "create", "x", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_without_a_store_there_are_no_keys(cvpipe: Cvpipe) -> None:
    done = cvpipe("keys", "ls")
    assert (done.code, done.out) == (2, "")
    assert "set CVPIPE_REDIS_URL, or start the service first" in done.err


def test_the_api_tells_its_first_key_on_standard_output_and_not_in_its_log(redis_url: str, tmp_path: Path) -> None:
    def run() -> tuple[str, str]:
        reader, writer = os.pipe()
        env = {"CVPIPE_REDIS_URL": redis_url, "CVPIPE_DATA_DIR": str(tmp_path), "CVPIPE_AUTH": "keys"}
        process = start(["api", "--port", "0"], inherited=(writer,), CVPIPE_READY_FD=str(writer), **env)
        os.close(writer)
        assert os.read(reader, 16) == b"ready\n"
        os.close(reader)
        process.terminate()
        return process.communicate(timeout=200)

    out, log = run()
    said, _, key = out.strip().rpartition(" ")
    assert (said, key[:4]) == ("the first administrator's key, shown this once:", "cvp_")
    assert "cvp_" not in log
    assert run()[0] == ""
