"""Try settings of a model on a clip, each as a job in a process of its own, and keep the best as its profile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cvpipe.errors import InvalidRequest
from cvpipe.inference.cards import ModelCard, find_card
from cvpipe.inference.profiles import Measured, Profile, remove_profile, write_profile
from cvpipe.inference.remembered import way_of
from cvpipe.modelfiles.folder import check_keepable, versions_of
from cvpipe.results import FrameRecord
from cvpipe.tuning.agreement import Agreement, agreement_of
from cvpipe.tuning.looking import OnStep, pipeline_for
from cvpipe.tuning.quantise import place_card
from cvpipe.video import Decoders, Limits
from cvpipe.video.hardware import no_driver

if TYPE_CHECKING:
    from cvpipe.settings import Settings

Precision = Literal["fp32", "fp16", "int8"]

SCALES: Final = (1.0, 0.75, 0.5)
_STEP: Final = 32
_SAME: Final = 0.98
"""Rates that differ by less are taken as equal."""
_LESS_MEMORY: Final = 0.95
"""Of another's memory: what takes more than that takes as much."""
_NEAR: Final = 0.75
"""Of the fastest: what is slower than that is not tried again."""
_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model is run. width, height: of the canvas, in pixels. chunks: looked at at once.

    version: of the model. threads: of a call. calls: at once; 0: as is usual for the device. decode: the video.
    """

    version: str
    precision: Precision
    width: int
    height: int
    rectangular: bool
    batch: int = 1
    threads: int = 1
    calls: int = 0
    chunks: int = 1
    decode: Literal["cpu", "nvdec"] = "cpu"


@dataclass(frozen=True, slots=True)
class Row:
    """A setting that was tried. canvas: (width, height) that the network saw. memory_bytes: the most it held.

    fps: the better, where it was tried twice.
    """

    setting: Setting
    canvas: tuple[int, int]
    frames: int
    fps: float
    memory_bytes: int
    agreement: Agreement

    @property
    def score(self) -> float:
        """The agreement as one number."""
        return self.agreement.score or 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **asdict(self.setting), "canvas": list(self.canvas), "frames": self.frames, "fps": round(self.fps, 2),
            "memory_bytes": self.memory_bytes, "agreement": round(self.score, 4), "parts": dict(self.agreement.parts),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tuned:
    """All that was tried; the first row is the reference. best: what the profile says.

    chunks, decode: the fastest of what a profile does not say, but a worker's settings. failed: settings that did not
    run, and why.
    """

    card: ModelCard
    rows: tuple[Row, ...]
    best: Row
    profile: Profile
    chunks: int
    decode: Literal["cpu", "nvdec"]
    failed: tuple[tuple[Setting, str], ...]

    def is_unbeaten(self, row: Row) -> bool:
        """Whether no other is as good in speed, agreement and memory, and better in one: the Pareto front."""
        return not any(_beats(other, row) for other in self.rows)


def tune(
    model: str,
    video: Path,
    *,
    settings: Settings,
    start: float | None = None,
    seconds: float = 5,
    min_agreement: float = 0.97,
    scales: Sequence[float] = SCALES,
    runtime: bool = True,
    on_step: OnStep | None = None,
) -> Tuned:
    """Try a model's settings on a part of a video.

    start, seconds: of that part; default: 5 seconds in the middle. min_agreement: of what may be chosen. scales: of the
    card's size. runtime: whether batch, threads, calls and chunks are tried too. on_step: told how far it is.
    Raises: InvalidRequest where the model finds nothing there; NotFound, InvalidModel, VideoError, DeviceUnavailable.
    """
    from cvpipe.inference import devices

    device = devices.choose(settings.device)
    card = find_card(settings.models_path, model)
    if card.quantised_from:
        card = find_card(settings.models_path, f"{card.name}@{card.quantised_from}")
    pipeline_for(card)  # of a task that can be tuned
    small = [one for one in versions_of(settings.models_path, card.name) if one.quantised_from == card.version][-1:]
    with tempfile.TemporaryDirectory(prefix="cvpipe-tune-") as temporary:
        for one in (card, *small):
            place_card(Path(temporary) / "models", one)
        tell = on_step or (lambda _what, _done, _total: None)
        sweep = _Sweep(card, Path(temporary), video, settings=settings, device=device, tell=tell)
        sweep.choose_part(start, seconds)
        rows = sweep.rows([sweep.reference()])
        if not rows:
            raise InvalidRequest(f"the reference does not run: {sweep.failed[0][1]}", field="model")
        if rows[0].agreement.score is None:
            raise InvalidRequest(
                f"{card.ref} finds nothing from {sweep.start:.1f} to {sweep.stop:.1f} s of this video: name another "
                "part with --from and --seconds",
                field="--from",
            )
        first = rows[0].setting

        def rivals() -> list[Row]:
            same = [row for row in rows if (row.setting.chunks, row.setting.decode) == (first.chunks, first.decode)]
            return _good(same, min_agreement)

        rows += sweep.rows(list(sweep.sizes(scales, [one.version for one in small])))
        sweep.settle(rows, rivals())
        if runtime:
            rows += sweep.rows(list(sweep.runtimes(_best(rivals()).setting)))
            sweep.settle(rows, rivals())
        best = _best(rivals())
        sweep.settle(rows, [row for row in rows if _but_worker(row, best)])
        best = _best(rivals())
        fastest = max((row for row in rows if _but_worker(row, best)), key=lambda row: row.fps)
        taken = fastest if _SAME * fastest.fps > best.fps else best
        profile = sweep.profile(best, rows[0])
        s = taken.setting
        return Tuned(card, tuple(rows), best, profile, s.chunks, s.decode, tuple(sweep.failed))


def save(tuned: Tuned, models_path: Path) -> Path:
    """Keep the profile beside the card of the version that it names; that version is the only one to have one.

    Raises: Unavailable; Conflict where the model comes with cvpipe.
    """
    check_keepable(models_path, tuned.card)
    version = tuned.best.setting.version
    for card in versions_of(models_path, tuned.card.name):
        if tuned.card.version in (card.version, card.quantised_from) and card.version != version:
            remove_profile(card.path.parent)
    return write_profile(find_card(models_path, f"{tuned.card.name}@{version}").path.parent, tuned.profile)


def _beats(one: Row, other: Row) -> bool:
    is_leaner = one.memory_bytes < _LESS_MEMORY * other.memory_bytes
    is_as_lean = _LESS_MEMORY * one.memory_bytes <= other.memory_bytes
    is_as_good = one.fps >= other.fps and one.score >= other.score and is_as_lean
    return is_as_good and (one.fps > other.fps or one.score > other.score or is_leaner)


def _good(rows: Sequence[Row], min_agreement: float) -> list[Row]:
    """Those that agree well enough with the reference, which is the first."""
    return [row for row in rows if row.score >= min_agreement] or [rows[0]]


def _best(good: Sequence[Row]) -> Row:
    fastest = max(row.fps for row in good)
    return max((row for row in good if row.fps >= _SAME * fastest), key=lambda row: (row.score, row.fps))


def _but_worker(row: Row, best: Row) -> bool:
    """Whether a row differs at most in what are a worker's settings."""
    return replace(row.setting, chunks=best.setting.chunks, decode=best.setting.decode) == best.setting


