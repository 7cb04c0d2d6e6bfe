from __future__ import annotations

import numpy as np
import pytest

from cvpipe.geometry.earth import TangentPlane


def test_degrees_are_as_long_as_the_ellipsoid_says() -> None:
    # A degree at latitude 45 (NGA, The American Practical Navigator, table 6): 111,131.8 m and 78,846.8 m.
    east, north = TangentPlane(45, 10).to_metres(np.array([[45, 10.001], [45.001, 10]]))
    assert east == pytest.approx([78.8468, 0], abs=1e-3)
    assert north == pytest.approx([0, 111.1318], abs=1e-3)


@pytest.mark.parametrize("place", [(48.137, 11.575), (-33.86, 151.2), (0, 0), (71.0, -179.9999)], ids=str)
def test_metres_come_back_as_degrees(place: tuple[float, float]) -> None:
    plane = TangentPlane(*place)
    metres = np.array([[0, 0], [400, -250], [-900, 30.0]])
    assert plane.to_metres(plane.to_degrees(metres)) == pytest.approx(metres, abs=1e-4)


def test_a_kilometre_away_the_plane_is_eight_centimetres_above_the_earth() -> None:
    # What is straight below it by the normal there lies 0.08 m * 1000 / 6371000 nearer: nothing that shows.
    plane = TangentPlane(48, 11)
    assert plane.to_metres(plane.to_degrees(np.array([[1000.0, 0]])))[0, 0] == pytest.approx(1000, abs=2e-5)
