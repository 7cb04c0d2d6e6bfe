"""What goes outside: which items, and pictures in which nothing can be made out that is to be blurred."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.engine.outgoing import Choice, Item, Picture, distance, with_pictures
from cvpipe.errors import PictureWithheld
from cvpipe.results import FrameRecord, Objects
from cvpipe.stages import make
from cvpipe.stages.external import ExternalOptions
from cvpipe.video import Decoders, VideoIndex
from tests.video.clips import HEIGHT, WIDTH, make_clip, x264

FACE = (40.0, 30.0, 72.0, 62.0)


def draw(number: int, width: int, height: int) -> np.ndarray:
    """Grey, and where the face is a fine black and white pattern, which any blur destroys."""
    image = np.full((height, width, 3), 90 + number, np.uint8)
    x1, y1, x2, y2 = map(int, FACE)
    checks = ((np.indices((y2 - y1, x2 - x1)) // 4).sum(0) % 2 * 255).astype(np.uint8)
    image[y1:y2, x1:x2] = checks[:, :, None]
    return image


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Decoders, Path, VideoIndex]]:
    path = make_clip(tmp_path_factory.mktemp("clip") / "v.mp4", frames=20, draw=draw, options=x264(crf="10"))
    with Decoders() as decoders:
        yield decoders, path, decoders.index(path)


def make_record(frame: int, *, face: bool = True, status: Any = "ok", track: int = 1, **values: Any) -> FrameRecord:
    boxes = [[20 + frame, 10, 100 + frame, 100]] + ([list(FACE)] if face else [])
    objects = Objects.make(
        stage="cars", box=boxes, score=[0.5 + frame / 100, 0.9][: len(boxes)], label=["car", "face"][: len(boxes)],
        track=[track, -1][: len(boxes)],
    )  # fmt: skip
    objects = replace(objects, stage=("cars", "faces")[: len(boxes)])
    return FrameRecord(frame, frame * 512, frame / 25, status, objects, values=values)


def chosen(records: list[FrameRecord], *, gates: tuple[str, ...] = (), **options: Any) -> tuple[Choice, list[Item]]:
    plain = {"url": "https://x.example/", "of": "cars", "answer": {}, "name": "ask"}
    stage: Any = make(ExternalOptions.model_validate({**plain, **options}))
    choice = Choice(stage, gates)
    for record in records:
        choice.add(record)
    return choice, choice.items()


def pictures(
    reading: tuple[Decoders, Path, VideoIndex], choice: Choice, items: list[Item], *, frames_allowed: bool = True,
    **options: Any,
) -> list[tuple[Picture, ...] | PictureWithheld]:  # fmt: skip
    decoders, path, index = reading
    return [
        found
        for _, found in with_pictures(
            items, choice, choice._options, decoders=decoders, path=path, index=index, cv2=cv2,
            frames_allowed=frames_allowed,
        )
    ]  # fmt: skip


def image_of(found: tuple[Picture, ...] | PictureWithheld) -> np.ndarray:
    assert isinstance(found, tuple), found
    return cv2.imdecode(np.frombuffer(found[0].data, np.uint8), cv2.IMREAD_COLOR)


def contrast(image: np.ndarray) -> float:
    """How much neighbouring pixels differ at most: 255 for the pattern, next to nothing once it is blurred."""
    grey = image.astype(np.int16).mean(axis=2)
    return float(np.abs(np.diff(grey, axis=1)).max())


def test_without_a_blur_the_pattern_is_there(reading: Any) -> None:
    choice, items = chosen([make_record(0)], images="crop", format="png")
    assert contrast(image_of(pictures(reading, choice, items)[0])) > 150


@pytest.mark.parametrize("options", [{"images": "crop"}, {"images": "frame", "per": "frame", "of": None}])
def test_nothing_of_what_is_to_be_blurred_is_left(reading: Any, options: dict[str, Any]) -> None:
    choice, items = chosen([make_record(n) for n in range(5)], blur=["faces"], format="png", max_side=4096, **options)
    found = pictures(reading, choice, items)
    assert len(found) == 5
    for some in found:
        assert contrast(image_of(some)) < 60  # the mosaic's mean greys against the ground


def test_a_box_that_is_blurred_is_blurred_beyond_its_edges(reading: Any) -> None:
    choice, items = chosen([make_record(0)], images="frame", per="frame", of=None, blur=["faces"], format="png")
    image = image_of(pictures(reading, choice, items)[0])
    clear = draw(0, WIDTH, HEIGHT)
    changed = np.argwhere(np.abs(image.astype(int) - clear).max(axis=2) > 30)
    assert changed[:, 0].min() <= FACE[1]
    assert changed[:, 0].max() >= FACE[3] - 1


def test_a_frame_that_nobody_looked_at_for_faces_is_not_sent(reading: Any) -> None:
    records = [make_record(0), make_record(1, gate={"skipped": True}), make_record(2)]
    choice, items = chosen(records, images="crop", blur=["faces"], gates=("gate",))
    found = pictures(reading, choice, items)
    assert [type(some) for some in found] == [tuple, PictureWithheld, tuple]
    assert "nobody looked for what is to be blurred on frame 1" in str(found[1])


def test_a_crop_of_more_than_half_of_the_frame_is_a_frame(reading: Any) -> None:
    choice, items = chosen([make_record(0)], images="crop", grow=4)
    (found,) = pictures(reading, choice, items, frames_allowed=False)
    assert isinstance(found, PictureWithheld)
    assert "more than half of the frame" in str(found)


def test_a_picture_is_as_small_as_it_is_wanted(reading: Any) -> None:
    choice, items = chosen([make_record(0)], images="crop", max_side=32)
    assert max(image_of(pictures(reading, choice, items)[0]).shape[:2]) == 32
    choice, items = chosen([make_record(0)], images="frame", per="frame", of=None, format="png", max_image_bytes=1000)
    (found,) = pictures(reading, choice, items)
    assert isinstance(found, PictureWithheld)
    assert "more than `max_image_bytes`" in str(found)


def test_pictures_that_look_alike_have_hashes_that_differ_little(reading: Any) -> None:
    choice, items = chosen([make_record(n) for n in (0, 1, 10)], images="crop")
    hashes = [some[0].hash for some in pictures(reading, choice, items) if isinstance(some, tuple)]
    assert distance(hashes[0], hashes[1]) < distance(hashes[0], hashes[2])
    assert distance("00000000000000ff", "0000000000000000") == 8


def test_only_declared_fields_are_sent() -> None:
    _, items = chosen([make_record(3)], fields=["label", "box", "ocr.text"])
    assert items[0].fields == {"label": "car", "box": [23.0, 10.0, 103.0, 100.0], "ocr.text": None}


def test_a_track_is_asked_about_once_with_its_best_look() -> None:
    records = [make_record(n, track=1 if n < 6 else 2) for n in range(10)]
    _, items = chosen(
        records, per="track", images="crop", max_images=2, fields=["track", "frames", "first_time", "score"]
    )
    assert [item.fields for item in items] == [
        {"track": 1, "frames": 6, "first_time": 0.0, "score": 0.55},
        {"track": 2, "frames": 4, "first_time": 0.24, "score": 0.59},
    ]
    assert [[shot.frame for shot in item.shots] for item in items] == [[4, 5], [8, 9]]


def test_a_job_is_asked_about_with_frames_spread_over_it() -> None:
    records = [make_record(n, status="decode_error" if n == 3 else "ok") for n in range(10)]
    _, items = chosen(records, per="job", of=None, images="frame", max_images=3)
    assert items[0].fields == {"frames": 9, "labels": {"car": 9, "face": 9}, "tracks": 1}
    assert [shot.frame for shot in items[0].shots] == [1, 5, 8]


def test_what_is_chosen_is_every_nth_frame_that_holds_the_condition_and_no_more_than_so_many() -> None:
    records = [make_record(n) for n in range(20)]
    _, items = chosen(records, every=5, max_items=3)
    assert [item.told.frame for item in items] == [0, 5, 10]
    _, items = chosen(records, when="score > 0.65 and label == 'car'")
    assert [item.told.frame for item in items] == [16, 17, 18, 19]
