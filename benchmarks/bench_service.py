"""The embedded service: throughput beside loop and engine, the wait for a first record, the cost for a short job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.setup import VIDEO, models_folder, network_as_run, print_table, spread
from benchmarks.tight_loop import Task, two_pipelines
from cvpipe import Client
from cvpipe.engine import open_runners, run_local
from cvpipe.inference import OnnxTools
from cvpipe.job import TimeRange
from cvpipe.pipeline import load_pipeline, select_frames
from cvpipe.settings import Settings
from cvpipe.video import Decoders
from cvpipe.webhooks import new_secret

SHORT = {"from": 0, "to": 2}


def main(assets: Path, pairs: int) -> None:
    """All on one warm embedded service with one compute thread a core."""
    video = assets / "videos" / VIDEO
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = models_folder(folder / "models", assets)
        settings = Settings(data_dir=folder / "local", models_dir=models, device="cpu")
        spec = load_pipeline("detect", settings=settings)
        with running(folder, models, video.parent) as url, receiving() as receiver, Client(url) as client:
            client.wait(client.submit(pipeline="detect", path=str(video), range=SHORT).id)  # warm
            network, view = network_as_run(models, (768, 432))
            task = Task(video, network, view.width, view.height, view.content[2:])
            to_loop, to_run, fps = [], [], []
            for _ in range(pairs):
                frames, seconds = two_pipelines(task)
                local = run_local(video, spec, folder / "out", settings=settings)
                started = time.perf_counter()
                job = client.wait(client.submit(pipeline="detect", path=str(video)).id)
                fps.append(job.progress.frames_done / (time.perf_counter() - started))
                assert job.state == "succeeded", job
                to_loop.append(fps[-1] * seconds / frames)
                to_run.append(fps[-1] / local["fps"])
            first, whole = [], []
            for _ in range(10 * pairs):
                first.append(first_record_ms(client, video))
                whole.append(short_job_ms(client, video, receiver))
            engine = warm_engine_ms(settings, video, 2 * pairs)
            overhead = [value - sorted(engine)[len(engine) // 2] for value in whole]
    rows = [
        ("detect on 1,394 frames, POST to the end: frames/s", spread(fps)),
        ("the same, of the best hand-written loop", spread(to_loop, "{:.2f}")),
        ("the same, of `cvpipe run`", spread(to_run, "{:.2f}")),
        ("POST to the first frame record, ms", spread(first, "{:.0f}")),
        ("POST to the webhook, 20 frames, ms", spread(whole, "{:.0f}")),
        ("of which not the engine's own time, ms", spread(overhead, "{:.0f}")),
    ]
    print_table("warm embedded service", ("what", "median (least to most)"), rows)


def warm_engine_ms(settings: Settings, video: Path, rounds: int) -> list[float]:
    """The same 20 frames on an engine whose network, decoders and index are ready, as a worker's are."""
    spec = load_pipeline("detect", settings=settings)
    (runner,) = open_runners(spec, OnnxTools(settings.models_path, device="cpu"))
    times = []
    with Decoders.of(settings) as decoders:
        index = decoders.index(video)
        selection = select_frames(spec, index, TimeRange.model_validate(SHORT))
        for _ in range(rounds):
            started = time.perf_counter()
            assert len(list(runner.run(decoders, video, index, selection, selection.numbers))) == 20
            times.append(1000 * (time.perf_counter() - started))
    return times


def first_record_ms(client: Client, video: Path) -> float:
    """From the POST to the first record in the client's hands."""
    started = time.perf_counter()
    job = client.submit(pipeline="detect", path=str(video), range=SHORT)
    next(iter(client.frames(job.id)))
    elapsed = 1000 * (time.perf_counter() - started)
    client.wait(job.id)
    return elapsed


class Receiver:
    """Counts webhooks."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.arrived = threading.Event()


def short_job_ms(client: Client, video: Path, receiver: Receiver) -> float:
    """From the POST of a job of 20 frames to its webhook."""
    receiver.arrived.clear()
    started = time.perf_counter()
    target = {"url": receiver.url, "secret": new_secret()}
    client.submit(pipeline="detect", path=str(video), range=SHORT, webhook=target)
    assert receiver.arrived.wait(30)
    return 1000 * (time.perf_counter() - started)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A webhook receiver on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()
            receiver.arrived.set()

        def log_message(self, format: str, *args: Any) -> None:
            """Not on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running(folder: Path, models: Path, root: Path) -> Iterator[str]:
    """`cvpipe up` on a data directory of its own; gives its address."""
    env = {**os.environ, "CVPIPE_MODELS_DIR": str(models), "CVPIPE_PATH_ROOTS": str(root), "CVPIPE_DEVICE": "cpu"}
    command = [sys.executable, "-m", "cvpipe", "up", "--port", "0", "--data-dir", str(folder / "data"), "--json"]
    with (folder / "up.log").open("wb") as log:
        child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, (folder / "up.log").read_text()
        yield json.loads(line)["url"]
    finally:
        child.terminate()
        child.wait(30)
