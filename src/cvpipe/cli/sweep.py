"""`cvpipe sweep`: rings again for what was lost."""

from __future__ import annotations

import signal

from cvpipe.cli import extras
from cvpipe.cli.doors import check_doors
from cvpipe.cli.options import load_settings


def sweep() -> None:
    """Ring for tasks that are due: retries, tasks of dead workers, lost messages. Several sweepers do no harm."""
    extras.require("api", what="cvpipe sweep")
    from actors.resources import open_bench
    from cvpipe import log, work
    from cvpipe.embedded.processes import say_ready

    settings = load_settings()
    check_doors(settings)
    log.configure(settings.log_level)
    bench = open_bench(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: bench.stopping.set())
    say_ready()
    try:
        work.sweep(bench)
    finally:
        bench.close()
