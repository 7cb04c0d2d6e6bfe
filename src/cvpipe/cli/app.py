"""The tree of commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.main import get_command

from cvpipe.cli import (
    api,
    cameras,
    doctor,
    jobs,
    keys,
    models,
    output,
    pipelines,
    run,
    stages,
    sweep,
    up,
    version,
    video,
    videos,
    worker,
)

_PANELS = {
    "On this machine": (run.run, video.app, stages.app, pipelines.app, models.app, doctor.doctor, version.version),
    "The service": (up.up, api.api, worker.worker, sweep.sweep, keys.app),
    "A running service": (jobs.app, videos.app, cameras.app),
}


def _show_version(wanted: bool) -> None:
    if wanted:
        output.line(version.own_version())
        raise typer.Exit


def command() -> Any:
    """The command `cvpipe`, ready to be called."""
    app = typer.Typer(
        name="cvpipe",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        epilog="Exit codes and environment variables: docs/cli.md",
    )
    app.callback()(_root)
    for panel, members in _PANELS.items():
        for member in members:
            if isinstance(member, typer.Typer):
                app.add_typer(member, rich_help_panel=panel)
            else:
                app.command(rich_help_panel=panel)(member)
    return get_command(app)


def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Turn recorded video into structured results, on your own machines."""
