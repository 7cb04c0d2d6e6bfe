"""`tiles`: where they lie, how results are merged, and what a real network finds through them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cvpipe.errors import InvalidRequest
from cvpipe.frames import Frame, View
from cvpipe.inference import OnnxTools
from cvpipe.lens import Lens
from cvpipe.results import Found, Objects
from cvpipe.rle import Mask
from cvpipe.stages.detect import Detect, DetectOptions
from cvpipe.stages.tiles import Tiles, TilesOptions
from cvpipe.video import Decoders
from tests.modelcards import write_yolox_card

SOURCE = View.of(1920, 1080)


def make_tiles(**options: Any) -> Tiles:
    return Tiles(TilesOptions(name="parts", **options))


def corners(views: tuple[View, ...]) -> list[tuple[int, int]]:
    return [view.region[:2] for view in views]


@pytest.mark.parametrize(
    ("options", "at", "size"),
    [
        pytest.param(
            {"width": 640, "height": 640, "overlap": 0.2},
            [(x, y) for y in (0, 440) for x in (0, 512, 1024, 1280)],
            (640, 640),
            id="by size",
        ),
        pytest.param(
            {"columns": 2, "rows": 2, "overlap": 0}, [(0, 0), (960, 0), (0, 540), (960, 540)], (960, 540), id="quarters"
        ),
        pytest.param(
            {"columns": 3, "rows": 1, "overlap": 0.25}, [(0, 0), (576, 0), (1152, 0)], (768, 1080), id="by count"
        ),
        pytest.param({"width": 4000, "height": 4000}, [(0, 0)], (1920, 1080), id="larger than the frame"),
        pytest.param({"width": 1920, "height": 600, "overlap": 0.1}, [(0, 0), (0, 480)], (1920, 600), id="strips"),
    ],
)
def test_tiles_cover_the_frame_and_end_at_its_edge(options: Any, at: Any, size: tuple[int, int]) -> None:
    views = make_tiles(**options).tiles(SOURCE)
    assert corners(views) == at
    assert {view.region[2:] for view in views} == {size}
    shown = np.zeros((1080, 1920), bool)
    for view in views:
        x, y, width, height = view.region
        shown[y : y + height, x : x + width] = True
        assert (view.width, view.height) == size
        assert view.to_source(np.array([0.0, 0.0])).tolist() == [x, y]
    assert shown.all()


def test_tiles_of_a_crop_lie_in_it_and_keep_its_scale() -> None:
    views = make_tiles(columns=2, rows=1, overlap=0).tiles(SOURCE.cropped(200, 100, 800, 600).resized(400, 300))
    assert [view.region for view in views] == [(200, 100, 400, 600), (600, 100, 400, 600)]
    assert {(view.width, view.height) for view in views} == {(200, 300)}


def test_too_many_tiles_are_refused_for_the_video() -> None:
    with pytest.raises(InvalidRequest, match="3108 tiles of 32x32 for 1920x1080 pixels are more than 256") as caught:
        make_tiles(width=32, height=32, overlap=0.2).tiles(SOURCE)
    assert caught.value.field == "parts"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"width": 640},
        {"columns": 2},
        {"width": 64, "height": 64, "columns": 2, "rows": 2},
        {"columns": 0, "rows": 1},
    ],
)
def test_tiles_are_told_by_size_or_by_count(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TilesOptions(**options)


def found(*rows: tuple[list[float], float, str], **more: Any) -> Found:
    box, score, label = ([row[n] for row in rows] for n in range(3))
    return Found(added=Objects.make(stage="cars", box=np.reshape(box, (-1, 4)), score=score, label=label, **more))


def merged(tiles: Tiles, *parts: Found) -> list[tuple[list[float], float, str]]:
    added = tiles.merge(parts).added
    assert added is not None
    return [(row["box"], row["score"], row["label"]) for row in added.to_dicts()]


@pytest.fixture
def two() -> Tiles:
    """Two tiles of 1000x1000, of a frame of 1800x1000: the first ends at 1000, the second begins at 800."""
    tiles = make_tiles(width=1000, height=1000, overlap=0.2)
    assert corners(tiles.tiles(View.of(1800, 1000))) == [(0, 0), (800, 0)]
    return tiles


def test_an_object_seen_twice_is_one_with_the_better_score(two: Tiles) -> None:
    box = [850.0, 100.0, 950.0, 200.0]
    near = [852.0, 101.0, 951.0, 203.0]
    assert merged(two, found((box, 0.8, "car")), found((near, 0.9, "car"))) == [(near, 0.9, "car")]


def test_an_object_cut_by_a_tile_is_the_whole_one_or_grows_together(two: Tiles) -> None:
    cut, whole = [850.0, 100.0, 1000.0, 200.0], [850.0, 100.0, 1100.0, 200.0]
    assert merged(two, found((cut, 0.6, "car")), found((whole, 0.9, "car"))) == [(whole, 0.9, "car")]
    assert merged(two, found((cut, 0.9, "car")), found((whole, 0.6, "car"))) == [(whole, 0.9, "car")]
    left, right = [500.0, 100.0, 1000.0, 200.0], [800.0, 100.0, 1100.0, 200.0]
    assert merged(two, found((left, 0.7, "car")), found((right, 0.6, "car"))) == [([500, 100, 1100, 200], 0.7, "car")]


def test_neighbours_of_other_labels_or_of_one_tile_stay_apart(two: Tiles) -> None:
    box = [850.0, 100.0, 950.0, 200.0]
    inside = [860.0, 110.0, 940.0, 190.0]
    apart = [(box, 0.9, "car"), (inside, 0.8, "dog")]
    assert merged(two, found(apart[0]), found(apart[1])) == apart
    same = [(box, 0.9, "car"), (inside, 0.8, "car")]
    assert merged(two, found(*same), found()) == same
    assert merged(two, found(*same), found(*same)) == same
    few = [(box, 0.9, "car"), ([930.0, 100.0, 990.0, 200.0], 0.8, "car")]
    assert merged(two, found(few[0]), found(few[1])) == few


def test_text_and_track_go_along(two: Tiles) -> None:
    box = [850.0, 100.0, 950.0, 200.0]
    (one,) = [two.merge([found((box, 0.9, "car")), found((box, 0.8, "car"), text=["BV 3975"], track=[7])]).added]
    assert one is not None
    assert (one.text, one.track.tolist(), one.score.tolist()) == (("BV 3975",), [7], [pytest.approx(0.9)])


def test_values_become_a_list_in_the_order_of_tiles(two: Tiles) -> None:
    both = two.merge([Found(values={"edges": 0.1}), Found(values={"edges": 0.3, "more": 1})])
    assert both.values == {"edges": [0.1, 0.3], "more": [None, 1]}
    assert (both.added, both.objects, both.skip) == (None, None, False)
    assert two.merge([Found(skip=True), Found(skip=True)]).skip
    assert not two.merge([Found(skip=True), Found()]).skip


def test_earlier_objects_are_taken_from_the_tile_that_shows_them(two: Tiles) -> None:
    plates = Objects.make(
        stage="plates",
        box=[[100, 100, 200, 150], [1500, 100, 1600, 150], [790, 300, 890, 350], [500, 500, 600, 550]],
        score=[0.9] * 4,
        label=["plate"] * 4,
    )
    first = replace(plates, text=("left", None, "whole", None))
    second = replace(plates, text=(None, "right", "ole", None))
    objects = two.merge([Found(objects=first), Found(objects=second)]).objects
    assert objects is not None
    assert objects.text == ("left", "right", "whole", None)
    assert objects.box.tolist() == plates.box.tolist()


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, m) of boxes (n, 4) and (m, 4)."""
    low, high = np.maximum(one[:, None, :2], other[:, :2]), np.minimum(one[:, None, 2:], other[:, 2:])
    both = np.maximum(high - low, 0).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (one, other)]
    return np.asarray(both / (areas[0][:, None] + areas[1] - both))


