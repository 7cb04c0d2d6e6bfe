"""Networks whose answers are known, looked through by the stage `detect`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.results import Objects
from cvpipe.stages.detect import Detect, DetectOptions
from tests.modelcards import answering_network, write_card
from tests.people import add_shared

See = Callable[..., Objects]
Look = Callable[..., list[Objects]]


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


@pytest.fixture(scope="session")
def pictures(assets: Path) -> dict[str, av.VideoFrame]:
    """Frames of the shared videos: of the room with people 80, 240 and 440; of the film 24, 72 and 96."""
    found: dict[str, av.VideoFrame] = {}
    with av.open(str(assets / "videos" / "one-by-one-person-detection.mp4")) as container:
        container.streams.video[0].codec_context.skip_frame = "NONKEY"  # every tenth is a keyframe
        for number, picture in zip(range(0, 450, 10), container.decode(video=0), strict=False):
            found[f"room {number}"] = picture
    with av.open(str(assets / "videos" / "sintel-10s.mp4")) as container:
        for number, picture in zip(range(97), container.decode(video=0), strict=False):
            found[f"film {number}"] = picture
    return {name: found[name] for name in ("room 80", "room 240", "room 440", "film 24", "film 72", "film 96")}


@pytest.fixture
def look(assets: Path, pictures: dict[str, av.VideoFrame], tmp_path: Path) -> Look:
    """What `detect` finds on frames of the shared videos with one of the shared networks, as `models add` adds it."""

    def run(model: str, names: list[str], **more: Any) -> list[Objects]:
        add_shared(tmp_path, assets, model, **more)
        stage = Detect(DetectOptions(name="things", model=model))
        stage.open(OnnxTools(tmp_path, device="cpu"))
        seen: list[Objects] = []
        for name in names:
            picture = pictures[name]
            view = stage.view(View.of(picture.width, picture.height))
            x, y, width, height = view.content
            canvas = np.full(view.shape, view.pad, np.uint8)
            canvas[y : y + height, x : x + width] = picture.reformat(width, height, "bgr24").to_ndarray()
            (found,) = stage.process([Frame(0, 0, 0.0, view, canvas)], [Objects.none()])
            assert found.added is not None
            seen.append(found.added)
        return seen

    return run
