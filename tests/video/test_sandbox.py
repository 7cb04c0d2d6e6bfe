"""What a decoder can't do any more, what it can see, and that decoding needs nothing else."""

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
from cvpipe.video import Decoders, sandbox, seccomp, spawning
from tests.video.reading import descriptors, read

TRIALS = """
import ctypes, encodings.idna, json, mmap, os, signal, socket, sys, threading
sys.path[:] = {path!r}
from cvpipe.video import sandbox, seccomp
from cvpipe.video.limits import Limits
libc = ctypes.CDLL(None, use_errno=True)
held = os.open({file!r}, os.O_RDONLY)
done = sandbox.confine()
def trial(do):
    try:
        do()
    except OSError as error:
        return error.errno
    except RuntimeError as error:
        return str(error)
    return 0
def syscall(*arguments):
    if libc.syscall(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "")
def connect():
    with socket.socket() as s:
        s.settimeout(2)
        s.connect(("127.0.0.1", {port}))
confined = {{
    "read a file": lambda: os.open({file!r}, os.O_RDONLY),
    "write a file": lambda: os.open({file!r} + ".new", os.O_WRONLY | os.O_CREAT),
    "list a folder": lambda: os.listdir("/"),
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "reach the network": connect,
    "become root": lambda: os.setuid(0) if os.getuid() else os.chroot("/"),
    "see that a file exists": lambda: os.stat({file!r}),
}}
filtered = {{
    "make a socket": lambda: socket.socket(socket.AF_UNIX),
    "start a process": lambda: os._exit(0) if os.fork() == 0 else None,
    "start a thread": threading.Thread(target=int).start,
    "send a signal to another process": lambda: os.kill(os.getppid(), 0),
    "send a signal to a thread of another": lambda: syscall({tgkill}, os.getppid(), os.getppid(), 0),
    "limit another process": lambda: syscall({prlimit}, os.getppid(), 0, None, None),
    "trace a process": lambda: libc.ptrace(0, 0, 0, 0) == -1 and os.pipe(),
    "make a pipe": os.pipe,
    "make memory of its own kind": lambda: os.memfd_create("x"),
    "ask for executable memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "ask about a file by name": lambda: os.stat({file!r}),
    "control a device": lambda: os.get_terminal_size(held),
    "change its limits of resources by prctl": lambda: syscall({prctl}, 4, 1, 0, 0, 0),
    "make a filter of its own": lambda: syscall({seccomp}, 2, 0, ctypes.byref(ctypes.c_uint(0x7FFF0000))),
}}
out = {{"done": done, "confined": {{name: trial(do) for name, do in confined.items()}}}}
sandbox.close_in(Limits(), shared_bytes=0, filtered="few-system-calls" in done)
out["filtered"] = {{name: trial(do) for name, do in filtered.items()}}
out["kept"] = trial(lambda: os.read(held, 4)) or trial(lambda: os.fstat(held)) or trial(lambda: mmap.mmap(-1, 4096))
print(json.dumps(out), flush=True)
os.abort()
"""
NUMBERS = {
    "x86_64": {"tgkill": 234, "prlimit": 302, "prctl": 157, "seccomp": 317},
    "aarch64": {"tgkill": 131, "prlimit": 261, "prctl": 167, "seccomp": 277},
}


@pytest.fixture
def port():
    """A port of this machine that something listens to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def trials(tmp_path, port):
    """What a confined, then filtered process could do: errno of each trial, 0 where it worked."""
    file = tmp_path / "secret"
    file.write_text("secret")
    numbers = NUMBERS[os.uname().machine]
    code = TRIALS.format(path=[entry for entry in sys.path if entry], file=str(file), port=port, **numbers)
    # A process with a second thread, as OpenBLAS starts, gets no user namespace.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == -signal.SIGABRT, run.stderr  # and abort() still ends its own process as it should
    return json.loads(run.stdout)


def test_a_confined_process_reaches_neither_files_nor_network(trials):
    allowed = {what for what, errno in trials["confined"].items() if errno == 0}
    # A kernel may not offer all of it; then `confine` says so.
    excused = set()
    if "no-files" not in trials["done"]:
        excused |= {"read a file", "write a file", "list a folder", "run a program"}
    if "no-network" not in trials["done"]:
        excused |= {"reach the network"}
    if "empty-root" not in trials["done"]:
        excused |= {"see that a file exists"}
    assert allowed <= excused
    assert {"limits", "no-new-privileges", "no-capabilities"} <= set(trials["done"]) <= set(sandbox.MEASURES)
    assert trials["kept"] == 0  # what it had opened before, it may read


def test_a_filtered_process_makes_no_other_system_calls(trials):
    if "few-system-calls" not in trials["done"]:
        pytest.skip("this kernel takes no filter")
    assert {what: errno for what, errno in trials["filtered"].items() if errno != 1} == {
        "start a thread": "can't start new thread"
    }


def test_what_the_kernel_refuses_is_left_out(clips, monkeypatch):
    """Where nothing is offered, the limits are what is left, and decoding goes on."""
    boot = spawning._BOOT.replace(
        "from cvpipe.video.forkserver",
        "from cvpipe.video import sandbox; sandbox._libc.unshare = sandbox._libc.prctl = sandbox._libc.capset = "
        "lambda *_: -1; sandbox._leave_files = lambda: False; from cvpipe.video.forkserver",
    )
    monkeypatch.setattr(spawning, "_BOOT", boot)
    with Decoders() as decoders:
        assert decoders.protection == ("limits",)
        assert len(decoders.index(clips("closed.mp4"))) == 60


def test_a_kernel_without_seccomp_is_told_from_one_with_it(monkeypatch):
    assert seccomp.is_offered() == Path("/proc/sys/kernel/seccomp/actions_avail").exists()
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    assert not seccomp.is_offered()


SPY = """
def spy(end, video, memory, *, filtered, card):
    import os, socket
    from cvpipe.video import sandbox
    from cvpipe.video.limits import Limits
    sandbox.close_in(Limits(), shared_bytes=0, filtered=filtered)
    def look(do):
        try:
            return do()
        except OSError as error:
            return error.strerror
    def lives(fd):
        try:
            return os.lseek(fd, 0, os.SEEK_CUR) >= 0
        except OSError as error:
            return error.errno != 9
    def size(fd):
        return os.fstat(fd).st_size
    seen = {
        "environment": dict(os.environ), "folder": look(os.getcwd), "root": look(lambda: os.listdir("/")),
        "processes": look(lambda: os.listdir("/proc")), "descriptors": [fd for fd in range(64) if lives(fd)],
        "sizes": {name: size(fd) for name, fd in (("video", video), ("memory", memory))},
        "interfaces": look(socket.if_nameindex), "written": look(lambda: os.write(video, b"x")),
    }
    end.send(json.dumps(seen).encode())
