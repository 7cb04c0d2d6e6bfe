"""The course of the training: batches of drawn pictures, and the network that learns from them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from copy import deepcopy
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

import numpy as np
import torch

from examples.demo.layers import Shown
from training.facts import BATCH, SEED, SIDES
from training.learning import losses, targets
from training.network import Drawn
from training.scenes import Cast, Image, pictures

_RATE: Final = 4e-3
_WARM_UP: Final = 80
_KEEP: Final = 0.997  # of the running mean of the weights, which is what is kept

Batch = tuple[int, list[Image], list[list[Shown]]]


def train(steps: int, *, say: bool = True) -> Drawn:
    """The trained network. The same each time on one kind of processor, with the same number of threads."""
    torch.manual_seed(SEED)
    network = Drawn().to(memory_format=torch.channels_last)
    kept = deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.02)
    began = time.monotonic()
    means: dict[str, float] = {}
    for step, (side, images, shown) in enumerate(_batches(steps)):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1, (step + 1) / _WARM_UP) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
        stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        parts = losses(*network(stack.contiguous(memory_format=torch.channels_last)), targets(shown, side), side)
        optimiser.zero_grad()
        parts["sum"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        _follow(kept, network, min(_KEEP, (1 + step) / (20 + step)))
        for name, part in parts.items():
            means[name] = 0.95 * means.get(name, part.item()) + 0.05 * part.item()
        if say and (step + 1) % 50 == 0:
            told = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
            print(f"step {step + 1} of {steps}, {time.monotonic() - began:.0f} s: {told}", flush=True)
    return kept


def _follow(kept: Drawn, network: Drawn, share: float) -> None:
    with torch.no_grad():
        for mine, new in zip(kept.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(new, 1 - share)


def _batches(steps: int) -> Iterator[Batch]:
    """Drawn by a process of its own, so that the network does not wait for them."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    artist = context.Process(target=_draw, args=(theirs, steps), daemon=True)
    artist.start()
    theirs.close()
    for _ in range(steps):
        yield ours.recv()
    artist.join()


def _draw(pipe: Connection, steps: int) -> None:
    """Half of each batch is new; the other half was new last time, and is mirrored now."""
    cast = Cast(SEED)
    sources = {side: pictures(cast, SEED + side, side=side) for side in SIDES}
    mirrored = {side: _mirrored(_new(sources[side]), side) for side in SIDES}
    for step in range(steps):
        side = SIDES[step % len(SIDES)]
        new = _new(sources[side])
        images, shown = zip(*new, *mirrored[side], strict=True)
        mirrored[side] = _mirrored(new, side)
        pipe.send((side, list(images), list(shown)))


def _new(source: Iterator[tuple[Image, list[Shown]]]) -> list[tuple[Image, list[Shown]]]:
    return [next(source) for _ in range(BATCH // 2)]


def _mirrored(some: list[tuple[Image, list[Shown]]], side: int) -> list[tuple[Image, list[Shown]]]:
    return [(np.ascontiguousarray(image[:, ::-1]), [thing.mirrored(side) for thing in shown]) for image, shown in some]
