"""Text on pictures, with OpenCV."""

from __future__ import annotations

from typing import Any, Final

from cvpipe.frames import Image

_WEIGHT: Final = 500


class Lettering:
    """Writes text of one size: any script with OpenCV 5, Latin letters without accents with OpenCV 4."""

    def __init__(self, cv2: Any, *, size: int) -> None:
        """cv2: OpenCV. size: of the letters, in pixels."""
        self._cv2, self._size = cv2, size
        self._font = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None
        self._pad = max(3, size // 4)
        self._sizes: dict[str, tuple[int, int]] = {}

    def chip_size(self, text: str) -> tuple[int, int]:
        """Width and height in pixels of a rectangle around the text."""
        if text not in self._sizes:
            if len(self._sizes) > 10_000:  # captions with scores are many
                self._sizes.clear()
            if self._font is not None:
                width = self._cv2.getTextSize((0, 0), text, (0, 0), self._font, self._size, _WEIGHT)[2]
            else:
                width = self._cv2.getTextSize(text, self._cv2.FONT_HERSHEY_SIMPLEX, self._scale, self._thickness)[0][0]
            self._sizes[text] = int(width) + 2 * self._pad, round(self._size * 1.25) + self._pad
        return self._sizes[text]

    def write(self, image: Image, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
        """Write with the upper left corner of the text's rectangle at x, y."""
        base = x + self._pad, y + round(self._size * 0.95) + self._pad // 2
        if self._font is not None:
            self._cv2.putText(image, text, base, colour, self._font, self._size, _WEIGHT)
        else:
            font, line = self._cv2.FONT_HERSHEY_SIMPLEX, self._cv2.LINE_AA
            self._cv2.putText(image, text, base, font, self._scale, colour, self._thickness, line)

    @property
    def _scale(self) -> float:
        return self._size / 30

    @property
    def _thickness(self) -> int:
        return max(1, round(self._size / 18))
