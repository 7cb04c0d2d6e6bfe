"""What a confined process can't do any more."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cvpipe.frames import View
from tests.video.reading import descriptors, read

TRIALS = """
import json, os, socket, sys
sys.path[:] = {path!r}
from cvpipe.video import sandbox
held = os.open({file!r}, os.O_RDONLY)
done = sandbox.confine()
def trial(do):
    try:
        do()
    except OSError as error:
        return error.errno
    return 0
out = {{"done": done, "results": {{
    "read a file": trial(lambda: os.open({file!r}, os.O_RDONLY)),
    "write a file": trial(lambda: os.open({file!r} + ".new", os.O_WRONLY | os.O_CREAT)),
    "list a folder": trial(lambda: os.listdir("/")),
    "run a program": trial(lambda: os.execv("/bin/true", ["true"])),
    "reach the network": trial(lambda: socket.create_connection(("127.0.0.1", {port}), 2)),
    "become root": trial(lambda: os.setuid(0) if os.getuid() else os.chroot("/")),
}}, "kept": trial(lambda: os.read(held, 4))}}
print(json.dumps(out))
"""


@pytest.fixture
def port():
    """A port of this machine that something listens to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_confined_process_reaches_neither_files_nor_network(tmp_path, port):
    file = tmp_path / "secret"
    file.write_text("secret")
    code = TRIALS.format(path=[entry for entry in sys.path if entry], file=str(file), port=port)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    out = json.loads(run.stdout)
    allowed = [what for what, errno in out["results"].items() if errno == 0]
    # A kernel may not offer all of it; then `confine` says so.
    excused = set()
    if "no-files" not in out["done"]:
        excused |= {"read a file", "write a file", "list a folder", "run a program"}
    if "no-network" not in out["done"]:
        excused |= {"reach the network"}
    assert set(allowed) <= excused
    assert "no-new-privileges" in out["done"]
    assert "no-capabilities" in out["done"]
    assert out["kept"] == 0  # what it had opened before, it may read


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def limits(pid: int) -> dict[str, str]:
    return {line[:26].strip(): line[26:47].strip() for line in Path(f"/proc/{pid}/limits").read_text().splitlines()}


def test_a_decoder_has_limits_no_environment_and_few_descriptors(decoders, clips, monkeypatch):
    monkeypatch.setenv("CVPIPE_SECRET", "x")
    path = clips("closed.mp4")
    index = decoders.index(path)
    with decoders.read(path, index, np.arange(60), [View.of(96, 64)]) as frames:
        next(frames)
        set_to = limits(frames.pid)
        assert set_to["Max core file size"] == "0"
        assert set_to["Max file size"] == "0"
        assert set_to["Max open files"] == "16"
        assert set_to["Max processes"] == "0"
        assert set_to["Max cpu time"] == "14400"
        assert int(set_to["Max address space"]) >= decoders.limits.memory_bytes
        told = status(frames.pid)
        assert told["NoNewPrivs"] == "1"
        assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == 0
        assert told["Threads"] == "1"
        if os.geteuid() == 0:  # others may not look into it
            assert b"SECRET" not in Path(f"/proc/{frames.pid}/environ").read_bytes()
            opened = descriptors(frames.pid)
            assert len(opened) <= 7  # three times /dev/null, the video (FFmpeg has its own), the socket, the memory
            assert str(path) in opened


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_requests_to_stop_are_for_the_parent_to_understand(decoders, clips, sent):
    path = clips("closed.mp4")
    index = decoders.index(path)
    with decoders.read(path, index, np.arange(60), [View.of(96, 64)]) as frames:
        next(frames).release()
        os.kill(frames.pid, sent)
        os.kill(decoders.server_pid, sent)
        assert sum(frame.release() is None for frame in frames) == 59
    assert len(read(decoders, path, index, [4])) == 1
