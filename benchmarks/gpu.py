"""`python -m benchmarks.gpu` (`make gpu`): all that only a GPU can show, in one command of eight minutes at most.

The tests marked `gpu`; how busy the device is with YOLOX at batch 16; the whole way against the lower of what decoders
and network can do alone; what GPU and CPU find. `--device cpu --tiny` tries the command itself, and judges no figure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import av
import numpy as np

from benchmarks.setup import VIDEO, print_table
from cvpipe.engine import run_local
from cvpipe.errors import CvpipeError
from cvpipe.frames import Image, View
from cvpipe.inference import OnnxTools
from cvpipe.job import TimeRange
from cvpipe.modelfiles import Limits as ModelLimits
from cvpipe.modelfiles import Wish, add_model
from cvpipe.pipeline import PipelineSpec, parse_pipeline
from cvpipe.results import FrameRecord
from cvpipe.settings import Settings
from cvpipe.tuning import agreement_of
from cvpipe.video import Decoders, VideoIndex
from cvpipe.video.hardware import Decode, no_driver

ROOT = Path(__file__).resolve().parent.parent
BUSY, OF_CEILING, AGREEMENT = 0.9, 0.85, 0.99
"""What is wanted: share of time that the device computes; of the lower ceiling; F1 of what both find (IoU 0.5)."""
_TEST_SECONDS = 240
_MODEL = "yolox-nano"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. loops: of the clip, or of its first `packets`. seconds: of the network alone.

    stop: of the clip, in seconds, for what is found.
    """

    loops: int
    seconds: float
    stop: float | None
    packets: int | None = None


WHOLE, TINY = Sizes(8, 10.0, None), Sizes(2, 0.1, 2.0, 20)


@dataclass(slots=True)
class Report:
    """Figures and verdicts, as they come."""

    judged: bool
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def tell(self, what: str, value: Any, *, shown: str | None = None) -> None:
        """A figure that nothing is wanted of."""
        self._add(what, value, shown, "", "")

    def judge(self, what: str, value: float | None, least: float) -> None:
        """A figure that is to be at least so much; None: it could not be had."""
        verdict = "not judged" if not self.judged else "ok" if value is not None and value >= least else "FAILED"
        self._add(what, value, "not known" if value is None else f"{value:.3f}", f"at least {least:g}", verdict)

    def failed(self, what: str, why: str) -> None:
        """A step that did not come to its end."""
        self._add(what, None, why[:60], "to run", "FAILED")
        print(f"{what}: {why}", flush=True)

    def _add(self, what: str, value: Any, shown: str | None, wanted: str, verdict: str) -> None:
        self.figures[what] = value
        self.rows.append((what, shown if shown is not None else str(value), wanted, verdict))

    @property
    def is_well(self) -> bool:
        """Whether nothing failed."""
        return all(verdict != "FAILED" for *_, verdict in self.rows)


