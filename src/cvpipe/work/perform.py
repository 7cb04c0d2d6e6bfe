"""Perform: answer a ring with what is to be done first in the queue it came by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from cvpipe.errors import StoreUnavailable
from cvpipe.log import fields
from cvpipe.work.bench import Bench
from cvpipe.work.camera import camera
from cvpipe.work.chunks import work
from cvpipe.work.finish import finish
from cvpipe.work.ingest import ingest
from cvpipe.work.media import media
from cvpipe.work.model import model
from cvpipe.work.notify import notify
from cvpipe.work.trial import trial

log = logging.getLogger(__name__)

_DO: Final[dict[str, Callable[[Bench, str], None]]] = {
    "probe": ingest,
    "ingest": ingest,
    "chunk": work,
    "trial": trial,
    "finish": finish,
    "media": media,
    "model": model,
    "camera": camera,
    "notify": notify,
}
"""What does a task, by the first word of its name."""


def perform(bench: Bench, task: str, queue: str = "") -> None:
    """Do one task of `queue`, the first in line there; often, but not always, the one that was rung for.

    There is a ring for each task, so in the end each is done. queue: its logical name; '': that of the task.
    """
    try:
        claim = bench.store.take(queue, lease_seconds=bench.settings.lease_seconds, rung_for=task)
    except StoreUnavailable as unavailable:
        log.warning("the sweeper will ring again for a task: %s %s", unavailable, fields(task=task))
        return
    if claim is not None:
        bench.taken[claim.task] = claim
        _DO[claim.task.partition(":")[0]](bench, claim.task)
