"""Finish: exports, then the final state.

A file may take hours to make. So what is made lies in a workspace, `<folder of the job>/.finish`, until all is there,
and after about a minute of work the task goes back to its queue: who gets it next goes on from what lies there.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel

from cvpipe.calls import tally
from cvpipe.engine import Summary, write_artefacts
from cvpipe.engine.drawings import shapes_of
from cvpipe.engine.skeletons import skeletons_of
from cvpipe.errors import Interrupted, LeaseLost, MediaTruncated, NotFound, Unavailable
from cvpipe.exports.crops import CROPS_FOLDER, remove_others
from cvpipe.exports.maps import maps_in, remove_maps
from cvpipe.exports.ndjson import Row, write_ndjson
from cvpipe.exports.parts import FRAMES_A_PART, Parts
from cvpipe.exports.voted import Voted
from cvpipe.gaps import Gap, GapFinder, missing
from cvpipe.job import Job, JobError, JobState
from cvpipe.lifecycle import job_folder
from cvpipe.log import fields
from cvpipe.pipeline import map_stages
from cvpipe.results import FrameRecord, stream_ms
from cvpipe.store import Ring
from cvpipe.tracks import TrackTable
from cvpipe.work.afterwards import size_of
from cvpipe.work.bench import Bench, Lease, leased
from cvpipe.work.crops import all_crops, all_tracks, crops_folder, has_crops, keep_tracks
from cvpipe.work.external import has_calls
from cvpipe.work.footprint import memory_of_workers
from cvpipe.work.memories import forget
from cvpipe.work.planned import PlannedJob, all_events, all_records
from cvpipe.work.reuse import keep_inputs

log = logging.getLogger(__name__)

TURN_SECONDS: Final = 60.0
"""After so much work the task makes way for others, and is no longer blamed for crashes before."""

_RECORDS: Final = "frames.ndjson"
_EVENTS: Final = "events.ndjson"
_TRACKS: Final = "tracks.ndjson"
_CROPS: Final = ("crops.ndjson", _TRACKS)
_CALLS: Final = "calls.ndjson"
_ANNOTATED: Final = "annotated.mp4"
_NOTE: Final = "made.json"


def finish(bench: Bench, task: str, *, turn_seconds: float = TURN_SECONDS, frames_a_part: int = FRAMES_A_PART) -> None:
    """Task `finish:<job>`: exports, then the final state.

    turn_seconds: how long to work on before the task goes back to its queue. frames_a_part: of videos that are made.
    """
    job_id = task.partition(":")[2]

    def fail(lease: Lease, error: JobError) -> list[Ring]:
        """Go on without the file that can't be made; where it is none of those, or the records, the job has failed."""
        if _give_up_file(bench, job_id, error):
            return bench.store.release(lease.claim, progressed=True)
        rings = bench.store.end_job(lease.claim, job_id, JobState.failed, error=error, exports=[])
        _remove_workspace(bench, job_id)
        return rings

    with leased(bench, task, on_given_up=fail) as lease:
        if lease is None:
            _remove_workspace_if_over(bench, job_id)
            return
        try:
            bench.bell.ring(_Finishing(bench, lease, job_id, turn_seconds, frames_a_part).run())
        except _TurnOver:
            bench.bell.ring(bench.store.release(lease.claim, progressed=True))
        except LeaseLost:
            _remove_workspace_if_over(bench, job_id)
            raise


class _TurnOver(Interrupted):
    """There is more to do, but not now."""


class _Made(BaseModel):
    """What is done of a finish: kept in the workspace.

    at: names of the files that are being made. failed: why others can't be, by name.
    """

    names: list[str] = []
    at: list[str] = []
    failed: dict[str, JobError] = {}
    gaps: list[Gap] = []
    gaps_total: int = 0
    lost: int = 0
    degraded: int = 0
    summary: dict[str, dict[str, Any]] = {}


