"""Sweep: ring for what is due, so that a lost message costs time and nothing else."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from typing import Final

from cvpipe import media, uploads
from cvpipe.errors import Conflict, NotFound, Unavailable
from cvpipe.lifecycle import Lifecycle
from cvpipe.log import fields
from cvpipe.modelfiles import additions
from cvpipe.work.bench import Bench

log = logging.getLogger(__name__)

_PAGE = 1000
_MEDIA_EVERY_SECONDS = 60.0
ORPHAN_SECONDS: Final = 3600.0
"""A folder of a job that the store does not know stays for so long after the last change in it."""


def sweep_once(bench: Bench) -> int:
    """Ring for all that is due. Returns how many."""
    rings = bench.store.sweep(limit=_PAGE, ring_again_seconds=bench.settings.ring_again_seconds)
    bench.bell.ring(rings)
    return len(rings)


def _tell_limits(bench: Bench) -> None:
    """Sweepers tell the store what an operator allows; it holds for all jobs, those that wait already too."""
    with suppress(Unavailable):
        bench.store.put_max_running(bench.settings.max_running_jobs)


def sweep_jobs(bench: Bench) -> int:
    """Delete jobs that have been over for as long as they are kept, and all that belongs to them. Returns how many."""
    keep = bench.settings.keep_jobs_seconds
    if keep is None:
        return 0
    lifecycle = Lifecycle(bench.store, bench.bell, bench.settings)
    removed = 0
    for name in bench.store.ended_for(keep):
        with suppress(NotFound, Conflict):  # somebody has deleted it, or has it repaired, this very moment
            lifecycle.delete(name)
            removed += 1
    if removed:
        log.info("removed jobs that are not kept any longer %s", fields(jobs=removed))
    return removed


def sweep_orphans(bench: Bench) -> int:
    """Remove folders of jobs that the store knows no longer: deleted while a disk was away, or lost with the store.

    A store that knows no job at all may be the wrong one: then nothing is removed. Returns how many were.
    """
    if not bench.store.tenants():
        return 0
    root = bench.settings.data_dir / "jobs"
    folders = [folder for folder in root.glob("*/*") if folder.is_dir()]
    removed = 0
    for start in range(0, len(folders), _PAGE):
        names = {f"{folder.parent.name}/{folder.name}": folder for folder in folders[start : start + _PAGE]}
        for name in bench.store.unknown_jobs(list(names)):
            with suppress(OSError):  # it is going this very moment
                newest = max(path.stat().st_mtime for path in (names[name], *names[name].iterdir()))
                if time.time() - newest > ORPHAN_SECONDS:
                    shutil.rmtree(names[name], ignore_errors=True)
                    removed += 1
    if removed:
        log.info("removed folders of jobs that are not there %s", fields(folders=removed))
    return removed


def sweep_media(bench: Bench) -> int:
    """Remove pictures and clips that nobody looks at any more. Returns how many."""
    settings = bench.settings
    try:
        removed = media.sweep(
            settings.data_dir, keep_seconds=settings.media_keep_seconds, max_bytes=settings.media_max_bytes
        )
    except OSError as error:
        log.warning("can't sweep pictures and clips: %s", error)
        return 0
    if removed:
        log.info("removed pictures and clips %s", fields(files=removed))
    return removed


def sweep(bench: Bench) -> None:
    """Ring for what is due, again and again, until the bench stops. Several sweepers do no harm."""
    _tell_limits(bench)
    media_at = time.monotonic()
    while not bench.stopping.wait(bench.settings.sweep_seconds):
        try:
            while sweep_once(bench) == _PAGE:
                pass
            sweep_jobs(bench)
        except Unavailable as error:
            log.warning("the sweeper goes on when the store answers: %s", error)
        if time.monotonic() >= media_at:
            sweep_media(bench)
            with suppress(Unavailable):
                sweep_orphans(bench)
            additions.sweep(bench.settings.data_dir)
            uploads.sweep(bench.settings.data_dir, keep_seconds=bench.settings.upload_keep_seconds)
            media_at = time.monotonic() + _MEDIA_EVERY_SECONDS
