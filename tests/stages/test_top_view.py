from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from cvpipe.errors import InvalidPipeline
from cvpipe.geometry.pitches import pitch
from cvpipe.pipeline import parse_pipeline
from cvpipe.plots import Plot, colour_of
from cvpipe.results import FrameRecord, Objects
from cvpipe.stages.top_view import Film, draw

SVG = "{http://www.w3.org/2000/svg}"


def make_record(frame: int, places: dict[int, tuple[float, float]]) -> FrameRecord:
    values = [
        {"to_world": {"position": list(at), "deviation": [1.0, 0.5], "correlation": 0.0}} for at in places.values()
    ]
    n = len(places)
    objects = Objects.make(
        stage="people", box=[[0, 0, 1, 1]] * n, score=[1] * n, label=["p"] * n, track=list(places), values=values
    )
    return FrameRecord(frame, frame, frame / 10, objects=objects)


def lines(plot: Plot) -> list[str]:
    return [line.get("points", "") for line in ET.fromstring(plot.to_svg()).iter(SVG + "polyline")]


def test_a_way_is_drawn_where_it_went_with_y_up() -> None:
    field = pitch("football")
    plot = draw([make_record(n, {4: (-52.5 + n, -34)}) for n in range(106)], "to_world", field=field, width=1155)
    drawn = lines(plot)
    assert "52.5,732.5 1102.5,732.5" in drawn  # the near touchline, 10 pixels a metre, at the bottom
    way = drawn[-2]  # the last one is the ellipse
    assert way.startswith("52.5,732.5 ")
    assert way.endswith(" 1102.5,732.5")
    ellipse = [tuple(map(float, point.split(","))) for point in drawn[-1].split()]
    assert max(x for x, _ in ellipse) - min(x for x, _ in ellipse) == pytest.approx(40)  # two deviations each way
    assert max(y for _, y in ellipse) - min(y for _, y in ellipse) == pytest.approx(20)


def test_only_the_last_seconds_of_a_way_are_drawn_on_request() -> None:
    records = [make_record(n, {4: (n - 50.0, 0)}) for n in range(100)]
    plot = draw(records, "to_world", field=pitch("football"), width=1155, trail_seconds=1)
    assert lines(plot)[-2].split()[0] == f"{577.5 + 10 * 39:.1f},392.5"


def test_without_a_pitch_there_is_a_grid_around_what_was_seen() -> None:
    plot = draw([make_record(n, {1: (100 + n, 7), 2: (100, 60)}) for n in range(80)], "to_world", field=None, width=800)
    assert (plot.width, plot.height) == (800, 561)
    upright = sorted({float(p.split()[0].split(",")[0]) for p in lines(plot) if p.endswith(",561.0")})
    assert [b - a for a, b in pairwise(upright)] == pytest.approx([184] * (len(upright) - 1), abs=1)


@pytest.mark.parametrize(("metres", "told", "long"), [(79, 20, 184), (1500, 500, 242), (1, 1, 364)], ids=str)
def test_a_bar_says_how_long_a_side_of_the_grid_is(metres: float, told: int, long: float) -> None:
    places = [{1: (0.0, 0.0)}, {1: (metres, 0.0)}]
    plot = draw([make_record(n, at) for n, at in enumerate(places)], "to_world", field=None, width=800)
    (bar,) = (line.split() for line in lines(plot) if len(line.split()) == 4)
    left, right = (float(point.split(",")[0]) for point in bar[1:3])
    assert right - left == pytest.approx(long, abs=1)
    assert f"{told} m" in [text.text for text in ET.fromstring(plot.to_svg()).iter(SVG + "text")]
    without = draw([make_record(0, {})], "to_world", field=pitch("tennis"), width=800)
    assert " m<" not in without.to_svg()


def coloured(image: np.ndarray, track: int) -> tuple[float, float, int]:
    """x and y of the middle of what has a track's colour, and how many pixels that are."""
    rows, columns = np.nonzero((image == colour_of(track)).all(axis=2))
    return float(columns.mean() + 0.5), float(rows.mean() + 0.5), len(rows)


@pytest.mark.parametrize(
    ("size", "middle", "scale"),
    [((1155, 785), (577.5, 392.5), 10), ((1155, 471), (577.5, 235.5), 6), ((462, 785), (231, 392.5), 4)],
    ids=["as it is", "wide", "high"],
)
def test_a_film_shows_where_each_track_is_by_then(
    size: tuple[int, int], middle: tuple[float, float], scale: float
) -> None:
    records = [make_record(n, {4: (n / 2 - 20, 10.0)} | ({7: (0.0, -5.0)} if n < 20 else {})) for n in range(50)]
    film = Film.of(records, "to_world", field=pitch("football"), size=size, trail_seconds=0)
    early, late = film.at(1.0), film.at(4.0)
    assert early.shape == (size[1], size[0], 3)
    for image, x in ((early, -15.0), (late, 0.0)):
        across, down, count = coloured(image, 4)
        assert (across, down) == pytest.approx((middle[0] + scale * x, middle[1] - scale * 10), abs=1)
        assert count > 10
    across, down, _ = coloured(early, 7)
    assert (across, down) == pytest.approx((middle[0], middle[1] + scale * 5), abs=1)
    assert not (late == colour_of(7)).all(axis=2).any()  # unseen since 1.9 s
    assert (film.at(20.0) == film.ground).all()


def test_a_film_draws_the_way_up_to_now() -> None:
    records = [make_record(n, {4: (n - 25.0, 0.0)}) for n in range(50)]
    film = Film.of(records, "to_world", field=pitch("football"), size=(1155, 785))
    image = film.at(2.5)
    row = image[392].astype(int)
    drawn = np.flatnonzero(np.abs(row - colour_of(4)).max(axis=1) < 60)
    assert (drawn.min(), drawn.max()) == pytest.approx((577.5 - 250, 577.5 + 6), abs=4)


def test_nothing_seen_is_an_empty_pitch() -> None:
    plot = draw([make_record(0, {})], "to_world", field=pitch("tennis"), width=500)
    assert "circle" not in plot.to_svg()
    assert plot.to_png().startswith(b"\x89PNG")


@pytest.mark.parametrize("stages", [[{"type": "edges"}], [{"type": "edges", "name": "to_world"}]])
def test_it_needs_a_stage_that_places_objects(stages: list[Any]) -> None:
    with pytest.raises(InvalidPipeline, match=r"\(top_view\): draws places of 'to_world', which is no earlier stage"):
        parse_pipeline({"name": "x", "stages": [*stages, {"type": "top_view"}]})
