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
def ingest(task: str, queue: str = "") -> None:
    """Index a video; plan a job."""
    tasks.perform(resources.bench, task, queue)


@dramatiq.actor(queue_name=queue_name("cpu"))
def work(task: str, queue: str = "") -> None:
    """Run a segment on a chunk; the message comes by the segment's own queue."""
    tasks.perform(resources.bench, task, queue)


@dramatiq.actor(queue_name=queue_name("finish"))
def finish(task: str, queue: str = "") -> None:
    """Exports and the final state."""
    tasks.perform(resources.bench, task, queue)


@dramatiq.actor(queue_name=queue_name("media"))
def media(task: str, queue: str = "") -> None:
    """Make a picture or a clip."""
    tasks.perform(resources.bench, task, queue)


@dramatiq.actor(queue_name=queue_name("media"))
def model(task: str, queue: str = "") -> None:
    """Look at a model that was sent, and keep it."""
    tasks.perform(resources.bench, task, queue)


@dramatiq.actor(queue_name=queue_name("media"))
def camera(task: str, queue: str = "") -> None:
    """Find a camera's lens in the video of a chessboard."""
    tasks.perform(resources.bench, task, queue)


@dramatiq.actor(queue_name=queue_name("notify"))
def notify(task: str, queue: str = "") -> None:
    """Deliver a webhook."""
    tasks.perform(resources.bench, task, queue)
