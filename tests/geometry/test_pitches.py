from __future__ import annotations

import math

import pytest

from cvpipe.geometry.pitches import KINDS, pitch


def test_a_football_pitch_has_the_measures_of_the_laws_of_the_game() -> None:
    field = pitch("football")
    assert (field.length, field.width) == (105, 68)
    assert field.lines["left-penalty-area-front"] == ((-36.0, -20.16), (-36.0, 20.16))
    assert field.lines["right-goal-area-near"] == ((52.5, -9.16), (47.0, -9.16))
    assert field.spots["right-penalty-spot"] == (41.5, 0)
    assert field.spots["centre-circle-far"] == (0, 9.15)
    assert field.crossing("left-goal-line", "far-touchline") == pytest.approx((-52.5, 34))
    arc = field.arcs[1].points()  # meets the front of the penalty area
    assert arc[0] == pytest.approx((-36.0, -math.sqrt(9.15**2 - 5.5**2)))


def test_a_football_pitch_may_have_another_size() -> None:
    assert pitch("football", 100.0, 64.0).lines["near-touchline"] == ((-50, -32), (50, -32))
    with pytest.raises(ValueError, match="a width from 45 to 90 m, not 30"):
        pitch("football", None, 30.0)


def test_a_basketball_court_has_fiba_s_measures() -> None:
    court = pitch("basketball")
    assert (court.length, court.width) == (28, 15)
    assert court.lines["left-restricted-area-front"] == ((-8.2, -2.45), (-8.2, 2.45))
    assert court.spots["right-basket"] == (12.425, 0)
    three, (straight, *_) = court.arcs[1], court.edges
    assert straight[0] == (-14.0, -6.6)  # 0.9 m from the side line
    assert three.points()[0] == pytest.approx(straight[1])
    assert max(x for x, _ in three.points(49)) == pytest.approx(-12.425 + 6.75)


def test_an_nba_court_is_94_by_50_feet() -> None:
    court = pitch("basketball-nba")
    assert (court.length, court.width) == pytest.approx((28.6512, 15.24))


def test_a_tennis_court_has_the_itf_s_measures() -> None:
    court = pitch("tennis")
    assert court.crossing("left-baseline", "near-singles-sideline") == pytest.approx((-11.885, -4.115))
    assert court.crossing("right-service-line", "centre-service-line") == pytest.approx((6.4, 0))
    assert court.width == 10.97


def test_an_ice_rink_has_the_iihf_s_measures() -> None:
    rink = pitch("ice-hockey")
    assert (rink.length, rink.width) == (60, 30)
    assert rink.lines["left-goal-line"][0][0] == -26
    assert rink.lines["right-blue-line"][0][0] == pytest.approx(7.14)
    assert rink.spots["left-far-face-off-spot"] == (-20, 7)
    assert rink.spots["right-near-neutral-spot"] == pytest.approx((5.64, -7))
    # The goal line ends on the round corner.
    x, y = rink.lines["right-goal-line"][1]
    assert math.hypot(x - (30 - 8.5), y - (15 - 8.5)) == pytest.approx(8.5)
    assert pitch("ice-hockey-nhl").lines["left-blue-line"][0][0] == pytest.approx(-25 * 0.3048)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pitch_is_the_same_from_both_ends(kind: str) -> None:
    field = pitch(kind)
    for name, ((x1, y1), (x2, y2)) in field.lines.items():
        if name.startswith("left-"):
            there = field.lines[name.replace("left-", "right-")]
            assert [p for place in there for p in place] == pytest.approx([-x1, y1, -x2, y2])
        assert max(abs(x1), abs(x2)) <= field.length / 2 + 1e-9
    for name, (x, y) in field.spots.items():
        if name.startswith("left-"):
            assert field.spots[name.replace("left-", "right-")] == pytest.approx((-x, y))


def test_parallel_lines_and_unknown_pitches_are_told() -> None:
    with pytest.raises(ValueError, match="parallel"):
        pitch("football").crossing("left-goal-line", "halfway-line")
    with pytest.raises(ValueError, match="there is no pitch 'soccer'"):
        pitch("soccer")
    with pytest.raises(ValueError, match="same size"):
        pitch("tennis", 24.0)
