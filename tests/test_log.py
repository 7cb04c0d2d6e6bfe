"""What a process prints of its work."""

from __future__ import annotations

import subprocess
import sys

SAYS = """
import logging
from cvpipe import log

log.configure()
logging.getLogger("pika.adapters.blocking_connection").error("AMQP connection workflow failed")
logging.getLogger("cvpipe.broker").warning("the broker does not answer %s", log.fields(queue="cpu", tries=2))
"""


def test_a_broker_that_is_away_is_one_line_of_ours_and_none_of_its_librarys() -> None:
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line.endswith("WARNING cvpipe.broker the broker does not answer queue=cpu tries=2")