SMALL_LENS = Lens(fx=700, fy=700, cx=383.5, cy=215.5, coefficients=(-0.05, 0.01, 0, 0, 0))


@pytest.fixture(scope="module")
def people(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Objects]]:
    """People on the same frames of a real video, through several views, as yolox-nano finds them."""
    models = tmp_path_factory.mktemp("models")
    write_yolox_card(models, assets)
    stage = Detect(DetectOptions(name="people", model="yolox-nano", classes=["person"], score=0.5))
    stage.open(OnnxTools(models, device="cpu"))
    path = assets / "videos" / "one-by-one-person-detection.mp4"
    tiles = make_tiles(columns=2, rows=1, overlap=0.5)
    numbers = np.arange(150, 1200, 150)
    with Decoders() as decoders:
        index = decoders.index(path)
        whole = View.of(index.facts.display_width, index.facts.display_height)
        width, height = whole.source
        ways = {
            "whole": (whole,),
            "crop": (whole.cropped(width // 12 | 1, 1, width * 5 // 6, height - 1),),
            "lens": (replace(whole, lens=SMALL_LENS),),
            "tiles": tiles.tiles(whole),
        }
        views = {name: tuple(stage.view(view) for view in several) for name, several in ways.items()}
        wanted = [view for several in views.values() for view in several]
        results: dict[str, list[Objects]] = {name: [] for name in ways}
        with decoders.read(path, index, numbers[numbers < len(index)], wanted) as frames:
            for frame in frames:
                assert frame.images is not None
                images = dict(zip(wanted, frame.images, strict=True))
                for name, several in views.items():
                    parts = [
                        stage.process([Frame(frame.number, 0, 0.0, view, images[view])], [Objects.none()])[0]
                        for view in several
                    ]
                    one = tiles.merge(parts) if name == "tiles" else parts[0]
                    assert one.added is not None
                    results[name].append(one.added)
                frame.release()
    return results


@pytest.mark.parametrize(("way", "at_least"), [("crop", 0.9), ("lens", 0.95), ("tiles", 0.9)])
def test_a_real_network_finds_the_same_people_in_source_pixels(
    people: dict[str, list[Objects]], way: str, at_least: float
) -> None:
    shares = []
    for whole, other in zip(people["whole"], people[way], strict=True):
        sure = whole.where(whole.score > 0.7)
        if len(sure):
            assert len(other), "nobody was found"
            shares += iou(sure.box, other.box).max(axis=1).tolist()
            assert len(other) <= len(whole) + 1
    assert len(shares) >= 3
    assert min(shares) > at_least, shares


def test_what_tiles_know_of_one_object_is_put_together() -> None:
    tiler = make_tiles(columns=2, rows=1, overlap=0.2, merge=0.3)
    tiler.tiles(View.of(200, 100))  # the first ends at 112, the second begins at 88

    def half(x1: int, x2: int, score: float, points: list[list[float]], **more: Any) -> Found:
        pixels = np.zeros((100, 200), bool)
        pixels[20:80, x1:x2] = True
        return Found(
            added=Objects.make(
                stage="s", box=[[x1, 20, x2, 80]], score=[score], label=["x"],
                keypoints=[points], mask=[Mask.of(pixels)], **more,
            )
        )  # fmt: skip

    left = half(60, 111, 0.9, [[70, 30, 0.8], [110, 30, 0.1]], values=[{"a": 1}])
    right = half(89, 140, 0.7, [[90, 30, 0.2], [130, 30, 0.7]], values=[{"a": 2, "b": 3}])
    merged = tiler.merge([left, right]).added
    assert merged is not None
    (row,) = merged.to_dicts()
    assert row["box"] == [60, 20, 140, 80]
    assert row["keypoints"] == [[70, 30, 0.8], [130, 30, 0.7]]
    assert row["values"] == {"a": 1, "b": 3}
    assert Mask.from_dict(row["mask"]).area == 80 * 60


def test_what_only_one_tile_knows_is_kept() -> None:
    tiler = make_tiles(columns=2, rows=1)
    box = [[90, 20, 110, 80]]
    plain = Found(added=Objects.make(stage="s", box=box, score=[0.9], label=["x"]))
    rich = Found(
        added=Objects.make(
            stage="s", box=box, score=[0.8], label=["x"], keypoints=[[[95, 30, 0.5]]],
            mask=[Mask.of(np.ones((2, 2), bool))], values=[{"a": 1}],
        )
    )  # fmt: skip
    for parts in ([plain, rich], [rich, plain]):
        merged = tiler.merge(parts).added
        assert merged is not None
        (row,) = merged.to_dicts()
        assert (row["keypoints"], row["mask"]["size"], row["values"]) == ([[95, 30, 0.5]], [2, 2], {"a": 1})
