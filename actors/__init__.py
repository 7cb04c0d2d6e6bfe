"""Dramatiq actors: thin shells, ids in, one call of cvpipe, done.

`dramatiq actors -p 1 -t 4 -Q cvpipe.v1.cpu cvpipe.v1.gpu` starts a worker; `cvpipe worker` does the same.
Importing this module reads the environment: it is an entry point.
"""

from __future__ import annotations

import os

import dramatiq

from actors.resources import WorkerResources
from cvpipe import work as tasks
from cvpipe.broker import DEFAULT_QUEUES, make_broker, queue_name
from cvpipe.settings import Settings

settings = Settings()
resources = WorkerResources(settings)
broker = make_broker(
    broker_url=settings.broker_url,
    redis_url=settings.redis_url or "redis://127.0.0.1:6379/0",
    middleware=[resources],
    prefetch=settings.threads or len(os.sched_getaffinity(0)),
)
dramatiq.set_broker(broker)
for logical in (*DEFAULT_QUEUES, *settings.extra_queues.split()):
    broker.declare_queue(queue_name(logical))


@dramatiq.actor(queue_name=queue_name("ingest"))
def ingest(task: str) -> None:
    """Index a video; plan a job."""
    tasks.ingest(resources.bench, task)


@dramatiq.actor(queue_name=queue_name("cpu"))
def work(task: str) -> None:
    """Run a segment on a chunk; the message comes by the segment's own queue."""
    tasks.work(resources.bench, task)


@dramatiq.actor(queue_name=queue_name("finish"))
def finish(task: str) -> None:
    """Exports and the final state."""
    tasks.finish(resources.bench, task)


@dramatiq.actor(queue_name=queue_name("media"))
def media(task: str) -> None:
    """Make a picture or a clip."""
    tasks.media(resources.bench, task)


@dramatiq.actor(queue_name=queue_name("media"))
def model(task: str) -> None:
    """Look at a model that was sent, and keep it."""
    tasks.model(resources.bench, task)


@dramatiq.actor(queue_name=queue_name("media"))
def camera(task: str) -> None:
    """Find a camera's lens in the video of a chessboard."""
    tasks.camera(resources.bench, task)


@dramatiq.actor(queue_name=queue_name("notify"))
def notify(task: str) -> None:
    """Deliver a webhook."""
    tasks.notify(resources.bench, task)
