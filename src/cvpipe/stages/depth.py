"""`depth`: how far away things are, by one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.crops import Crop
from cvpipe.frames import Frame
from cvpipe.models import MapFamily, Outputs
from cvpipe.results import Found, Objects
from cvpipe.stages import NetworkStage, StageOptions, Tools
from cvpipe.subjects import ModelRef, Subjects, family_for


class DepthOptions(StageOptions):
    """Options of `depth`."""

    type: Literal["depth"] = "depth"
    model: ModelRef
    of: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Name of an earlier stage: add the median in its box to each of its objects. The network sees the "
        "whole frame in any case.",
    )


class Depth(NetworkStage[DepthOptions]):
    """Estimate depth: its least, median and greatest value on a frame, and the median in each box of another stage."""

    Options = DepthOptions
    sees_crops = False
    example = """
    - {type: detect, name: people, model: yolox-nano, classes: [person]}
    - {type: depth, of: people, model: ground-depth}
    """

    _family: MapFamily

    def open(self, tools: Tools) -> None:
        """Load the network. Raises: NotFound, InvalidModel, InvalidPipeline where the model is for another task."""
        network = tools.network(self.options.model)
        self._family = family_for(network, MapFamily, tasks=("depth",), stage=self.name)
        self._subjects = Subjects(network, tools.cv2, self.name)

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """The value `{"min", "median", "max", "unit"}` of each frame; with `of` also `{"median"}` of each object."""
        results = []
        for (crop, grid), objects in zip(self._subjects.frames(frames, self._read), found, strict=True):
            x, y, width, height = crop.content
            value = _summary(_part(crop, grid, np.array([x, y, x + width, y + height])))
            changed = None
            if self.options.of is not None:
                changed = objects.with_values(self.name, self._medians(crop, grid, objects, self.options.of))
            results.append(Found(values={self.name: {**value, "unit": self._unit}}, objects=changed))
        return results

    @property
    def _unit(self) -> str | None:
        return "metre" if self._subjects.network.card.options.get("metric") else None

    def _read(self, outputs: Sequence[Outputs], crops: Sequence[Crop]) -> list[tuple[Crop, npt.NDArray[Any]]]:
        grids = self._family.decode(outputs, (crops[0].width, crops[0].height), self._subjects.network.card)
        return list(zip(crops, grids, strict=True))

    @staticmethod
    def _medians(crop: Crop, grid: npt.NDArray[Any], objects: Objects, of: str) -> dict[int, Any]:
        places = np.flatnonzero(objects.of_stage(of)).tolist()
        boxes = crop.from_source(objects.box[places])
        return {
            place: {"median": _summary(_part(crop, grid, box))["median"]}
            for place, box in zip(places, boxes, strict=True)
        }


def _part(crop: Crop, grid: npt.NDArray[Any], box: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The cells of a grid over the canvas whose middles a box, (4,) on the canvas, covers; one at least."""
    rows, columns = grid.shape
    scale = np.array((columns / crop.width, rows / crop.height) * 2)
    x1, y1, x2, y2 = np.round(np.asarray(box, np.float64) * scale).astype(int).tolist()
    x1, y1 = min(max(x1, 0), columns - 1), min(max(y1, 0), rows - 1)
    return grid[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]


def _summary(values: npt.NDArray[Any]) -> dict[str, float | None]:
    """To 6 digits; null where the network says nothing finite."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"min": None, "median": None, "max": None}
    numbers = (finite.min(), np.median(finite), finite.max())
    return {name: float(f"{value:.6g}") for name, value in zip(("min", "median", "max"), numbers, strict=True)}
