"""Sweep: ring for what is due, so that a lost message costs time and nothing else."""

from __future__ import annotations

import logging

from cvpipe.errors import Unavailable
from cvpipe.work.bench import Bench

log = logging.getLogger(__name__)

_PAGE = 1000


def sweep_once(bench: Bench) -> int:
    """Ring for all that is due. Returns how many."""
    rings = bench.store.sweep(limit=_PAGE, ring_again_seconds=bench.settings.ring_again_seconds)
    bench.bell.ring(rings)
    return len(rings)


def sweep(bench: Bench) -> None:
    """Ring for what is due, again and again, until the bench stops. Several sweepers do no harm."""
    while not bench.stopping.wait(bench.settings.sweep_seconds):
        try:
            while sweep_once(bench) == _PAGE:
                pass
        except Unavailable as error:
            log.warning("the sweeper goes on when the store answers: %s", error)
