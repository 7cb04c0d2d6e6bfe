"""Runs the demo: draw a clip, start the service, have the clip understood, compare with what was drawn."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import av
from pydantic import AnyHttpUrl
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cvpipe import Client
from cvpipe.errors import CvpipeError
from cvpipe.job import JobState, WebhookTarget
from cvpipe.webhooks import new_secret
from examples.demo.check import Finding, check, check_things, succeeded
from examples.demo.receiver import Receiver
from examples.demo.scene import make_clip
from examples.demo.truth import Truth

PIPELINE: Final = "drawn-street"
LOOKS_PER_SECOND: Final = 5  # as that pipeline decimates
UP: Final = (sys.executable, "-m", "cvpipe", "up", "--json", "--port", "0")
CHUNK_SECONDS: Final = 2  # the clip's keyframes are so far apart: each core gets its part
_START_SECONDS: Final = 60
_JOB_SECONDS: Final = 600
_WEBHOOK_SECONDS: Final = 30
_STOP_SECONDS: Final = 20
# What an operator may want to say to the demo's service as well; all other settings are the demo's own.
_KEPT_SETTINGS: Final = ("CVPIPE_DEVICE", "CVPIPE_THREADS", "CVPIPE_LOG_LEVEL")


class DemoFailed(Exception):
    """The demo could not be brought to its end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the job. records: as JSON. webhook: the `type` of the verified webhook; None where none came."""

    records: list[dict[str, Any]]
    webhook: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. Returns 0 if all was found as drawn, 1 if not, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="where to put everything (default: %(default)s)"
    )
    parser.add_argument("--stay", action="store_true", help="leave the service up at the end, until Ctrl-C")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return 0 if demo(options.out.resolve(), console, stay=options.stay) else 1
    except KeyboardInterrupt:
        console.print("interrupted; the service is stopped")
        return 130
    except (DemoFailed, CvpipeError) as error:
        console.print(f"[red]the demo failed:[/] {escape(str(error))}")
        return 1


def demo(out: Path, console: Console, *, stay: bool = False) -> bool:
    """The whole demo, its files in `out`. True if all was found as drawn.

    Raises: DemoFailed, CvpipeError.
    """
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    clip = out / "street.mp4"
    secret = new_secret()
    with running_service(out / "service") as wait_until_up, Receiver(secret) as receiver:
        console.print("drawing a street, while the service starts ...")
        truth = make_clip(clip)
        url = wait_until_up()
        console.print(
            f"[bold]{clip.name}[/]: {truth.frames[-1].time + 1 / truth.fps:.0f} s, and the service is at {url}"
        )
        with Client(url) as client:
            outcome = understand(client, clip, out, receiver=receiver, secret=secret, console=console)
            findings = [
                *check(outcome.records, truth, fps=LOOKS_PER_SECOND),
                *check_things(outcome.records, truth),
                *_check_service(outcome, out / "annotated.mp4", truth),
            ]
            seconds = time.monotonic() - began
            console.print(_table(findings))
            _say_where(console, out, url, stay=stay)
            good = succeeded(findings)
            verdict = "[green]all found as drawn[/]" if good else "[red]not all was found as drawn[/]"
            console.print(f"{verdict}, in {seconds:.1f} s")
            if stay:
                console.print("Ctrl-C stops the service")
                threading.Event().wait()
    return good


def understand(client: Client, clip: Path, out: Path, *, receiver: Receiver, secret: str, console: Console) -> Outcome:
    """Have the service understand the clip: what any user of cvpipe would write."""
    video = client.upload(clip)
    job = client.submit(
        PIPELINE,
        video=video,
        webhook=WebhookTarget(url=AnyHttpUrl(receiver.url), secret=secret),
        annotate=True,
        chunk_seconds=CHUNK_SECONDS,
        labels={"made-by": "demo"},
    )
    console.print(f"job {job.id}: {PIPELINE}, in chunks of {CHUNK_SECONDS} s")
    with _progress(console) as show:
        job = client.wait(job, timeout_seconds=_JOB_SECONDS, on_progress=lambda p: show(p.frames_done, p.frames_total))
    if job.state is not JobState.succeeded:
        raise DemoFailed(f"the job {job.state}: {job.error.message if job.error else 'no reason given'}")
    records = [record.to_dict() for record in client.frames(job)]
    for name in ("frames.ndjson", "annotated.mp4"):
        client.download(job, name, out / name)
    webhook = receiver.wait(_WEBHOOK_SECONDS)
    right = webhook is not None and webhook.message["data"]["id"] == job.id
    kind = str(webhook.message["type"]) if webhook is not None and right else None
    return Outcome(records, kind)


@contextmanager
def running_service(data_dir: Path, command: Sequence[str] = UP) -> Iterator[Callable[[], str]]:
    """Start `cvpipe up` on a free port; yields a function that waits until it is up and returns its address.

    However the block is left, the service is stopped. That function raises DemoFailed where it does not start.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "up.log"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CVPIPE_") or k in _KEPT_SETTINGS}
    with log.open("wb") as errors:
        service = subprocess.Popen(
            [*command, "--data-dir", str(data_dir)], stdout=subprocess.PIPE, stderr=errors, env=kept
        )

    def address() -> str:
        assert service.stdout is not None
        ready, _, _ = select.select([service.stdout], [], [], _START_SECONDS)
        line = service.stdout.readline() if ready else b""
        if not line:
            raise DemoFailed(
                f"the service did not start: {log.read_text(errors='replace')[-2000:].strip() or 'no word'}"
            )
        return str(json.loads(line)["url"])

    try:
        yield address
    finally:
        _stop(service)


def _stop(service: subprocess.Popen[bytes]) -> None:
    """Stop the service and its children; a second Ctrl-C must not leave them behind."""
    held = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        service.terminate()
        try:
            service.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
    finally:
        signal.signal(signal.SIGINT, held)
        if service.stdout is not None:
            service.stdout.close()


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int | None], None]]:
    """Shows how far the job is: a bar on a terminal, a line for each quarter elsewhere."""
    if console.is_terminal:
        columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    quarters = 0

    def show(done: int, total: int | None) -> None:
        nonlocal quarters
        if total and done * 4 // total > quarters:
            quarters = done * 4 // total
            console.print(f"read {done} of {total} frames")

    yield show


def _check_service(outcome: Outcome, annotated: Path, truth: Truth) -> list[Finding]:
    """Rows on what the service itself had to do."""
    with av.open(str(annotated)) as container:
        frames = sum(1 for packet in container.demux(video=0) if packet.size)
    wanted = len(truth.frames)
    return [
        Finding("annotated video", f"{wanted} frames", f"{frames} frames", frames == wanted),
        Finding(
            "webhook",
            "job.succeeded, signed",
            f"{outcome.webhook}, verified" if outcome.webhook else "none that verifies",
            outcome.webhook == "job.succeeded",
        ),
    ]


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, title="Found, against what was drawn", title_justify="left")
    for heading in ("", "what", "drawn", "found"):
        table.add_column(heading)
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]NO[/]"
        table.add_row(mark, escape(finding.what), escape(finding.expected), escape(finding.found))
    return table


def _say_where(console: Console, out: Path, url: str, *, stay: bool) -> None:
    console.print(f"annotated video  {out / 'annotated.mp4'}")
    console.print(f"results          {out / 'frames.ndjson'}")
    again = "" if stay else f" while it is up (again with: cvpipe up --data-dir {out / 'service'})"
    console.print(f"docs page        {url}/docs{again}")


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