class _Sweep:
    """A model, a part of a video, and the folder in which settings are tried."""

    def __init__(
        self, card: ModelCard, folder: Path, video: Path, *, settings: Settings, device: str, tell: OnStep
    ) -> None:
        self.card, self.folder, self.video, self.settings, self.device = card, folder, video, settings, device
        self.cores = len(os.sched_getaffinity(0))
        self.chunks = settings.threads or self.cores
        self.start = self.stop = 0.0
        self.failed: list[tuple[Setting, str]] = []
        self._tell, self._known, self._sure = tell, set[Any](), set[Setting]()
        self._wanted: list[FrameRecord] = []

    def choose_part(self, start: float | None, seconds: float) -> None:
        """Which seconds of the video are looked at."""
        if not self.video.is_file():
            raise InvalidRequest(f"no video file {str(self.video)!r}", field="--video")
        with Decoders(limits=Limits.of(self.settings)) as decoders:
            times = decoders.index(self.video).times
        length = float(times[-1] - times[0]) if len(times) else 0.0
        if start is not None and not 0 <= start <= length:
            raise InvalidRequest(f"the video ends at {length:.1f} s: {start:g} s is not in it", field="--from")
        self.start = round(max(0.0, (length - seconds) / 2) if start is None else start, 3)
        self.stop = round(min(self.start + seconds, length + 0.001), 3)

    def reference(self) -> Setting:
        """32 bits, the card's full size with padding, one thread for each call."""
        spec = self.card.input
        calls = 0 if self.device != "cpu" else max(1, min(self.chunks, self.cores))
        batch = 1 if self.device == "cpu" else 16
        return Setting(self.card.version, "fp32", spec.width, spec.height, False, batch, 1, calls, self.chunks)

    def sizes(self, scales: Sequence[float], small: Sequence[str]) -> Iterator[Setting]:
        """Sizes, square and rectangular, at each precision."""
        first, spec = self.reference(), self.card.input
        kinds: list[tuple[str, Precision]] = [(self.card.version, "fp32"), *((version, "int8") for version in small)]
        if self.device != "cpu":
            kinds.append((self.card.version, "fp16"))
        can_shrink = spec.resize == "letterbox" and self.card.rectangular
        for scale in scales if can_shrink else scales[:1]:
            size = [spec.width, spec.height]
            if scale != 1:
                size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in size]
            for version, precision in kinds:
                for tight in (True, False) if can_shrink else (False,):
                    yield replace(
                        first, version=version, precision=precision, width=size[0], height=size[1], rectangular=tight
                    )

    def runtimes(self, best: Setting) -> Iterator[Setting]:
        """Batch, threads and calls, and chunks at once, for the best of what can be computed."""
        from cvpipe.inference.choice import ways

        for batch in (1, 4) if self.device == "cpu" else (1, 4, 8, 16, 32):
            yield replace(best, batch=batch)
        if self.device == "cpu":
            for threads, calls in ways(self.cores, self.chunks):
                yield replace(best, threads=threads, calls=calls)
        many = sorted({1, self.cores, self.cores + 1, 2 * self.cores})
        for chunks in many:
            yield replace(best, chunks=chunks)
        if self.has_nvdec():
            for chunks in sorted({self.chunks, *many}):
                yield replace(best, chunks=chunks, decode="nvdec")

    def has_nvdec(self) -> bool:
        """Whether an NVIDIA card decodes here."""
        if no_driver() is not None:
            return False
        with Decoders.of(self.settings.model_copy(update={"decode": "auto"})) as decoders:
            return decoders.is_on_card

    def rows(self, wanted: Sequence[Setting]) -> list[Row]:
        """What these settings do. One that does not run, or is another one in truth, is left out."""
        found = []
        for number, asked in enumerate(wanted):
            if asked in self._known:
                continue
            self._known.add(asked)
            self._tell(_shown(asked), number, len(wanted))
            setting, said = asked, self._run(asked)
            if setting.decode == "nvdec" and "error" not in said and "nvdec" not in said["decoding"]:
                said["error"] = f"the card decoded none of it: {', '.join(said['decoding'])}"
            if "error" in said:
                self.failed.append((setting, str(said["error"])))
                continue
            canvas = (int(said["canvas"][0]), int(said["canvas"][1]))
            setting = replace(setting, batch=int(said["batch"]))
            key = (*asdict(replace(setting, width=0, height=0, rectangular=False)).values(), canvas)
            if key in self._known:
                continue
            self._known.add(key)
            records = _records(self.folder / "out" / "frames.ndjson")
            self._wanted = self._wanted or records
            agreement = agreement_of(self._wanted, records)
            found.append(
                Row(setting, canvas, int(said["frames"]), float(said["fps"]), int(said["memory_bytes"]), agreement)
            )
        return found

    def settle(self, rows: list[Row], rivals: Sequence[Row]) -> None:
        """Try the reference, and those of `rivals` that come near the fastest of them, once more; the better counts.

        What else a machine does makes anything look slow once.
        """
        fastest = max(row.fps for row in rivals)
        near = [row for row in rivals if row.fps >= _NEAR * fastest]
        again = [row.setting for row in (rows[0], *near) if row.setting not in self._sure] if len(near) > 1 else []
        for number, setting in enumerate(dict.fromkeys(again)):
            self._sure.add(setting)
            self._tell(f"{_shown(setting)}, again", number, len(again))
            said = self._run(setting)
            if "error" not in said:
                place = [row.setting for row in rows].index(setting)
                memory = max(rows[place].memory_bytes, int(said["memory_bytes"]))
                rows[place] = replace(rows[place], fps=max(rows[place].fps, float(said["fps"])), memory_bytes=memory)

    def profile(self, row: Row, reference: Row) -> Profile:
        """What is kept of a row."""
        s = row.setting
        return Profile(
            sha256=self._sha256(s), width=s.width, height=s.height, rectangular=s.rectangular, precision=s.precision,
            way=self._way(s), batch=s.batch, threads=s.threads, calls=s.calls,
            measured=Measured(
                video=self.video.name, frames=row.frames, frames_per_second=round(row.fps, 2),
                memory_bytes=row.memory_bytes, agreement=round(min(row.score, 1.0), 4),
                reference_frames_per_second=round(reference.fps, 2),
            ),
        )  # fmt: skip

    def _run(self, setting: Setting) -> dict[str, Any]:
        models = self.folder / "models"
        ref = f"{self.card.name}@{setting.version}"
        folder = models / self.card.name / setting.version
        write_profile(
            folder,
            Profile(
                sha256=self._sha256(setting), width=setting.width, height=setting.height,
                rectangular=setting.rectangular, precision=setting.precision, way=self._way(setting),
                batch=setting.batch, threads=setting.threads, calls=setting.calls,
            ),
        )  # fmt: skip
        order = {
            "models": str(models), "data": str(self.folder / "data"), "out": str(self.folder / "out"),
            "video": str(self.video), "pipeline": pipeline_for(self.card, ref=ref).model_dump(mode="json"),
            "from": self.start, "to": self.stop, "device": self.device, "threads": setting.chunks, "model": ref,
            "decode": setting.decode,
            "chunk_seconds": max(0.5, (self.stop - self.start) / max(4, 2 * setting.chunks)),
        }  # fmt: skip
        return _asked(order)

    def _sha256(self, setting: Setting) -> str:
        return find_card(self.folder / "models", f"{self.card.name}@{setting.version}").sha256

    def _way(self, setting: Setting) -> str:
        return way_of(self.device, cores=self.cores, threads=setting.chunks)


def _asked(order: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own says of an order."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cvpipe.tuning.child"],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"it took longer than {_SECONDS:g} s"}
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        return {"error": f"the process that tried it died: {last[0][:300]}"}
    return dict(answer)


def _records(path: Path) -> list[FrameRecord]:
    with path.open(encoding="utf-8") as lines:
        return [FrameRecord.from_dict(json.loads(line)) for line in lines]


def _shown(setting: Setting) -> str:
    s = setting
    tight = ", rectangular" if s.rectangular else ""
    on_card = ", decoded by the card" if s.decode == "nvdec" else ""
    return (
        f"{s.width}x{s.height}{tight}, {s.precision}, batch {s.batch}, threads {s.threads} x {s.calls or 'auto'}, "
        f"chunks {s.chunks}{on_card}"
    )
