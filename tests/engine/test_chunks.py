"""Chunks of a local run: the last ones are shorter, and nothing is lost or looked at twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cvpipe.engine.chunks import Chunk, frames_of, plan_chunks, with_short_end
from tests.test_pipeline import make_index


@pytest.mark.parametrize(
    ("frames", "every", "threads", "expected"),
    [
        (400, 1, 2, [100, 100, 65, 45, 30, 20, 15, 10, 15]),
        (400, 1, 1, [100, 100, 100, 100]),
        (150, 1, 2, [50, 35, 20, 15, 10, 10, 10]),
        (100, 1, 4, [15, 15, 10, 10, 10, 10, 10, 10, 10]),
        (60, 1, 2, [20, 15, 10, 15]),
        (14, 1, 2, [14]),
        (400, 10, 2, [100, 100, 75, 116]),
    ],
    ids=["four chunks", "one thread", "two chunks", "one chunk", "a short one", "too short", "few frames wanted"],
)
def test_the_last_chunks_are_cut_at_keyframes_for_threads_to_end_together(
    frames: int, every: int, threads: int, expected: list[int]
) -> None:
    index = make_index(np.arange(frames) / 10)
    numbers = np.arange(0, frames, every)
    chunks = with_short_end(index, plan_chunks(index, numbers, 10), numbers, threads=threads)
    assert [chunk.stop - chunk.first for chunk in chunks] == expected
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert np.array_equal(np.concatenate([frames_of(chunk, numbers) for chunk in chunks]), numbers)


def test_a_chunk_without_a_keyframe_inside_stays_whole() -> None:
    index = replace(make_index(np.arange(100) / 10), keyframe=np.arange(100) == 0)
    assert with_short_end(index, [Chunk(0, 0, 100)], np.arange(100), threads=2) == [Chunk(0, 0, 100)]
