"""Networks whose answers are known, looked through by the stage `detect`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.results import Objects
from cvpipe.stages.detect import Detect, DetectOptions
from tests.modelcards import answering_network, write_card

See = Callable[..., Objects]


@pytest.fixture
def see(tmp_path: Path) -> See:
    """What `detect` finds on a frame with a network of so many pixels that answers with these arrays.

    The frame has twice the network's size, so that canvas coordinates come back doubled.
    """

    def run(
        *answers: np.ndarray,
        size: tuple[int, int] = (64, 64),
        batched: bool = True,
        extra: dict[str, str] | None = None,
        stage_options: dict[str, Any] | None = None,
        **card: Any,
    ) -> Objects:
        width, height = size
        raw = answering_network(
            *answers, width=width, height=height, batched=batched, extra=next(iter(extra or ()), None)
        )
        more = {} if extra is None else {"extra": extra}
        write_card(tmp_path, raw, **{"input": {"width": width, "height": height, **more}, **card})
        stage = Detect(DetectOptions(name="things", model="tiny", **(stage_options or {})))
        stage.open(OnnxTools(tmp_path, device="cpu"))
        view = stage.view(View.of(2 * width, 2 * height))
        (found,) = stage.process([Frame(0, 0, 0.0, view, np.zeros(view.shape, np.uint8))], [Objects.none()])
        assert found.added is not None
        return found.added

    return run
