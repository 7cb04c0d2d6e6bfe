"""A picture of what was tried: frames a second over agreement, as PNG."""

from __future__ import annotations

from typing import Any

import numpy as np

from cvpipe.frames import Image
from cvpipe.tuning.sweep import Row, Tuned

_WIDTH, _HEIGHT = 960, 600
_LEFT, _TOP, _RIGHT, _BOTTOM = 80, 60, 910, 530
_INK, _FAINT = (60, 60, 60), (225, 225, 225)
_COLOURS = {"fp32": (180, 110, 30), "fp16": (60, 160, 60), "int8": (40, 80, 220)}  # BGR
_LINES = 5


def plotted(tuned: Tuned, cv2: Any) -> bytes:
    """The picture. Unbeaten rows have a ring, the chosen one a second; the larger a dot, the more memory."""
    image: Image = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    rows = tuned.rows
    worst = min(row.score for row in rows)
    low = max(0.0, min(worst - 0.1 * (1 - worst), 0.99))
    most = 1.1 * max(row.fps for row in rows)
    largest = max(row.memory_bytes for row in rows)

    def write(text: str, x: int, y: int, *, size: float = 0.42) -> None:
        cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)

    def place(row: Row) -> tuple[int, int]:
        x = _LEFT + (row.score - low) / (1 - low) * (_RIGHT - _LEFT)
        return round(x), round(_BOTTOM - row.fps / most * (_BOTTOM - _TOP))

    for step in range(_LINES + 1):
        y = round(_BOTTOM - step / _LINES * (_BOTTOM - _TOP))
        x = round(_LEFT + step / _LINES * (_RIGHT - _LEFT))
        cv2.line(image, (_LEFT, y), (_RIGHT, y), _FAINT, 1)
        cv2.line(image, (x, _TOP), (x, _BOTTOM), _FAINT, 1)
        write(f"{most * step / _LINES:.0f}", _LEFT - 45, y + 4)
        write(f"{low + (1 - low) * step / _LINES:.3f}", x - 18, _BOTTOM + 20)
    write(f"{tuned.card.ref}: frames a second over agreement with fp32 at full size", _LEFT, 30, size=0.55)
    write("agreement", _RIGHT - 70, _BOTTOM + 40)
    for number, (name, colour) in enumerate(_COLOURS.items()):
        cv2.circle(image, (_LEFT + 90 * number, _HEIGHT - 20), 6, colour, -1, cv2.LINE_AA)
        write(name, _LEFT + 12 + 90 * number, _HEIGHT - 15)
    write("ring: unbeaten; two rings: chosen; large: much memory", _LEFT + 300, _HEIGHT - 15)
    for row in rows:
        x, y = place(row)
        radius = 4 + round(5 * row.memory_bytes / max(largest, 1))
        cv2.circle(image, (x, y), radius, _COLOURS[row.setting.precision], -1, cv2.LINE_AA)
        if tuned.is_unbeaten(row):
            cv2.circle(image, (x, y), radius + 4, _INK, 1, cv2.LINE_AA)
            write(f"{row.canvas[0]}x{row.canvas[1]}", x - 30, y - radius - 8)
        if row is tuned.best:
            cv2.circle(image, (x, y), radius + 8, _INK, 1, cv2.LINE_AA)
    _, png = cv2.imencode(".png", image)
    return bytes(png.tobytes())
