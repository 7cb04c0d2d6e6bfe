"""A storm of webhooks: many jobs end, their receiver fails half of the time, and those who deliver are killed.

`python -m tests.storm --webhooks 1000 --kills 50 --seed 7` uses a Redis and senders of its own
(`cvpipe worker --queues notify`).
What counts: each message is delivered, and every request that came verifies with the reference library.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import standardwebhooks

from cvpipe.job import ENDS
from cvpipe.store import Store
from cvpipe.webhooks import new_secret
from tests.receivers import Asked, Said, receiving
from tests.servers import RedisServer
from tests.service.deployment import Deployment
from tests.store.test_store import make_doc

_SENDERS = 3


class Sender(Protocol):
    """What delivers, and can be killed."""

    def kill(self) -> None: ...


@dataclass
class Outcome:
    """What came of a storm. delivered, verified: ids of messages. wrong: requests that did not verify."""

    wanted: set[str]
    delivered: set[str] = field(default_factory=set)
    verified: set[str] = field(default_factory=set)
    wrong: int = 0
    refused: int = 0
    kills: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return not self.wrong and self.delivered == self.verified == self.wanted

    def __str__(self) -> str:
        return (
            f"{len(self.wanted)} messages, {self.kills} kills of senders, {self.refused} refusals: "
            f"{len(self.delivered)} delivered, {len(self.verified)} verified by standardwebhooks, {self.wrong} wrong, "
            f"in {self.seconds:.0f} s"
        )


def storm(
    redis_url: str, start: Callable[[], Sender], *, webhooks: int, kills: int, seed: int, limit_seconds: float
) -> Outcome:
    """Let the storm blow until all is delivered, or the time is over.

    start: one who delivers what is due, until it is killed.
    """
    chance, lock = random.Random(seed), threading.Lock()
    asked: Counter[str] = Counter()
    secret = new_secret()
    library = standardwebhooks.Webhook(secret)
    jobs = [f"t/storm{number}" for number in range(webhooks)]
    outcome = Outcome({f"msg_storm{number}_1" for number in range(webhooks)})

    def answer(request: Asked) -> Said:
        with lock:
            try:
                library.verify(request.body, request.headers)
            except standardwebhooks.WebhookVerificationError:
                outcome.wrong += 1
                return Said(401)
            message = request.headers["webhook-id"]
            outcome.verified.add(message)
            asked[message] += 1
            fate = random.Random(f"{seed} {message} {asked[message]}")
            if fate.random() < 0.5:
                outcome.refused += 1
                return Said(fate.choice([500, 503, 429]))
            return Said(204)

    store = Store.connect(redis_url)
    began = time.monotonic()
    try:
        with receiving(answer) as receiver:
            senders = [start() for _ in range(_SENDERS)]
            for job in jobs:
                doc = make_doc(webhook_url=f"{receiver.url}/hook", webhook_secrets=[secret], webhook_events=list(ENDS))
                store.submit(job, doc, priority=4, webhook=ENDS, idempotency_key=None, digest="")
                store.cancel(job)
            while time.monotonic() - began < limit_seconds:
                if outcome.kills < kills and len(outcome.verified) * kills >= outcome.kills * webhooks:
                    victim = chance.randrange(_SENDERS)
                    senders[victim].kill()
                    outcome.kills += 1
                    senders[victim] = start()
                elif not store.client.keys("cvpipe:task:notify:*"):
                    break
                time.sleep(0.05)
            logs = [store.delivery_log(job) for job in jobs]
            outcome.delivered = {m.id for log in logs for m in log.messages if m.state == "delivered"}
            outcome.seconds = time.monotonic() - began
    finally:
        store.close()
    return outcome


WAITS = " ".join(["0.2"] * 60)
"""A day's schedule in seconds."""


def main() -> int:
    """Run a storm; 0 where all was delivered and verified."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--webhooks", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder) / "redis")
        redis.folder.mkdir()
        redis.start()
        deployment = Deployment(
            Path(folder), redis_url=redis.url, broker_url=None, WEBHOOK_WAITS=WAITS, LEASE_SECONDS=1, SWEEP_SECONDS=0.1
        )
        try:
            deployment.start("sweep")
            outcome = storm(
                redis.url,
                lambda: deployment.worker(queues="notify", threads=8),
                webhooks=options.webhooks,
                kills=options.kills,
                seed=options.seed,
                limit_seconds=options.minutes * 60,
            )
        finally:
            deployment.close()
            redis.kill()
    print(outcome)
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
