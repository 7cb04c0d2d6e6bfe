"""Redis and RabbitMQ as children of the test run: each of its own data, ports and secrets, ended by process id."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

# Debian's wrapper in sbin changes to the system's user and log files; the script that it wraps takes ours.
RABBITMQ_FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin", "/usr/sbin")


def find_redis() -> str | None:
    """Path of redis-server (or valkey-server), or None."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def find_rabbitmq() -> Path | None:
    """Folder of RabbitMQ's scripts, or None."""
    found = shutil.which("rabbitmq-server", path=os.pathsep.join((*RABBITMQ_FOLDERS, os.environ.get("PATH", ""))))
    return Path(found).parent if found and shutil.which("erl_call") else None


def _ports() -> Iterator[int]:
    """Each once, in an order that no seed of a test sets; each process of a test run has its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    own = range(20_000, 32_000)[int(worker) % 8 :: 8] if worker else range(20_000, 32_000)
    yield from random.SystemRandom().sample(own, len(own))


_PORTS = _ports()


def free_port() -> int:
    """A loopback port below those the kernel gives to clients, so that a stopped server finds it free again.

    Nobody else in the test run is given it: it is still free when its server starts.
    """
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("all ports were given away")


class Server:
    """A program in a process group of its own, which ends with the test run, however that ends."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running child."""
        assert self._child is not None, f"{self.name} is not running"
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """It was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> str:
        """What it printed."""
        path = self.folder / f"{self.name}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def spawn(self, command: Sequence[str], env: dict[str, str], ready: Callable[[], bool], seconds: float) -> None:
        """Start the program and wait until `ready()`."""
        self.kill()  # what an earlier start left in the process group
        with (self.folder / f"{self.name}.out").open("ab") as out:
            self._child = subprocess.Popen(
                command,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Its input ends with this process. PR_SET_PDEATHSIG would end the server with the thread that started it.
        self._guard = subprocess.Popen(
            ["sh", "-c", "cat >/dev/null; kill -KILL -$0", str(self._child.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + seconds
        while not ready():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not start:\n{self.log[-4000:]}")
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group: SIGSTOP and SIGCONT freeze it and let it go on."""
        os.killpg(self.pid, number)

    def end(self, seconds: float = 30) -> None:
        """Ask it to end and wait; kill what is left."""
        if self._child is not None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):  # killed below
                self._child.wait(seconds)
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole process group; nothing happens where it has ended."""
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        if self._child is not None:
            with suppress(ProcessLookupError):  # ended by itself
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None


class RedisServer(Server):
    """A Redis whose acknowledged writes survive `kill`: append-only file, fsync on each write, no eviction."""

    def __init__(self, folder: Path) -> None:
        super().__init__("redis", folder)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it on the data it has."""
        program = find_redis()
        assert program is not None
        options: dict[str, Any] = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": self.folder,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        command = [program, *(word for key, value in options.items() for word in (f"--{key}", str(value)))]
        self.spawn(command, {"PATH": os.environ["PATH"]}, self._answers, seconds=100)

    def stop(self) -> None:
        """End it in good order."""
        self.end()

    def restart(self) -> None:
        """Kill it, as a crash would, and start it on its data."""
        self.kill()
        self.start()

    def flush(self) -> None:
        """Remove all data."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or loading its data
                return False


class RabbitMQServer(Server):
    """A RabbitMQ node with its own Erlang port mapper, cookie and data, and no plug-ins."""

    def __init__(self, folder: Path) -> None:
        super().__init__("rabbitmq", folder)
        scripts = find_rabbitmq()
        assert scripts is not None
        self.scripts = scripts
        self.port = free_port()
        self.vhost = "/"
        self._mapper = Server("epmd", folder)
        self._mapper_port = free_port()
        self._env = self._configure()

    @property
    def url(self) -> str:
        """amqp://..., of the virtual host made last."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{self.vhost.replace('/', '%2f')}"

    def start(self) -> None:
        """Start it on the data it has."""
        if not self._mapper.is_running:
            # Started here, because one that the node starts would outlive it.
            command = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
            self._mapper.spawn(command, self._env, lambda: answers(self._mapper_port), seconds=60)
        self.spawn([str(self.scripts / "rabbitmq-server")], self._env, self._answers, seconds=200)

    def stop(self) -> None:
        """End it in good order."""
        self.end()

    def restart(self) -> None:
        """Kill it, as a crash would, and start it on its data."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Kill the node and its port mapper."""
        self.kill()
        self._mapper.kill()

    @contextmanager
    def empty_vhost(self) -> Iterator[None]:
        """An empty virtual host, which `url` names in the block; it goes with its queues."""
        if not self.is_running:
            self.start()
        self.vhost = f"test-{secrets.token_hex(4)}"
        name = f'<<"{self.vhost}">>'
        everything = '<<".*">>'
        self._evaluate(
            f'rabbit_vhost:add({name}, <<"tests">>), rabbit_auth_backend_internal:set_permissions('
            f'<<"guest">>, {name}, {everything}, {everything}, {everything}, <<"tests">>).'
        )
        yield
        if not self.is_running:
            self.start()
        self._evaluate(f'rabbit_vhost:delete({name}, <<"tests">>).')
        self.vhost = "/"

    def ctl(self, *words: str) -> str:
        """What `rabbitmqctl WORDS` prints."""
        command = [str(self.scripts / "rabbitmqctl"), "--quiet", *words]
        done = subprocess.run(
            command, env=self._env, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _evaluate(self, code: str) -> None:
        """Have the node run Erlang: in 10 ms, where `rabbitmqctl eval` takes a second of a core."""
        command = ["erl_call", "-sname", self._env["RABBITMQ_NODENAME"], "-e"]
        done = subprocess.run(
            command, env=self._env, input=f"{code}\n", capture_output=True, text=True, timeout=120, check=False
        )
        if done.stdout != "{ok, ok}":
            raise RuntimeError(f"erl_call: {code}: {done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        return answers(self.port, say=b"AMQP\x00\x00\x09\x01", hear=b"\x01")  # a method frame: Connection.Start

    def _configure(self) -> dict[str, str]:
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "env.conf").write_text("")
        settings = {
            "listeners.tcp.default": f"127.0.0.1:{self.port}",
            "log.console": "true",
            "log.console.level": "warning",
            "log.file": "false",
            # A nearly full disk of the machine must not block every publisher.
            "disk_free_limit.absolute": "50MB",
        }
        (self.folder / "rabbitmq.conf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"cvpipe-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            # Schedulers that wait without spinning: the cores belong to the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }


def answers(port: int, *, say: bytes = b"", hear: bytes = b"") -> bool:
    """A server listens on the loopback port and, told `say`, begins its answer with `hear`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(say)
            return connection.recv(len(hear)) == hear if hear else True
    except OSError:
        return False