class _Finishing:
    """One turn of a finish."""

    def __init__(self, bench: Bench, lease: Lease, job_id: str, turn_seconds: float, frames_a_part: int) -> None:
        self._bench, self._lease, self._frames_a_part = bench, lease, frames_a_part
        self._until = time.monotonic() + turn_seconds
        self._job_id = job_id
        self._job, self._planned = bench.store.job(job_id), PlannedJob.load(bench, job_id)
        self._part = self._planned.part
        self._folder = job_folder(bench.settings, job_id)
        if lease.claim.attempts == 1:
            _remove_workspace(bench, job_id)
        # After a repair all is made anew, also where an old workspace could not be removed.
        self._work = _work_folder(bench, job_id, self._job)
        self._work.mkdir(parents=True, exist_ok=True)
        self._made = _read_note(self._work)

    def run(self) -> list[Ring]:
        """Make what is missing, then end the job. Raises: _TurnOver, LeaseLost, Stopping."""
        if _RECORDS not in self._made.names:
            self._write_records()
        if self._planned.spec.tells_events() and _EVENTS not in self._made.names:
            write_ndjson(self._work / _EVENTS, all_events(self._bench.store, self._job_id))
            self._note_made([_EVENTS])
        if has_crops(self._planned) and _CROPS[-1] not in self._made.names:
            self._write_crops()
        if has_calls(self._planned) and _CALLS not in self._made.names:
            self._write_calls()
        if self._job.annotate and not self._is_over(_ANNOTATED):
            self._annotate()
        if any(stage.scope == "job" for stage in self._planned.spec.make_stages()):
            write_artefacts(
                self._planned.spec,
                self._work,
                self._bench.decoders,
                self._planned.file(self._bench, self._lease),
                self._planned.index,
                part=self._part,
                tools=self._bench.tools,
                on_progress=lambda _done, _total: self._lease.check(),
                parts_of=self._parts_of,
                is_made=self._is_over,
                on_begin=self._note_begun,
                on_made=self._note_made,
            )
        return self._end()

    def _is_over(self, name: str) -> bool:
        return name in self._made.names or name in self._made.failed

    def _take_turns(self) -> None:
        """Called whenever something is done for good."""
        self._lease.check()
        if time.monotonic() >= self._until:
            raise _TurnOver

    def _note_begun(self, names: Sequence[str]) -> None:
        if self._made.at != list(names):
            self._made.at = list(names)
            _write_note(self._work, self._made)

    def _note_made(self, names: Sequence[str]) -> None:
        self._made.names += names
        self._made.at = []
        _write_note(self._work, self._made)
        self._take_turns()

    def _parts_of(self, name: str) -> Parts:
        folder = self._work / f"{name}.parts"
        return Parts(folder, self._frames_a_part, alive=self._lease.check, on_part=self._take_turns)

    def _write_records(self) -> None:
        finder, summary = GapFinder(), Summary(self._planned.spec, self._planned.selection)
        table = TrackTable() if self._planned.spec.gives_tracks() and not has_crops(self._planned) else None

        def records() -> Iterator[FrameRecord]:
            for record in all_records(self._bench.store, self._job_id):
                self._lease.check()
                finder.add(record)
                summary.add(record)
                if table is not None:
                    table.add(record)
                yield record

        made = [_RECORDS]
        write_ndjson(self._work / _RECORDS, records())
        if table is not None:  # with crops they are there already, with what these say
            keep_tracks(self._bench, self._lease, self._job_id, table.tracks())
            write_ndjson(self._work / _TRACKS, self._checked(table.tracks()))
            made.append(_TRACKS)
        keep_inputs(self._bench, self._lease, self._job_id, self._planned)
        cut_off = missing(self._planned.index, self._part, self._planned.time_range)
        self._made = _Made(
            gaps=[*finder.gaps, cut_off] if cut_off else finder.gaps,
            gaps_total=finder.total + (cut_off is not None),
            lost=finder.frames,
            degraded=finder.degraded,
            summary=summary.to_dict(),
        )
        self._note_made(made)

    def _write_crops(self) -> None:
        crops = all_crops(self._bench, self._planned, self._job_id)
        write_ndjson(self._work / _CROPS[0], self._checked(crops))
        write_ndjson(self._work / _CROPS[1], self._checked(all_tracks(self._bench, self._job_id)))
        remove_others(crops_folder(self._bench, self._job_id), all_crops(self._bench, self._planned, self._job_id))
        self._note_made(_CROPS)

    def _write_calls(self) -> None:
        calls = self._bench.store.all_calls(self._job_id)
        write_ndjson(self._work / _CALLS, calls)
        self._made.summary |= tally(calls)
        self._note_made([_CALLS])

    def _checked(self, lines: Iterable[Row]) -> Iterator[Row]:
        for line in lines:
            self._lease.check()
            yield line

    def _annotate(self) -> None:
        from cvpipe.exports.annotated import write_annotated

        self._note_begun([_ANNOTATED])
        facts = self._planned.index.facts
        voted = Voted(all_tracks(self._bench, self._job_id))
        write_annotated(
            self._work / _ANNOTATED,
            self._bench.decoders,
            self._planned.file(self._bench, self._lease),
            self._planned.index,
            lambda frame: map(voted.applied, self._records_from(frame)),
            self._bench.tools.cv2,
            numbers=self._part,
            parts=self._parts_of(_ANNOTATED),
            on_progress=lambda _done, _total: self._lease.check(),
            skeletons=skeletons_of(self._planned.spec, self._bench.settings.models_path),
            shapes=shapes_of(self._planned.spec, (facts.display_width, facts.display_height)),
            events=all_events(self._bench.store, self._job_id),
        )
        self._note_made([_ANNOTATED])

    def _records_from(self, frame: int) -> Iterator[FrameRecord]:
        """The last record at or before a frame, and all after it."""
        numbers = self._planned.numbers
        at = int(np.searchsorted(numbers, frame, side="right")) - 1
        after = None
        if at > 0:  # an id just below that record's own
            first = int(numbers[at])
            after = f"{stream_ms(float(self._planned.index.times[first]))}-{first}"
        return all_records(self._bench.store, self._job_id, after=after)

    def _end(self) -> list[Ring]:
        job, made = self._job, self._made
        for name in made.names:
            if (self._work / name).exists():  # else it was put there by a worker that died before the next line
                (self._work / name).replace(self._folder / name)
        for name in made.failed:  # that of an end before a repair shows other results
            (self._folder / name).unlink(missing_ok=True)
        error = job.error or self._why_gaps() or self._why_files()
        failed = job.progress.chunks_failed
        state = JobState.succeeded
        if failed or made.gaps or made.failed or job.error is not None:  # the latter of crops that were given up
            state = JobState.failed if failed and failed == job.progress.chunks_total else JobState.succeeded_with_gaps
        maps = self._maps()
        if job.prediction is not None:
            self._bench.store.note_memory(self._job_id, memory_of_workers())
        rings = self._bench.store.end_job(
            self._lease.claim,
            self._job_id,
            state,
            error=None if state is JobState.succeeded else error,
            exports=[*made.names, *maps],
            exports_failed=made.failed,
            gaps=made.gaps,
            gaps_total=made.gaps_total,
            summary=made.summary,
            facts={"output_bytes": sum(size_of(self._folder / name) for name in (*made.names, *maps, CROPS_FOLDER))},
        )
        _remove_workspace(self._bench, self._job_id)
        return rings

    def _maps(self) -> list[str]:
        """Names of the maps; those of frames behind an early stop are removed."""
        names = map_stages(self._planned.spec.make_stages())
        if (until := self._planned.until) is not None:
            remove_maps(self._folder, maps_in(self._folder, names, behind=until))
        return maps_in(self._folder, names)

    def _why_gaps(self) -> JobError | None:
        lost, code = self._made.lost, MediaTruncated.code
        damaged = f"{lost} {'frame' if lost == 1 else 'frames'} could not be decoded" if lost else ""
        if lost and self._made.degraded:
            damaged += f", and {self._made.degraded} predicted from such are degraded"
        if any(gap.status == "missing" for gap in self._made.gaps):
            warnings = self._planned.index.facts.warnings
            said = next(str(warning["message"]) for warning in warnings if warning["code"] == code)
            return JobError(code=code, message=f"{damaged}; {said}" if damaged else said)
        return JobError(code="frames_damaged", message=damaged) if damaged else None

    def _why_files(self) -> JobError | None:
        name, error = next(iter(self._made.failed.items()), (None, None))
        return error and JobError(code=error.code, message=f"{name} could not be made: {error.message}")


