"""Lines and polygons that the stages of a pipeline look at, to be drawn."""

from __future__ import annotations

from cvpipe.pipeline import PipelineSpec
from cvpipe.shapes import Shape
from cvpipe.stages import SequenceStage


def shapes_of(spec: PipelineSpec, size: tuple[int, int]) -> tuple[Shape, ...]:
    """In the order of the stages. size: width and height of the displayed source frame in pixels."""
    found: list[Shape] = []
    for stage in spec.make_stages():
        if isinstance(stage, SequenceStage):
            stage.size = size
            found += [shape for shape in stage.shapes() if len(shape.points) > 1]
    return tuple(found)
