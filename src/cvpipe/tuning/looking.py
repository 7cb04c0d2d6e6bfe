"""One model on single frames of a video, spread over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cvpipe import stages
from cvpipe.errors import InvalidRequest
from cvpipe.frames import Frame, Image, View
from cvpipe.inference.cards import ModelCard
from cvpipe.pipeline import PipelineSpec, parse_pipeline
from cvpipe.results import FrameRecord
from cvpipe.stages import FrameStage, Tools
from cvpipe.subjects import STAGE_OF_TASK

if TYPE_CHECKING:
    from cvpipe.video import Decoders, VideoIndex

OnStep = Callable[[str, int, int], None]
"""Told what is done now, how much of it is done, and how much there is."""


def pipeline_for(card: ModelCard, *, ref: str | None = None) -> PipelineSpec:
    """The pipeline that runs a model on whole frames. ref: name of the model. Raises: InvalidRequest."""
    kind = STAGE_OF_TASK.get(card.task, "")
    if kind not in stages.discover() or kind == "read_text":
        raise InvalidRequest(
            f"models for {card.task} don't look at whole frames by themselves: {card.ref} can't be tuned or quantised",
            field="model",
        )
    return parse_pipeline({"name": "tune", "stages": [{"type": kind, "model": ref or card.ref}]})


def spread(index: VideoIndex, count: int, *, offset: float) -> npt.NDArray[np.int64]:
    """Numbers of at most `count` frames, evenly over the video; offset: 0 to 1, how far between two of them."""
    places = (np.arange(count) + offset) * len(index) / count
    return np.unique(np.minimum(places.astype(np.int64), len(index) - 1))


def pictures(
    decoders: Decoders, video: Path, index: VideoIndex, numbers: npt.NDArray[np.int64], view: View
) -> Iterator[tuple[int, Image]]:
    """Number and picture of each of these frames that is whole; a picture is valid until the next is asked for."""
    with decoders.read(video, index, numbers, [view]) as frames:
        for frame in frames:
            if frame.images is not None:
                yield frame.number, frame.images[0]
            frame.release()


def records_of(
    card: ModelCard, tools: Tools, *, decoders: Decoders, video: Path, index: VideoIndex, numbers: npt.NDArray[np.int64]
) -> list[FrameRecord]:
    """What the model finds on these frames. Raises: InvalidRequest, InvalidModel, VideoError."""
    (stage,) = pipeline_for(card).make_stages()
    assert isinstance(stage, FrameStage)
    stage.open(tools)
    view = stage.view(View.of(index.facts.display_width, index.facts.display_height))
    records = []
    for number, image in pictures(decoders, video, index, numbers, view):
        record = FrameRecord(number, 0, float(index.times[number]))
        (found,) = stage.process([Frame(number, 0, record.time, view, image)], [record.objects])
        records.append(record.with_found(found))
    return records


def input_view(network: Any, index: VideoIndex) -> View:
    """The view that a network wants of a video's frames."""
    view: View = network.input_view(View.of(index.facts.display_width, index.facts.display_height))
    return view
