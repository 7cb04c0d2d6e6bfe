"""`cvpipe models check`, `bench` and `rm`: looking after models."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cvpipe.cli import extras, output
from cvpipe.cli.doors import find_store, open_store
from cvpipe.cli.exits import ExitCode
from cvpipe.cli.options import Json, load_settings

if TYPE_CHECKING:
    from cvpipe.network import Network
    from cvpipe.settings import Settings

Model = Annotated[str, typer.Argument(metavar="MODEL", help="`name`, or `name@version`.")]


def check(model: Model, as_json: Json = False) -> ExitCode:
    """Check a model: file, sha256, graph, a trial run in a limited process, and that its family reads the outputs."""
    extras.require("worker", what="cvpipe models check")
    from cvpipe import modelfiles
    from cvpipe.inference.cards import find_card

    settings = load_settings()
    card = find_card(settings.models_path, model)
    steps = [{"what": "card", "ok": True, "words": str(card.path.parent)}]
    steps += [step.model_dump() for step in modelfiles.check(card.path, card, modelfiles.Limits.of(settings))]
    is_right = all(step["ok"] for step in steps)
    if as_json:
        output.as_json({"model": card.ref, "ok": is_right, "steps": steps})
    else:
        output.columns(
            (card.ref, "", ""), [(step["what"], "ok" if step["ok"] else "wrong", step["words"]) for step in steps]
        )
    return ExitCode.ok if is_right else ExitCode.failed


def bench(
    model: Model,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="For each line.")] = 2,
    as_json: Json = False,
) -> None:
    """Pictures per second: at batch sizes in one call with one thread, and with as many calls at once as cores."""
    extras.require("worker", what="cvpipe models bench")
    from cvpipe.inference import OnnxTools

    settings = load_settings()
    tools = OnnxTools(settings.models_path, device=settings.device)
    network = tools.network(model)
    cores = settings.threads or len(os.sched_getaffinity(0))
    rows = [
        {"batch": batch, "calls": calls, "pictures_per_second": round(_rate(network, batch, calls, seconds), 2)}
        for calls in sorted({1, cores})
        for batch in (1, 4, 16)
    ]
    if as_json:
        output.as_json({"model": network.card.ref, "device": tools.device, "rates": rows})
        return
    output.line(f"{network.card.ref} on {tools.device}, {network.card.input.width}x{network.card.input.height}")
    output.columns(
        ("BATCH", "CALLS AT ONCE", "PICTURES/S"),
        [(row["batch"], row["calls"], row["pictures_per_second"]) for row in rows],
    )


def _rate(network: Network, batch: int, calls: int, seconds: float) -> float:
    """Pictures per second of `calls` threads that hand over `batch` pictures each, again and again."""
    import numpy as np

    spec = network.card.input
    images = list(np.random.default_rng(0).integers(0, 256, (batch, spec.height, spec.width, 3), np.uint8))
    network.run(images)
    counts = [0] * calls
    errors: list[BaseException] = []
    until = time.perf_counter() + seconds

    def work(place: int) -> None:
        try:
            while time.perf_counter() < until:
                network.run(images)
                counts[place] += batch
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that waits
            errors.append(error)

    began = time.perf_counter()
    threads = [threading.Thread(target=work, args=(place,)) for place in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(counts) / (time.perf_counter() - began)


def rm(model: Model, as_json: Json = False) -> None:
    """Remove a version (`name@version`), or all versions (`name`).

    Refused while a job that isn't over names it: the store (CVPIPE_REDIS_URL), or the `cvpipe up` that runs on the data
    directory, is asked. Where there is neither, there are no jobs.
    """
    settings = load_settings()
    removed = _remove(settings, model)
    if as_json:
        output.as_json({"removed": removed})
        return
    for ref in removed:
        output.line(f"{ref} removed")


def _remove(settings: Settings, model: str) -> list[str]:
    from cvpipe import modelfiles

    if find_store(settings) is not None:
        from cvpipe.library import check_unused

        with open_store(settings) as store:
            check_unused(store, {card.ref for card in modelfiles.named(settings.models_path, model)})
    return modelfiles.remove(settings.models_path, model)