@contextmanager
def step(report: Report, what: str) -> Iterator[None]:
    """Say what is done; an error is a verdict, and the next step goes on."""
    began = time.monotonic()
    print(f"... {what}", flush=True)
    try:
        yield
    except (CvpipeError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        report.failed(what, f"{type(error).__name__}: {error}")
    print(f"    {time.monotonic() - began:.0f} s", flush=True)


def run_tests(report: Report) -> None:
    """The tests marked `gpu`, which fail where there is none."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "CVPIPE_REQUIRE_GPU": "1"},
        capture_output=True,
        text=True,
        timeout=_TEST_SECONDS,
        check=False,
    )
    print(done.stdout[-3000:], flush=True)
    last = (done.stdout.strip().splitlines() or [f"status {done.returncode}"])[-1]
    if done.returncode:
        report.failed("tests marked gpu", last)
    else:
        report.tell("tests marked gpu", last)


def looped(clip: Path, sizes: Sizes, out: Path) -> Path:
    """A clip several times over, its packets as they are."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        to = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size][: sizes.packets]
        spans = [(packet.pts or 0) + (packet.duration or 0) for packet in packets]
        length = max(spans) - min(packet.pts or 0 for packet in packets)
        for turn in range(sizes.loops):
            for packet in packets:
                if turn:
                    packet.pts, packet.dts = (packet.pts or 0) + length, (packet.dts or 0) + length
                packet.stream = to
                target.mux(packet)
                packet.stream = stream
    return out


def decode_rate(decoders: Decoders, video: Path, index: VideoIndex, view: View, threads: int) -> float:
    """Frames a second of decoders alone, with as many chunks at once as a job has."""

    def read(part: tuple[int, int]) -> int:
        with decoders.read(video, index, np.arange(*part), [view], hold=16) as frames:
            return sum(frame.release() is None for frame in frames)

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        frames = sum(pool.map(read, index.chunks(0, len(index), 10)))
    return frames / (time.perf_counter() - began)


class Meter:
    """How busy the card is, as `nvidia-smi` says five times a second; a context manager."""

    def __init__(self, device: str) -> None:
        self._number = device.partition(":")[2] or "0"
        self._program = shutil.which("nvidia-smi") if device != "cpu" else None
        self.share: float | None = None

    def __enter__(self) -> Self:
        what = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200", "-i", self._number]
        self._process = (
            subprocess.Popen([self._program, *what], stdout=subprocess.PIPE, text=True) if self._program else None
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        told, _ = self._process.communicate(timeout=10)
        values = [float(line) / 100 for line in told.split() if line.isdigit()]
        inner = values[2:-1]  # it tells of the time before
        self.share = float(np.mean(inner)) if inner else None


class Pace:
    """Frames a second once all is at work: the ceilings have no start either. Called with frames done, and in all."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)

    def __call__(self, done: int, total: int) -> None:
        """Note the time."""
        self._last = (time.perf_counter(), done)
        if self._first is None and done >= total // 4:
            self._first = self._last

    @property
    def rate(self) -> float:
        """From the first quarter on; 0 where nothing came behind it."""
        (began, first), (ended, last) = self._first or self._last, self._last
        return (last - first) / (ended - began) if last > first else 0.0


def network_rate(tools: OnnxTools, pictures: Sequence[Image], threads: int, seconds: float) -> tuple[float, float]:
    """Pictures a second of the network alone, asked by so many threads, and how full its calls were."""
    network = tools.network(_MODEL)
    network.run(pictures[:16])
    tools.meters.take("bench")
    over = time.perf_counter() + seconds
    counts = [0] * threads

    def ask(which: int) -> None:
        while time.perf_counter() < over:
            counts[which] += len(network.run(pictures[:16]))

    before = tools.meters.models()[network.card.ref]
    began = time.perf_counter()
    workers = [threading.Thread(target=ask, args=(which,)) for which in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    spent = time.perf_counter() - began
    after = tools.meters.models()[network.card.ref]
    asked, places = (after[name] - before[name] for name in ("pictures", "places"))
    return sum(counts) / spent, asked / places if places else 0.0


def found_in(folder: Path) -> list[FrameRecord]:
    """The records of a run."""
    with (folder / "frames.ndjson").open(encoding="utf-8") as lines:
        return [FrameRecord.from_dict(json.loads(line)) for line in lines]


def far_apart(some: Sequence[FrameRecord], others: Sequence[FrameRecord]) -> tuple[float, float]:
    """The greatest difference of scores, and of corners in pixels, on frames with as many objects in the same order."""
    scores, corners = 0.0, 0.0
    for one, other in zip(some, others, strict=True):
        if list(one.objects.label) == list(other.objects.label) and len(one.objects):
            scores = max(scores, float(np.abs(np.subtract(one.objects.score, other.objects.score)).max()))
            corners = max(corners, float(np.abs(np.subtract(one.objects.box, other.objects.box)).max()))
    return scores, corners


def pipeline() -> PipelineSpec:
    """The detector, and nothing else."""
    return parse_pipeline({"name": "gpu", "stages": [{"type": "detect", "model": _MODEL}]})


def measure(report: Report, assets: Path, device: str, sizes: Sizes, folder: Path) -> None:
    """All steps but the tests."""
    settings = Settings(data_dir=folder / "data", models_dir=folder / "models", device=device)
    threads = settings.threads or len(os.sched_getaffinity(0))
    clip = assets / "videos" / VIDEO
    modes: list[Literal["cpu", "nvdec"]] = ["cpu"]
    with step(report, "add the model and make the clip"):
        wish = Wish.model_validate({"name": _MODEL, "labels": "coco", "fuse": True})
        add_model(assets / "models" / "yolox_nano.onnx", wish, settings.models_path, ModelLimits.of(settings))
        video = looped(clip, sizes, folder / "clip.mp4")
    if device != "cpu" and no_driver() is None:
        with step(report, "try the card's decoder"):
            Decoders.of(settings.model_copy(update={"decode": "nvdec"})).close()
            modes.append("nvdec")
    with step(report, "decoders and network alone"):
        tools = OnnxTools.of(settings)
        rates: dict[str, float] = {}
        for mode in modes:
            with Decoders.of(settings.model_copy(update={"decode": mode})) as decoders:
                index = decoders.index(video)
                view = tools.network(_MODEL).input_view(View.of(index.facts.display_width, index.facts.display_height))
                rates[mode] = decode_rate(decoders, video, index, view, threads)
                report.tell(f"decoded and scaled by {mode}, frames/s", rates[mode], shown=f"{rates[mode]:.0f}")
                report.tell(f"  of them by ({mode})", decoders.decoded())
                with decoders.read(video, index, np.arange(0, min(len(index), 64)), [view], hold=64) as frames:
                    pictures = [frame.images[0].copy() for frame in frames if frame.images is not None]
        with Meter(device) as meter:
            alone, fill = network_rate(tools, pictures, max(2, threads), sizes.seconds)
        report.tell("batch", tools.network(_MODEL).batch)
        report.tell("network alone, pictures/s", alone, shown=f"{alone:.0f}")
        report.tell("  batches full", fill, shown=f"{fill:.2f}")
        report.judge("  device busy", meter.share, BUSY)
    for mode in modes:
        with step(report, f"the whole way, decoded by {mode}"):
            chosen = settings.model_copy(update={"decode": mode})
            pace = Pace()
            with Meter(device) as meter:
                job = run_local(
                    video, pipeline(), folder / f"out-{mode}", settings=chosen, chunk_seconds=10, on_progress=pace
                )
            report.tell(f"whole way by {mode}, frames/s", pace.rate, shown=f"{pace.rate:.0f}")
            report.tell("  with its start, frames/s", job["fps"], shown=f"{job['fps']:.0f}")
            busy = meter.share
            report.tell("  device busy", busy, shown="not known" if busy is None else f"{busy:.2f}")
            report.judge("  of the lower ceiling", pace.rate / min(alone, rates[mode]), OF_CEILING)
    with step(report, "what CPU and GPU find"):
        compare(report, clip, settings, sizes, modes)


def compare(report: Report, clip: Path, settings: Settings, sizes: Sizes, modes: Sequence[Decode]) -> None:
    """The records of one clip, by the CPU alone and by what is measured."""
    folder = settings.data_dir
    part = None if sizes.stop is None else TimeRange.model_validate({"from": 0, "to": sizes.stop})
    runs: dict[str, list[FrameRecord]] = {}
    for name, device, mode in [("cpu", "cpu", "cpu"), *((f"device, {m}", settings.device, m) for m in modes)]:
        chosen = settings.model_copy(update={"device": device, "decode": mode})
        run_local(clip, pipeline(), folder / "compared", settings=chosen, range=part)
        runs[name] = found_in(folder / "compared")
    for name, records in list(runs.items())[1:]:
        score = agreement_of(runs["cpu"], records).score
        report.judge(f"agreement with the CPU ({name})", 1.0 if score is None else score, AGREEMENT)
        report.tell("  greatest difference of scores, of corners (pixels)", far_apart(runs["cpu"], records))
    if "device, nvdec" in runs:
        same = [r.to_dict() for r in runs["device, nvdec"]] == [r.to_dict() for r in runs["device, cpu"]]
        report.judge("same records whatever decodes", float(same), 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where something failed, 2 where it can't begin."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda:0", help="cuda:N, tensorrt:N, or cpu (nothing is judged)")
    parser.add_argument("--tiny", action="store_true", help="as little as shows that the command works")
    parser.add_argument("--no-tests", action="store_true", help="leave the tests marked gpu out")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="all figures, as JSON")
    given = parser.parse_args(arguments)
    assets = Path(os.environ.get("CVPIPE_ASSETS") or ROOT.parent / "shared" / "assets")
    if not assets.is_dir():
        print(f"it needs real models and videos; name their folder in CVPIPE_ASSETS (not found: {assets})")
        return 2
    began = time.monotonic()
    report = Report(judged=given.device != "cpu")
    report.tell("device", given.device)
    steps: list[Callable[[], None]] = [] if given.no_tests else [lambda: run_tests(report)]
    with tempfile.TemporaryDirectory(prefix="cvpipe-gpu-") as temporary:
        sizes = TINY if given.tiny else WHOLE
        steps.insert(0, lambda: measure(report, assets, given.device, sizes, Path(temporary)))
        for one in steps:
            with step(report, "measure" if one is steps[0] else "tests marked gpu"):
                one()
    report.tell("seconds in all", round(time.monotonic() - began))
    print_table("what a GPU shows", ("what", "value", "wanted", "verdict"), report.rows)
    told = {"ok": report.is_well, "sizes": asdict(sizes), "figures": report.figures, "rows": report.rows}
    given.out.write_text(json.dumps(told, indent=1), encoding="utf-8")
    print(f"figures: {given.out}")
    return 0 if report.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