def _workspace(bench: Bench, job_id: str) -> Path:
    return job_folder(bench.settings, job_id) / ".finish"


def _work_folder(bench: Bench, job_id: str, job: Job) -> Path:
    return _workspace(bench, job_id) / str(job.rounds)


def _read_note(work: Path) -> _Made:
    note = work / _NOTE
    return _Made.model_validate_json(note.read_bytes()) if note.exists() else _Made()


def _write_note(work: Path, made: _Made) -> None:
    part = (work / _NOTE).with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(made.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    part.replace(work / _NOTE)


def _give_up_file(bench: Bench, job_id: str, error: JobError) -> bool:
    """Note that what is being made can't be; False where no file beside the records is."""
    work = _work_folder(bench, job_id, bench.store.job(job_id))
    made = _read_note(work)
    if not made.at:
        return False
    log.error("file given up: %s %s", error.message, fields(job=job_id, files=",".join(made.at), code=error.code))
    for name in made.at:
        made.failed[name] = error
        (work / name).unlink(missing_ok=True)
        shutil.rmtree(work / f"{name}.parts", ignore_errors=True)
    made.at = []
    _write_note(work, made)
    return True


def _remove_workspace(bench: Bench, job_id: str) -> None:
    forget(bench, job_id)
    shutil.rmtree(_workspace(bench, job_id), ignore_errors=True)


def _remove_workspace_if_over(bench: Bench, job_id: str) -> None:
    """Where a job was canceled; while another worker is at it, the workspace is that one's."""
    folder = _workspace(bench, job_id)
    if not folder.exists():
        return
    with suppress(Unavailable):
        try:
            state = bench.store.job(job_id).state
            is_over = state.is_final or state is JobState.canceling  # until we have said that we left
        except NotFound:
            is_over = True
        if is_over:
            log.info("what a canceled job had begun to make is removed %s", fields(job=job_id))
            _remove_workspace(bench, job_id)
            with suppress(OSError):  # it holds exports of an earlier end
                folder.parent.rmdir()
