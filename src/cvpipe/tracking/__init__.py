"""Tracking by detection: which box of this frame is which box of the frames before.

`motion` is the Kalman filter, `overlap` the measure of likeness, `matching` the assignment; `byte` (ByteTrack), `oc`
(OC-SORT) and `bot` (BoT-SORT) are three ways to associate. Arrays in, arrays out: nothing here knows of records or
stages.
"""

from __future__ import annotations

from cvpipe.tracking.bot import BotSortTracker
from cvpipe.tracking.byte import ByteTracker, Thresholds
from cvpipe.tracking.oc import OcSortTracker

__all__ = ["BotSortTracker", "ByteTracker", "OcSortTracker", "Thresholds"]
