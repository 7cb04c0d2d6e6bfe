"""Model: look at an ONNX file that came over HTTP, in a limited process, and keep it with a card."""

from __future__ import annotations

from cvpipe.job import JobError
from cvpipe.modelfiles import Limits, add_model, additions
from cvpipe.store import Ring
from cvpipe.work.bench import Bench, Lease, leased


def model(bench: Bench, task: str) -> None:
    """Task `model:<addition>`: leaves the card, or why there is none, for the API to tell."""
    addition = task.partition(":")[2]
    settings = bench.settings

    def refuse(lease: Lease, error: JobError) -> list[Ring]:
        additions.put_result(settings.data_dir, addition, error)
        bench.store.drop(lease.claim)
        return []

    with leased(bench, task, on_given_up=refuse) as lease:
        if lease is None:
            return
        if additions.result_of(settings.data_dir, addition) is None:
            file, wish, filename = additions.order_of(settings.data_dir, addition)
            added = add_model(file, wish, settings.models_path, Limits.of(settings), filename=filename)
            additions.put_result(settings.data_dir, addition, added)
        bench.store.drop(lease.claim)
