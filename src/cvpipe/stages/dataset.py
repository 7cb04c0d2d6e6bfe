"""`dataset`: sampled frames with what was found on them, as a data set to correct and train on: COCO and YOLO files."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from cvpipe.results import FrameRecord, Objects
from cvpipe.rle import Mask
from cvpipe.stages import Footage, JobStage, StageOptions

_SLACK = 1e-9
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same data are the same file


class DatasetOptions(StageOptions):
    """Options of `dataset`."""

    type: Literal["dataset"] = "dataset"
    of: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Names of the stages whose objects are labels. Default: all.",
    )
    every_seconds: float = Field(
        default=1.0,
        gt=0,
        le=86400,
        description="The first frame that was looked at in each span of so many seconds, counted from the beginning of "
        "the video.",
    )
    min_score: float = Field(default=0.0, ge=0, le=1, description="Objects of a lower score are left out.")
    empty: bool = Field(default=True, description="Frames without objects are kept, as examples of nothing.")
    max_images: int = Field(default=10_000, ge=1, le=1_000_000, description="Evenly thinned out to so many, at most.")


class Dataset(JobStage[DatasetOptions]):
    """Make a data set of sampled frames and what was found on them, as one ZIP file.

    In it: `images/NNNNNN.jpg` (numbers of source frames), `annotations.json` (COCO: boxes, and where there are, masks,
    keypoints, tracks), `labels/NNNNNN.txt` and `data.yaml` (YOLO).
    """

    Options = DatasetOptions
    example = """
    - {type: detect, model: yolox-nano}
    - {type: dataset, every_seconds: 2}
    """

    def references(self) -> tuple[str, ...]:
        """The stages whose objects are labels."""
        return tuple(self.options.of or ())

    def files(self) -> tuple[str, ...]:
        """The ZIP file; with the stage's name in its own where it has one."""
        return ("dataset.zip" if self.name in ("", self.options.type) else f"dataset-{self.name}.zip",)

    def make(self, footage: Footage, folder: Path) -> None:
        """Write the file: first the pictures, to a folder that is taken away at the end."""
        target = folder / self.files()[0]
        pictures = folder / f"{target.name}.pictures"
        numbers = _thinned([record.frame for record in self._sampled(footage)], self.options.max_images)
        footage.write_pictures(pictures, np.array(numbers, np.int64))
        wanted = set(numbers)
        there = [
            record for record in self._sampled(footage)
            if record.frame in wanted and (pictures / _picture(record.frame)).exists()
        ]  # fmt: skip
        part = target.with_name(f".{target.name}.part")
        try:
            _write(part, pictures, there, footage.size)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        shutil.rmtree(pictures)

    def _sampled(self, footage: Footage) -> Iterator[FrameRecord]:
        """The records of the frames that are in it, with the objects that are labels."""
        last = -1
        for record in footage.records():
            span = math.floor(record.time / self.options.every_seconds + _SLACK)
            if record.status != "ok" or span == last:
                continue
            last = span
            objects = self._labels(record.objects)
            if len(objects) or self.options.empty:
                yield FrameRecord(record.frame, record.pts, record.time, objects=objects)

    def _labels(self, objects: Objects) -> Objects:
        of = self.options.of
        names = np.array([of is None or stage in of for stage in objects.stage], bool)
        return objects.where(names & (objects.score >= self.options.min_score) & ~objects.filled)


def _thinned(numbers: Sequence[int], most: int) -> list[int]:
    """Evenly chosen ones, at most so many."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[place] for place in np.linspace(0, len(numbers) - 1, most).round().astype(int).tolist()]


def _picture(frame: int) -> str:
    return f"{frame:06d}.jpg"


def _write(path: Path, pictures: Path, records: Sequence[FrameRecord], size: tuple[int, int]) -> None:
    names = sorted({label for record in records for label in record.objects.label})
    places = {name: place for place, name in enumerate(names)}
    with zipfile.ZipFile(path, "w") as file:

        def add(name: str, content: str | bytes, *, packed: bool = True) -> None:
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            file.writestr(info, content)

        add("annotations.json", json.dumps(_coco(records, places, size), ensure_ascii=False) + "\n")
        lines = "".join(f"  {place}: {json.dumps(name, ensure_ascii=False)}\n" for name, place in places.items())
        add("data.yaml", f"path: .\ntrain: images\nval: images\nnames:{' {}' if not names else ''}\n{lines}")
        for record in records:
            add(f"labels/{record.frame:06d}.txt", _yolo(record.objects, places, size))
            name = _picture(record.frame)
            add(f"images/{name}", (pictures / name).read_bytes(), packed=False)


def _coco(records: Sequence[FrameRecord], places: dict[str, int], size: tuple[int, int]) -> dict[str, Any]:
    """As COCO's object detection files: ids of images are frame numbers, of categories places from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        images.append(
            {
                "id": record.frame,
                "file_name": f"images/{_picture(record.frame)}",
                "width": size[0],
                "height": size[1],
                "time": record.time,
            }
        )
        for found in record.objects.to_dicts():
            x1, y1, x2, y2 = found["box"]
            row: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": record.frame,
                "category_id": places[found["label"]] + 1,
                "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                "area": round((x2 - x1) * (y2 - y1), 2),
                "iscrowd": 0,
                "score": found["score"],
            }
            if found["track"] is not None:
                row["track_id"] = found["track"]
            if found.get("mask") is not None:
                row["segmentation"] = found["mask"]
                row["area"] = int(np.count_nonzero(Mask.from_dict(found["mask"]).pixels()))
            if found.get("keypoints") is not None:
                points = found["keypoints"]
                row["keypoints"] = [v for x, y, score in points for v in (x, y, 2 if score > 0 else 0)]
                row["num_keypoints"] = sum(score > 0 for _, _, score in points)
            annotations.append(row)
    categories = [{"id": place + 1, "name": name} for name, place in places.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _yolo(objects: Objects, places: dict[str, int], size: tuple[int, int]) -> str:
    """A line for each object: class, and x and y of the middle, width and height, as shares of the picture."""
    lines = []
    for label, (x1, y1, x2, y2) in zip(objects.label, objects.box.astype(np.float64).tolist(), strict=True):
        numbers = ((x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1], (x2 - x1) / size[0], (y2 - y1) / size[1])
        lines.append(" ".join([str(places[label]), *(f"{number:.6f}" for number in numbers)]) + "\n")
    return "".join(lines)
