"""Latitude and longitude, and metres east and north of a place: the plane that touches WGS 84's ellipsoid there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cvpipe.geometry.marks import Points

_EQUATOR: Final = 6378137.0  # metres
_FLATTENING: Final = 1 / 298.257223563
_SQUARED_ECCENTRICITY: Final = _FLATTENING * (2 - _FLATTENING)
_ROUNDS: Final = 6


@dataclass(frozen=True, slots=True)
class TangentPlane:
    """The plane that touches the ellipsoid at a latitude and longitude, in degrees; x is east, y is north.

    A kilometre away it lies 8 cm above the ellipsoid, and lengths are right to a hundred-millionth.
    """

    latitude: float
    longitude: float

    def to_metres(self, degrees: Points) -> Points:
        """Latitudes and longitudes (n, 2) as metres east and north (n, 2)."""
        away = _on_ellipsoid(np.asarray(degrees, np.float64)) - self._origin
        return away @ self._axes[:, :2]

    def to_degrees(self, metres: Points) -> Points:
        """Latitudes and longitudes (n, 2) of what lies below metres east and north (n, 2)."""
        flat = np.asarray(metres, np.float64)
        return _of_point(self._origin + flat @ self._axes[:, :2].T)

    @property
    def _origin(self) -> npt.NDArray[np.float64]:
        origin: npt.NDArray[np.float64] = _on_ellipsoid(np.array([[self.latitude, self.longitude]]))[0]
        return origin

    @property
    def _axes(self) -> npt.NDArray[np.float64]:
        """Columns: east, north and up, from the middle of the earth."""
        (sin_lat, sin_lon), (cos_lat, cos_lon) = (
            turn(np.radians([self.latitude, self.longitude])) for turn in (np.sin, np.cos)
        )
        east = [-sin_lon, cos_lon, 0]
        north = [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat]
        up = [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
        return np.stack([east, north, up], axis=-1)


def _on_ellipsoid(degrees: Points) -> npt.NDArray[np.float64]:
    """Latitudes and longitudes (n, 2) as metres from the middle of the earth (n, 3)."""
    latitude, longitude = np.radians(degrees).T
    across = _EQUATOR / np.sqrt(1 - _SQUARED_ECCENTRICITY * np.sin(latitude) ** 2)
    return np.stack(
        [
            across * np.cos(latitude) * np.cos(longitude),
            across * np.cos(latitude) * np.sin(longitude),
            across * (1 - _SQUARED_ECCENTRICITY) * np.sin(latitude),
        ],
        axis=-1,
    )


def _of_point(points: npt.NDArray[np.float64]) -> Points:
    """Latitudes and longitudes (n, 2) of points (n, 3) near the ellipsoid, by iteration."""
    x, y, z = points.T
    flat = np.hypot(x, y)
    latitude = np.arctan2(z, flat * (1 - _SQUARED_ECCENTRICITY))
    for _ in range(_ROUNDS):
        across = _EQUATOR / np.sqrt(1 - _SQUARED_ECCENTRICITY * np.sin(latitude) ** 2)
        latitude = np.arctan2(z + _SQUARED_ECCENTRICITY * across * np.sin(latitude), flat)
    return np.degrees(np.stack([latitude, np.arctan2(y, x)], axis=-1))
