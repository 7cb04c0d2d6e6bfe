"""Tracking by detection: which box of this frame is which box of the frames before.

`motion` is the Kalman filter, `overlap` the measure of likeness, `byte` the association (ByteTrack). Arrays in, arrays
out: nothing here knows of records or stages.
"""

from __future__ import annotations

from cvpipe.tracking.byte import ByteTracker, Thresholds

__all__ = ["ByteTracker", "Thresholds"]
