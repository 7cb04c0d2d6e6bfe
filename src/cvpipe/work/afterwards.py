"""Afterwards: what a job does once all records are there, tried on a few: crops, videos, files of job stages."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cvpipe.engine import CropsRunner, Picking, write_artefacts
from cvpipe.engine.drawings import shapes_of
from cvpipe.engine.skeletons import skeletons_of
from cvpipe.errors import StageFailed
from cvpipe.exports.ndjson import write_ndjson
from cvpipe.lifecycle import job_folder
from cvpipe.picks import Pick
from cvpipe.pipeline import Segment
from cvpipe.results import FrameRecord
from cvpipe.work.bench import Bench, Lease
from cvpipe.work.crops import has_crops
from cvpipe.work.planned import PlannedJob

_FRAMES: Final = 24
_CROPS: Final = 16
_LEAST, _MOST = 0.4, 2.0
"""A second of video says so much of how its whole is encoded: measured, between 0.6 and 1.6 of it."""
_LEAST_OF_STAGE: Final = 0.2
"""Some stages of a whole job open networks first, or look at a part of the frames."""
_MOST_OF_CROP: Final = 3.0
"""Crops that lie far apart have more to be decoded before them."""

Range = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Extra:
    """What comes on top of the records: seconds, and bytes of files; each at least, likely, at most."""

    seconds: Range
    size: Range


def try_afterwards(
    bench: Bench, lease: Lease, job: PlannedJob, job_id: str, spots: Sequence[Sequence[FrameRecord]], *, threads: int
) -> list[Extra]:
    """Try what comes behind the records. spots: records of several places. threads: chunks at once, for crops."""
    records = max(spots, key=len)
    if not records:
        return []
    folder = job_folder(bench.settings, job_id) / ".trial"
    shutil.rmtree(folder, ignore_errors=True)  # of a worker that died
    folder.mkdir(parents=True)
    extras = []
    try:
        if has_crops(job):
            extras.append(_crops(bench, lease, job, spots, threads))
        if job.doc["annotate"]:
            extras.append(_annotated(bench, lease, job, records, folder))
        if any(stage.scope == "job" for stage in job.spec.make_stages()):
            extras.append(_artefacts(bench, lease, job, records, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # a stage has handed something out
            folder.parent.rmdir()
    return extras


class _Watch:
    """When something got on: its first steps, opening networks and files, are not those of every frame."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._first: float | None = None
        self._began = time.monotonic()

    def __call__(self, _done: int, _total: int) -> None:
        self._lease.check()
        if self._first is None:
            self._first = time.monotonic()

    def per_frame(self, frames: int) -> float:
        """Seconds."""
        if self._first is None or frames < 2:
            return (time.monotonic() - self._began) / frames
        return (time.monotonic() - self._first) / (frames - 1)


def _shown(job: PlannedJob, records: Sequence[FrameRecord]) -> range:
    """Frames from the first of these records on, also those without a record."""
    part = job.part
    return range(records[0].frame, max(records[0].frame + 1, min(part.stop, records[0].frame + _FRAMES)))


def _annotated(bench: Bench, lease: Lease, job: PlannedJob, records: Sequence[FrameRecord], folder: Path) -> Extra:
    from cvpipe.exports.annotated import write_annotated

    shown, file = _shown(job, records), folder / "annotated.mp4"
    facts = job.index.facts
    watch = _Watch(lease)
    write_annotated(
        file,
        bench.decoders,
        job.file(bench, lease),
        job.index,
        records,
        bench.tools.cv2,
        numbers=shown,
        on_progress=watch,
        skeletons=skeletons_of(job.spec, bench.settings.models_path),
        shapes=shapes_of(job.spec, (facts.display_width, facts.display_height)),
    )
    return _of_all(job, watch.per_frame(len(shown)), file.stat().st_size / len(shown), least=_LEAST)


def _artefacts(bench: Bench, lease: Lease, job: PlannedJob, records: Sequence[FrameRecord], folder: Path) -> Extra:
    shown, made = _shown(job, records), folder / "made"
    made.mkdir()
    write_ndjson(made / "frames.ndjson", records)
    before = size_of(made)
    watch = _Watch(lease)
    try:
        write_artefacts(
            job.spec, made, bench.decoders, job.file(bench, lease), job.index, part=shown, tools=bench.tools,
            on_progress=watch,
        )  # fmt: skip
    except StageFailed:  # so short a piece may be too little for it
        return Extra((0, 0, 0), (0, 0, 0))
    size = (size_of(made) - before) / len(shown)
    return _of_all(job, watch.per_frame(len(shown)), size, least=_LEAST_OF_STAGE)


def _of_all(job: PlannedJob, seconds: float, size: float, *, least: float) -> Extra:
    frames = len(job.part)
    begin = 0 if job.doc.get("stop_when") else least
    return Extra(
        (begin * frames * seconds, frames * seconds, _MOST * frames * seconds),
        (begin * frames * size, frames * size, _MOST * frames * size),
    )


def _crops(bench: Bench, lease: Lease, job: PlannedJob, spots: Sequence[Sequence[FrameRecord]], threads: int) -> Extra:
    """How many there are is between those of one place, where all tracks last, and as many at every other place."""
    facts = job.index.facts
    segments = {segment.kind: segment for segment in job.segments}
    picks = []
    for records in spots:
        picking = Picking(job.spec, segments["picks"], (facts.display_width, facts.display_height))
        for record in records:
            picking.add(record)
        picks.append([pick for some in picking.picks(job.chunks).values() for pick in some])
    counts = [len(some) for some in picks]
    if not any(counts):
        return Extra((0, 0, 0), (0, 0, 0))
    most = max(len(job.numbers) * count / max(1, len(records)) for count, records in zip(counts, spots, strict=True))
    least = min(max(counts), most)
    number = 0 if job.doc.get("stop_when") else least, math.sqrt(least * most), most
    seconds, size = _one_crop(bench, lease, job, segments["crops"], max(picks, key=len)[:_CROPS])
    at_once = min(threads, len(job.chunks))
    return Extra(
        (number[0] * seconds / at_once, number[1] * seconds / at_once, _MOST_OF_CROP * number[2] * seconds),
        (_LEAST * number[0] * size, number[1] * size, _MOST * number[2] * size),
    )


def _one_crop(
    bench: Bench, lease: Lease, job: PlannedJob, segment: Segment, picks: Sequence[Pick]
) -> tuple[float, float]:
    """Seconds and bytes of one."""
    sizes: list[int] = []
    runner = CropsRunner(job.spec, segment, bench.tools)  # may wait for room: not with models in its hands
    with bench.holding(job.spec, segment):
        began = time.monotonic()
        path = job.file(bench, lease)
        for _, crop, jpeg in runner.run(bench.decoders, path, job.index, picks, check=lease.check):
            sizes.append(len(jpeg) + len(crop.to_json()) + 1)
    return (time.monotonic() - began) / max(1, len(picks)), sum(sizes) / max(1, len(sizes))


def size_of(folder: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if folder.is_file():
        return folder.stat().st_size
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
