"""`cvpipe up`: the whole service on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cvpipe.cli import extras, output
from cvpipe.cli.doors import without_password
from cvpipe.cli.options import Auth, DataDir, Host, Json, Port, Threads, load_settings
from cvpipe.cli.version import own_version

if TYPE_CHECKING:
    from cvpipe.embedded import Running


def up(  # noqa: PLR0917 - Typer hands them over by name
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    auth: Auth = None,
    as_json: Json = False,
) -> None:
    """Start the whole service on this machine: API, store, workers. Ctrl-C stops all of it.

    Needs no server, no Docker and no internet. What jobs found survives a restart. With --json one line of JSON comes
    on standard output when the service is ready.
    """
    extras.require("api", "worker", what="cvpipe up")
    from cvpipe.embedded import run_service
    from cvpipe.stages import discover

    settings = load_settings(host=host, port=port, data_dir=data_dir, threads=threads, auth=auth)
    discover()  # a stage file that is broken is told now, not with the first job

    def announce(running: Running) -> None:
        if as_json:
            facts = running.to_dict()
            facts["store"]["url"] = without_password(running.store_url)
            output.as_json({"version": own_version(), **facts})
            return
        kept = {
            True: f"{running.store}: every write is on disk before its answer",
            False: f"{running.store}: forgets all jobs at the end",
            None: f"{without_password(running.store_url)} (`cvpipe doctor` looks at how it keeps things)",
        }[running.durable]
        output.line(f"cvpipe is up at {running.url} (Ctrl-C stops it)")
        output.line(f"  docs   {running.url}/docs")
        output.line(f"  data   {running.data_dir}")
        output.line(f"  store  {kept}")
        output.line(f"  work   {running.threads} chunks at once; logs in {running.data_dir / 'logs'}")
        if running.admin_key is not None:
            output.line(f"  key    {running.admin_key}")
            output.line("         the administrator's, shown this once; `cvpipe keys create` makes others")
        output.flush()

    run_service(settings, announce=announce, say=lambda text: output.note(f"cvpipe: {text}"))
    if not as_json:
        output.note("cvpipe: stopped")
