"""Frames that are looked at together: how many, and that nothing depends on it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cvpipe.engine import FramesRunner
from cvpipe.engine import frames as engine_frames
from cvpipe.inference import OnnxTools
from cvpipe.pipeline import parse_pipeline, plan_segments, select_frames
from cvpipe.video import Decoded, Decoders
from tests.modelcards import write_yolox_card

STAGES = [{"type": "detect", "name": "people", "model": "yolox-nano"}, {"type": "edges"}]


@pytest.mark.parametrize(
    ("seconds_a_frame", "least", "most", "expected"),
    [
        (0.01, 1, 8, [1, 2, 4, 8, 8, 1]),
        (0.03, 1, 8, [1, 2, 4, 4, 4, 4, 4, 1]),
        (0.5, 1, 8, [1] * 24),
        (0.5, 16, 16, [16, 8]),
    ],
    ids=["a fast network", "a slower one", "a slow one", "batches of a device"],
)
def test_more_frames_come_together_while_that_takes_no_time_to_speak_of(
    monkeypatch: pytest.MonkeyPatch, seconds_a_frame: float, least: int, most: int, expected: list[int]
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(engine_frames, "time", SimpleNamespace(monotonic=lambda: clock.now))
    sizes = []
    for group in engine_frames._groups((Decoded(n, ()) for n in range(24)), least, most):
        sizes.append(len(group))
        clock.now += len(group) * seconds_a_frame
    assert sizes == expected


def test_records_do_not_depend_on_how_many_frames_are_looked_at_together(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_yolox_card(tmp_path / "models", assets)
    spec = parse_pipeline({"name": "p", "stages": STAGES})
    (segment,) = plan_segments(spec)
    runner = FramesRunner(spec, segment, OnnxTools(tmp_path / "models", "cpu"))
    video = assets / "videos" / "one-by-one-person-detection.mp4"
    sizes: list[int] = []
    see = engine_frames.Post.see

    def noting(post: engine_frames.Post, looks: list, places: dict) -> None:
        sizes.append(len(looks))
        see(post, looks, places)

    monkeypatch.setattr(engine_frames.Post, "see", noting)
    lines = []
    with Decoders() as decoders:
        index = decoders.index(video)
        selection = select_frames(spec, index)
        for seconds in (0.0, 1000.0):
            monkeypatch.setattr(engine_frames, "_GROUP_SECONDS", seconds)
            found = runner.run(decoders, video, index, selection, np.arange(410, 425))
            lines.append([record.to_json() for record in found])
    assert set(sizes[:30]) == {1}
    assert max(sizes[30:]) == 8
    assert len(lines[0]) == 15
    assert '"label":"person"' in "".join(lines[0])
    assert lines[0] == lines[1]
