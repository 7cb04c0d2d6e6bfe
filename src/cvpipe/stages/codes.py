"""`codes`: QR codes and barcodes, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cvpipe.frames import Frame, Image
from cvpipe.results import Found, Objects
from cvpipe.stages import PictureStage, StageOptions, Tools

Kind = Literal["qr", "barcode"]


class CodesOptions(StageOptions):
    """Options of `codes`."""

    type: Literal["codes"] = "codes"
    kinds: list[Kind] = Field(
        default=["qr", "barcode"],
        min_length=1,
        max_length=2,
        description="What to look for. Barcodes: EAN-13, EAN-8, UPC-A, UPC-E.",
    )


class Codes(PictureStage[CodesOptions]):
    """Read QR codes and barcodes: a box, the four corners as keypoints, and the text of each.

    Objects have the label `qr`, `ean_13`, `ean_8`, `upc_a` or `upc_e`; only codes that could be read are told, so
    `score` is 1. Corners (rough ones of barcodes) are clockwise from the code's own top left one.
    """

    Options = CodesOptions
    example = """
    - {type: decimate, fps: 2}
    - {type: codes, kinds: [qr]}
    """

    _qr: Any
    _bars: Any

    @property
    def finds_objects(self) -> bool:
        """Codes."""
        return True

    def open(self, tools: Tools) -> None:
        """Make the readers."""
        super().open(tools)
        self._qr, self._bars = self._cv2.QRCodeDetector(), self._cv2.barcode.BarcodeDetector()

    def look(self, frame: Frame) -> Found:
        """The codes of a frame, from top to bottom."""
        picture = frame.shown
        read = [code for kind in dict.fromkeys(self.options.kinds) for code in self._read(picture, kind)]
        read.sort(key=lambda code: (*code[2].min(axis=0)[::-1].tolist(), code[0]))
        corners = [frame.to_source(points + 0.5).astype(np.float64) for _, _, points in read]
        found = Objects.make(
            stage=self.name,
            box=[[*points.min(axis=0), *points.max(axis=0)] for points in corners],
            score=[1.0] * len(read),
            label=[label for label, _, _ in read],
            text=[text for _, text, _ in read],
            keypoints=[[[x, y, 1] for x, y in points.tolist()] for points in corners],
        )
        return Found(added=found)

    def _read(self, picture: Image, kind: Kind) -> Iterator[tuple[str, str, npt.NDArray[np.float64]]]:
        """Label, text and corners (4, 2) of each code that could be read."""
        if kind == "qr":
            is_there, texts, corners, _ = self._qr.detectAndDecodeMulti(picture)
            labels = ["qr"] * len(texts)
        else:
            is_there, texts, labels, corners = self._bars.detectAndDecodeWithType(picture)
        if not is_there or corners is None:
            return
        for label, text, points in zip(labels, texts, corners, strict=True):
            if text:
                # The barcode reader's corners begin at the bottom left.
                turned = (
                    np.asarray(points, np.float64) if kind == "qr" else np.roll(points, -1, axis=0).astype(np.float64)
                )
                yield label.lower(), text, turned