from cvpipe.video import child
child.run = spy
"""


def test_a_decoder_sees_its_one_file_and_nothing_else(clips, monkeypatch):
    monkeypatch.setenv("CVPIPE_SECRET", "x")
    monkeypatch.setattr(spawning, "_BOOT", spawning._BOOT.replace("; from", "; exec(sys.argv[4]); from", 1))
    launch = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda argv, **more: launch([*argv, SPY], **more))
    path = clips("closed.mp4")
    with (
        Decoders() as decoders,
        path.open("rb") as video,
        Path(os.devnull).open("rb") as memory,
        socket.create_server(("127.0.0.1", 0)),
    ):
        process = decoders._server.fork(video.fileno(), memory.fileno())
        process.socket.settimeout(60)
        seen = json.loads(process.socket.recv(65536))
        process.end()
        protection = decoders.protection
    assert seen["environment"].get("OPENBLAS_NUM_THREADS") == "1"
    assert set(seen["environment"]) <= {"OPENBLAS_NUM_THREADS", "LC_CTYPE"}  # Python sets the latter by itself
    assert len(seen["descriptors"]) == 6  # three times /dev/null, the video, the socket, the memory
    assert seen["sizes"] == {"video": path.stat().st_size, "memory": 0}
    assert seen["written"] == "Bad file descriptor"  # it is open for reading alone
    if {"empty-root", "no-files", "few-system-calls"} <= set(protection):
        assert isinstance(seen["folder"], str)
        refused = ("Operation not permitted", "Permission denied", "No such file or directory")
        assert all(seen[what] in refused for what in ("folder", "root", "processes", "interfaces"))


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
        if "few-system-calls" in decoders.protection:
            assert told["Seccomp"] == "2"
        if os.geteuid() == 0:  # others may not look into it
            assert b"SECRET" not in Path(f"/proc/{frames.pid}/environ").read_bytes()
            opened = descriptors(frames.pid)
            assert opened.total() <= 7  # three times /dev/null, the video (FFmpeg has its own), the socket, the memory
            assert str(path) in opened


OPENCV = """
import sys
sys.path[:] = {path!r}
import cv2, numpy as np
from cvpipe.video import sandbox
from cvpipe.video.limits import Limits
rng = np.random.default_rng(1)
cv2.setNumThreads(1)
cv2.ocl.setUseOpenCL(False)
done = sandbox.confine()
sandbox.close_in(Limits(), shared_bytes=0, filtered="few-system-calls" in done)
image = rng.integers(0, 256, (360, 640, 3), np.uint8)
gray = image[:, :, 0].copy()
points = np.array([[5, 5], [300, 20], [200, 300]], np.int32)
camera = np.array([[500, 0, 320], [0, 500, 180], [0, 0, 1]], np.float64)
maps = cv2.initUndistortRectifyMap(camera, np.array([.1, .01, 0, 0, 0]), None, camera, (640, 360), cv2.CV_16SC2)
for made in (
    cv2.createCLAHE(2.0, (8, 8)).apply(gray), cv2.equalizeHist(gray), cv2.LUT(image, np.arange(256, dtype=np.uint8)),
    cv2.medianBlur(image, 3), cv2.GaussianBlur(image, (5, 5), 0), cv2.bilateralFilter(image, 5, 50, 50),
    cv2.fastNlMeansDenoisingColored(image[:60, :60], None, 3, 3, 3, 9), cv2.remap(image, *maps, cv2.INTER_LINEAR),
    cv2.cvtColor(image, cv2.COLOR_RGB2LAB), cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA),
    cv2.fillPoly(gray, [points], 255),
):
    assert made.size
x = np.linalg.svd(rng.random((80, 80)))[1] @ np.ones(80)
print("fine", x > 0)
"""


def test_opencv_and_numpy_work_under_the_filter():
    code = OPENCV.format(path=[entry for entry in sys.path if entry])
    environment = {"OPENBLAS_NUM_THREADS": "1", "PATH": os.environ["PATH"]}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (run.stdout, run.stderr) == ("fine True\n", "")


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
