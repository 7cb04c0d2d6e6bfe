"""The command line. `main` is the entry point `cvpipe`; `exits` lists what the exit codes mean.

Importing a command's module costs nothing heavy: what a command needs is imported when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Results go to standard output, everything else to standard error. An error is one line, `error: ...`, or with
    `--json` one JSON object; the environment variable CVPIPE_DEBUG=1 adds the traceback.
    """
    from cvpipe.cli.app import command
    from cvpipe.cli.errors import report
    from cvpipe.cli.exits import ExitCode

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = command().main(args=words, prog_name="cvpipe", standalone_mode=False) or 0
        sys.stdout.flush()
        if code == ExitCode.interrupted:  # Typer has swallowed the KeyboardInterrupt
            raise KeyboardInterrupt
    except BaseException as error:  # noqa: BLE001 - the last stop: whatever comes is told in one line
        # The word may stand anywhere, and the parser may be what failed.
        code = report(error, as_json="--json" in words, debug=os.environ.get("CVPIPE_DEBUG", "") not in ("", "0"))
    sys.exit(code)
