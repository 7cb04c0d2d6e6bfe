"""`cvpipe models tune` and `cvpipe models quantize`: how a model is run best on the user's own video."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvpipe.cli import extras, output
from cvpipe.cli.options import Json, load_settings
from cvpipe.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from cvpipe.tuning import Row, Tuned

Model = Annotated[str, typer.Argument(metavar="MODEL", help="`name`, or `name@version`.")]
Video = Annotated[Path, typer.Option("--video", help="A video like those that the model will see.")]


def tune(
    model: Model,
    *,
    video: Video,
    start: Annotated[
        float | None, typer.Option("--from", help="Seconds since the first frame. Default: so that it is the middle.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.5, max=120, help="Of the video, for each setting.")] = 5,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Agreement with fp32 at full size that a profile must have.")
    ] = 0.97,
    plot: Annotated[Path | None, typer.Option(metavar="X.png", help="The picture. Default: NAME-tuned.png.")] = None,
    sizes_only: Annotated[
        bool, typer.Option("--sizes-only", help="Try sizes and precisions, not batch, threads, calls and decoders.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Save no profile.")] = False,
    as_json: Json = False,
) -> None:
    """Try sizes, precisions, batches, threads, calls and decoders on a video; save the fastest that finds the same."""
    extras.require("worker", what="cvpipe models tune")
    from cvpipe.inference import OnnxTools, find_card
    from cvpipe.modelfiles.folder import check_keepable
    from cvpipe.tuning import plotted, save
    from cvpipe.tuning import tune as run

    settings = load_settings()
    card = find_card(settings.models_path, model)
    picture = plot or Path(f"{card.name}-tuned.png")
    _check_writable(picture)
    if not dry_run:
        check_keepable(settings.models_path, card)
    with _steps() as on_step:
        tuned = run(
            model,
            video,
            settings=settings,
            start=start,
            seconds=seconds,
            min_agreement=min_agreement,
            runtime=not sizes_only,
            on_step=on_step,
        )
    saved = None if dry_run else save(tuned, settings.models_path)
    try:
        picture.write_bytes(plotted(tuned, OnnxTools(settings.models_path, device="cpu").cv2))
    except OSError as error:
        raise InvalidRequest(f"can't write {picture}: {error.strerror}", field="--plot") from error
    if as_json:
        output.as_json(
            {
                "model": tuned.card.ref,
                "rows": [row.to_dict() for row in tuned.rows],
                "best": tuned.best.to_dict(),
                "chunks": tuned.chunks,
                "decode": tuned.decode,
                "profile": tuned.profile.model_dump(mode="json"),
                "saved": None if saved is None else str(saved),
                "plot": str(picture),
                "failed": [why for _, why in tuned.failed],
            }
        )
        return
    _table(tuned)
    for setting, why in tuned.failed:
        output.note(f"did not run: {setting.width}x{setting.height}, {setting.precision}: {why}")
    best, first = tuned.best, tuned.rows[0]
    output.line(
        f"best: {_canvas(best)}, {best.setting.precision}: {best.fps / max(first.fps, 1e-9):.2f} times the reference, "
        f"agreement {best.score:.3f} ({best.agreement})"
    )
    if tuned.chunks != best.setting.chunks:
        output.line(f"{tuned.chunks} chunks at once are faster still: set CVPIPE_THREADS={tuned.chunks}")
    if tuned.decode != best.setting.decode:
        output.line(f"an NVIDIA card decodes it faster: set CVPIPE_DECODE={tuned.decode}")
    output.line(f"profile: {saved or 'not saved'}; picture: {picture}")


def quantize(
    model: Model,
    *,
    video: Video,
    frames: Annotated[int, typer.Option(min=1, max=10_000, help="For the ranges of activations.")] = 64,
    max_loss: Annotated[
        float, typer.Option(min=0, max=1, help="How much less than 1 the agreement with the original may be.")
    ] = 0.02,
    as_json: Json = False,
) -> None:
    """Make an int8 version for CPUs, with frames of a video; refused where it finds something else than before."""
    extras.require("worker", what="cvpipe models quantize")
    from cvpipe.tuning import quantise

    settings = load_settings()
    with _steps() as on_step:
        made = quantise(model, video, settings=settings, frames=frames, max_loss=max_loss, on_step=on_step)
    if as_json:
        output.as_json(
            {
                "model": made.card.model_dump(mode="json"),
                "new": made.new,
                "path": str(made.card.path),
                "tries": [{"recipe": one.recipe, "loss": one.loss, "why": one.why} for one in made.tries],
            }
        )
        return
    output.line(f"{made.card.ref} {'made' if made.new else 'is there already'}: {made.card.path.parent}")
    for one in made.tries:
        output.line(f"  {one}")
    output.line(f"  is it faster here? cvpipe models tune {made.card.name} --video {video}")


def _check_writable(path: Path) -> None:
    """What is found in minutes must not be lost then. Raises: InvalidRequest."""
    if path.is_dir():
        raise InvalidRequest(f"{path} is a folder; name a file", field="--plot")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise InvalidRequest(f"can't write {path}", field="--plot")


def _table(tuned: Tuned) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{tuned.card.ref}: {tuned.rows[0].frames} frames for each row", title_justify="left")
    for number, name in enumerate(
        ("CANVAS", "PRECISION", "BATCH", "THREADS x CALLS", "CHUNKS", "DECODE", "FRAMES/S", "MIB", "AGREEMENT", "")
    ):
        table.add_column(name, justify="left" if number in (0, 1, 5, 9) else "right")
    for row in tuned.rows:
        s = row.setting
        marks = ["reference"] * (row is tuned.rows[0]) + ["unbeaten"] * tuned.is_unbeaten(row)
        marks += ["chosen"] * (row is tuned.best)
        table.add_row(
            _canvas(row),
            s.precision,
            str(s.batch),
            f"{s.threads} x {s.calls or 'auto'}",
            str(s.chunks),
            s.decode,
            f"{row.fps:.1f}",
            f"{row.memory_bytes / 2**20:.0f}",
            f"{row.score:.3f}",
            ", ".join(marks),
        )
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _canvas(row: Row) -> str:
    return f"{row.canvas[0]}x{row.canvas[1]}"


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """What is done now: a bar on a terminal, else lines on standard error, one for each new thing."""
    if not sys.stderr.isatty():
        told: list[str] = []

        def tell(what: str, done: int, total: int) -> None:  # noqa: ARG001 - the bar shows them
            if told[-1:] != [what]:
                told.append(what)
                output.note(what)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*parts, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
