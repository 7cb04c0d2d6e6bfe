"""The store: the only door to Redis, and the truth about every job.

Claim, append, finish, fail and cancel are Lua scripts (`lua/`), atomic and on the server's clock. A task is claimed
with a random token; whoever's token is gone can write nothing. `docs/architecture/03-the-store.md` lists the keys.
"""

from __future__ import annotations

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from cvpipe.store.calls import Calls
from cvpipe.store.cameras import Cameras, StoredCamera
from cvpipe.store.counts import Counts
from cvpipe.store.keys import Keys
from cvpipe.store.media import Media
from cvpipe.store.messages import Messages
from cvpipe.store.records import Records
from cvpipe.store.submissions import Submission, Submissions, Submitted, new_job
from cvpipe.store.tasks import Claim, Ring, Tasks
from cvpipe.store.tracks import Tracks
from cvpipe.store.videos import Videos
from cvpipe.store.workers import WorkerState

__all__ = [
    "Claim",
    "Ring",
    "Store",
    "StoredCamera",
    "Submission",
    "Submitted",
    "WorkerState",
    "make_first_key",
    "new_job",
]


class Store(Submissions, Calls, Tasks, Records, Tracks, Videos, Media, Messages, Keys, Cameras, Counts):
    """Jobs, tasks, records, events, videos, cameras and API keys in Redis (or Valkey). Thread-safe."""

    @classmethod
    def connect(cls, url: str) -> Store:
        """A store on a `redis://` or `unix://` URL.

        Raises: StoreUnavailable.
        """
        client = redis.Redis.from_url(
            url,
            socket_timeout=5,
            socket_connect_timeout=5,
            health_check_interval=30,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        )
        store = cls(client)
        store.ping()
        store._check_durability()
        return store


def make_first_key(url: str) -> str | None:
    """An administrator's key, where the store at `url` has had none before; else None. Raises: StoreUnavailable."""
    store = Store.connect(url)
    try:
        return store.make_first_key()
    finally:
        store.close()
