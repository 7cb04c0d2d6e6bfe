"""`codes` on codes that are drawn here: a QR code by OpenCV's encoder, barcodes after their standards."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cvpipe.frames import View
from tests.stages.looking import look_at

LEFT = ["0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011"]
PARITY = ["LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL"]


def ean_13(digits: str) -> np.ndarray:
    """The bars of an EAN-13 (ISO/IEC 15420), three pixels a module, with quiet zones."""
    right = ["".join("10"[int(bit)] for bit in code) for code in LEFT]
    even = [code[::-1] for code in right]
    bits = "101"
    for digit, parity in zip(digits[1:7], PARITY[int(digits[0])], strict=True):
        bits += (LEFT if parity == "L" else even)[int(digit)]
    bits += "01010" + "".join(right[int(digit)] for digit in digits[7:]) + "101"
    row = np.repeat([255 * (bit == "0") for bit in "0" * 12 + bits + "0" * 12], 3).astype(np.uint8)
    return cv2.GaussianBlur(np.tile(row, (120, 1)), (0, 0), 1)  # as a camera sees it


def qr(text: str, module: int = 5) -> np.ndarray:
    code = cv2.QRCodeEncoder.create().encode(text)
    return np.kron(code, np.ones((module, module), np.uint8))


def placed(code: np.ndarray, x: int, y: int, size: tuple[int, int] = (360, 480)) -> np.ndarray:
    picture = np.full(size, 255, np.uint8)
    picture[y : y + code.shape[0], x : x + code.shape[1]] = code
    return picture


def ink(picture: np.ndarray) -> list[float]:
    """The box around all that is dark."""
    rows, columns = np.nonzero(picture < 128)
    return [float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)]


def test_a_qr_code_is_read_where_it_is() -> None:
    picture = placed(qr("gate 7, lane B"), 60, 90)
    (code,) = look_at("codes", picture).to_dict()["objects"]
    assert (code["label"], code["text"], code["score"]) == ("qr", "gate 7, lane B", 1)
    assert code["box"] == pytest.approx(ink(picture), abs=4)
    assert len(code["keypoints"]) == 4
    assert code["keypoints"][0][:2] == pytest.approx(code["box"][:2], abs=2)
    assert code["keypoints"][2][:2] == pytest.approx(code["box"][2:], abs=2)


def test_a_barcode_is_read_with_its_kind() -> None:
    picture = placed(ean_13("4006381333931"), 60, 90)
    (code,) = look_at("codes", picture).to_dict()["objects"]
    assert (code["label"], code["text"]) == ("ean_13", "4006381333931")
    x1, y1, x2, y2 = code["box"]
    left, top, right, bottom = ink(picture)
    assert [x1, x2] == pytest.approx([left, right], abs=25)  # OpenCV tells the place of a barcode roughly
    assert [(x1 + x2) / 2, (y1 + y2) / 2] == pytest.approx([(left + right) / 2, (top + bottom) / 2], abs=10)
    assert code["keypoints"][0][:2] == pytest.approx([x1, y1], abs=2)


def test_corners_of_a_turned_code_begin_at_its_own_top_left() -> None:
    picture = np.ascontiguousarray(np.rot90(placed(qr("up"), 60, 90, (400, 400)), -1))  # a quarter turn clockwise
    (code,) = look_at("codes", picture).to_dict()["objects"]
    x1, y1, x2, y2 = code["box"]
    corners = [point[:2] for point in code["keypoints"]]
    assert corners == [
        pytest.approx([x2, y1], abs=3), pytest.approx([x2, y2], abs=3), pytest.approx([x1, y2], abs=3),
        pytest.approx([x1, y1], abs=3),
    ]  # fmt: skip


def test_only_kinds_that_are_asked_for_are_read_and_all_of_them() -> None:
    picture = placed(ean_13("4006381333931"), 100, 300, (480, 640))
    for text, x in (("one", 60), ("two", 400)):
        code = qr(text)
        picture[40 : 40 + len(code), x : x + len(code)] = code
    assert [c["text"] for c in look_at("codes", picture).to_dict()["objects"]] == ["one", "two", "4006381333931"]
    assert sorted(c["text"] for c in look_at("codes", picture, kinds=["qr"]).to_dict()["objects"]) == ["one", "two"]
    assert [c["label"] for c in look_at("codes", picture, kinds=["barcode"]).to_dict()["objects"]] == ["ean_13"]


def test_boxes_are_in_source_pixels_and_nothing_is_read_where_there_is_no_code() -> None:
    picture = placed(qr("half"), 60, 90)
    (code,) = look_at("codes", picture, view=View.of(960, 720).resized(480, 360)).to_dict()["objects"]
    assert code["box"] == pytest.approx([2 * value for value in ink(picture)], abs=8)
    assert look_at("codes", np.full((200, 200), 255, np.uint8)).to_dict()["objects"] == []
