"""What the benchmarks share: the models folder, the network, medians and tables."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cvpipe.frames import View
from cvpipe.inference import OnnxTools, find_card
from cvpipe.inference.graphs import freed, read_graph
from tests.modelcards import write_yolox_card

VIDEO = "one-by-one-person-detection.mp4"
MODEL = "yolox-nano"


def assets_folder() -> Path:
    """Where real models and videos are: CVPIPE_ASSETS, or shared/assets beside the repository."""
    root = Path(__file__).resolve().parent.parent
    return Path(os.environ.get("CVPIPE_ASSETS") or root.parent / "shared" / "assets")


def models_folder(folder: Path, assets: Path) -> Path:
    """A models folder with `yolox-nano`."""
    write_yolox_card(folder, assets)
    return folder


def network_as_run(models: Path, source: tuple[int, int]) -> tuple[bytes, View]:
    """The network's bytes and the input view just as cvpipe runs them, so that the loops do the same arithmetic."""
    view = OnnxTools(models, device="cpu").network(MODEL).input_view(View.of(*source))
    card = find_card(models, MODEL)
    return freed(read_graph(card.read()), card.input.layout).SerializeToString(), view


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on the terminal, or in a file."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)


def spread(values: Sequence[float], form: str = "{:.1f}") -> str:
    """Median (least to most)."""
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{form.format(mid)} ({form.format(low)} to {form.format(high)})"
