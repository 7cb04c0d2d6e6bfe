from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from examples.demo.check import Finding, check, frames_at, succeeded
from examples.demo.truth import CarTruth, FrameTruth, Truth

Records = list[dict[str, Any]]

CLOCK, SIGN = (200.0, 100.0, 290.0, 140.0), (370.0, 130.0, 630.0, 165.0)
PLATES = {"taxi": "KA 4729", "van": "RT 8351"}
TRACKS = {"clock": 1, "sign": 2, "taxi": 3, "van": 4}


def plate_box(name: str, frame: int) -> tuple[float, float, float, float]:
    x, y = (100 + 7.0 * frame, 430.0) if name == "taxi" else (800 - 6.0 * frame, 345.0)
    return (x - 46, y - 12, x + 46, y + 12)


def make_truth(frames: int = 192) -> Truth:
    shown = []
    for number in range(frames):
        cars = []
        for name, plate in PLATES.items():
            box = plate_box(name, number)
            cars.append(CarTruth(name, plate, box, box, in_view=box[0] >= 0 and box[2] <= 854))
        sign = "LIONS 2:1 BEARS" if number < 96 else "LIONS 3:1 BEARS"
        shown.append(FrameTruth(number, number / 24, f"07:{10 + number // 24}", sign, tuple(cars)))
    return Truth(854, 480, 24, CLOCK, SIGN, tuple(shown))


def found(text: str, box: tuple[float, ...], track: int | None) -> dict[str, Any]:
    what = {"stage": "text", "label": "text", "class_id": None, "score": 0.99}
    return {**what, "box": list(box), "track": track, "text": text}


def make_records(truth: Truth, *, every: int = 5) -> Records:
    """What a perfect reader and tracker would say."""
    records = []
    for frame in truth.frames[::every]:
        objects = [found(frame.clock, CLOCK, TRACKS["clock"]), found(frame.sign, SIGN, TRACKS["sign"])]
        objects += [found(car.plate, car.plate_box, TRACKS[car.name]) for car in frame.cars if car.in_view]
        records.append(
            {"frame": frame.frame, "pts": 0, "time": frame.time, "status": "ok", "objects": objects, "values": {}}
        )
    return records


def of_car(records: Records, name: str) -> list[dict[str, Any]]:
    return [o for record in records for o in record["objects"] if o["track"] == TRACKS[name]]


def by_what(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.what for finding in findings}) == len(findings)
    return {finding.what: finding for finding in findings}


def test_perfect_records_are_all_found_as_drawn() -> None:
    truth = make_truth()
    findings = check(make_records(truth), truth)
    assert succeeded(findings)
    rows = by_what(findings)
    assert rows["station clock"] == Finding("station clock", "07:10 to 07:17", "right on 39 of 39 frames", ok=True)
    assert rows["scoreboard from 4.2 s"].found == "LIONS 3:1 BEARS on 19 of 19"
    assert rows["plate of the taxi"] == Finding(
        "plate of the taxi", "KA 4729, one track", "KA 4729, #3 on 21 of 21 frames", ok=True
    )
    assert rows["cars"] == Finding("cars", "2", "2 tracks with a plate", ok=True)


def clock_wrong(share: int) -> Callable[[Records], None]:
    def change(records: Records) -> None:
        for record in records[::share]:
            record["objects"][0]["text"] = "07:00"

    return change


def clock_unread(records: Records) -> None:
    for record in records:
        del record["objects"][0]


def clock_elsewhere(records: Records) -> None:
    for record in records:
        record["objects"][0]["box"] = [0, 0, 90, 40]


def score_never_changes(records: Records) -> None:
    for record in records:
        record["objects"][1]["text"] = "LIONS 2:1 BEARS"


def score_mostly_misread(records: Records) -> None:
    for number, record in enumerate(records):
        if number % 3:
            record["objects"][1]["text"] += str(number)


def plate_mostly_misread(records: Records) -> None:
    for number, row in enumerate(of_car(records, "taxi")):
        if number % 3:
            row["text"] = "KA 4720"


def plate_never_seen(records: Records) -> None:
    for record in records:
        record["objects"] = [o for o in record["objects"] if o["track"] != TRACKS["taxi"]]


def plate_seen_twice_only(records: Records) -> None:
    for row in of_car(records, "taxi")[2:]:
        row["text"], row["track"] = "noise", None


def plate_never_tracked(records: Records) -> None:
    for row in of_car(records, "taxi"):
        row["track"] = None


def plate_seldom_tracked(records: Records) -> None:
    for number, row in enumerate(of_car(records, "taxi")):
        if number % 3 == 0:
            row["track"] = None


def track_number_changes(records: Records) -> None:
    for row in of_car(records, "taxi")[10:]:
        row["track"] = 9


def track_number_changes_once(records: Records) -> None:
    of_car(records, "taxi")[7]["track"] = 9


def tracks_swapped(records: Records) -> None:
    taxi, van = of_car(records, "taxi"), of_car(records, "van")
    for row in taxi[10:]:
        row["track"] = TRACKS["van"]
    for row in van[10:]:
        row["track"] = TRACKS["taxi"]


def a_car_too_many(records: Records) -> None:
    for record in records[:5]:
        record["objects"].append(found("XX 1234", (10, 10, 60, 30), 50))


def a_damaged_frame(records: Records) -> None:
    records[3] |= {"status": "decode_error", "objects": []}


def records_swapped(records: Records) -> None:
    records[3], records[4] = records[4], records[3]


def a_record_twice(records: Records) -> None:
    records.insert(3, records[3])


def no_records(records: Records) -> None:
    records.clear()


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        pytest.param(clock_wrong(10), {"station clock"}, id="clock wrong on a tenth"),
        (clock_unread, {"station clock"}),
        (clock_elsewhere, {"station clock"}),
        (score_never_changes, {"scoreboard from 4.2 s"}),
        (score_mostly_misread, {"scoreboard from 0.0 s", "scoreboard from 4.2 s"}),
        (plate_mostly_misread, {"plate of the taxi"}),
        (plate_never_seen, {"plate of the taxi", "cars"}),
        (plate_seen_twice_only, {"plate of the taxi", "cars"}),
        (plate_never_tracked, {"plate of the taxi", "cars"}),
        (plate_seldom_tracked, {"plate of the taxi"}),
        (track_number_changes, {"plate of the taxi", "cars"}),
        (track_number_changes_once, {"plate of the taxi"}),
        (tracks_swapped, {"plate of the taxi", "plate of the van"}),
        (a_car_too_many, {"cars"}),
        (a_damaged_frame, {"frames looked at"}),
        (records_swapped, {"frames looked at"}),
        (a_record_twice, {"frames looked at"}),
        (no_records, {"frames looked at", "station clock", "scoreboard", "cars"}),
    ],
)
def test_what_is_wrong_is_told_in_its_row(change: Callable[[Records], None], wrong: set[str]) -> None:
    truth = make_truth()
    records = make_records(truth)
    change(records)
    findings = check(records, truth)
    assert {finding.what for finding in findings if not finding.ok} == wrong
    assert not succeeded(findings)


def one_clock_wrong(records: Records) -> None:
    records[7]["objects"][0]["text"] = "07:00"


def spaces_and_marks(records: Records) -> None:
    for row in of_car(records, "taxi"):
        row["text"] = "ka-4729."


def sign_in_parts(records: Records) -> None:
    for record in records:
        left, right = record["objects"][1]["text"].split(":")
        record["objects"][1:2] = [found(":" + right, (500, 132, 628, 163), 2), found(left, (372, 132, 500, 163), None)]


def parts_of_plates_at_the_edge(records: Records) -> None:
    for row in of_car(records, "taxi")[:3]:
        row["text"] = "4729"


@pytest.mark.parametrize("change", [one_clock_wrong, spaces_and_marks, sign_in_parts, parts_of_plates_at_the_edge])
def test_small_lapses_are_forgiven(change: Callable[[Records], None]) -> None:
    truth = make_truth()
    records = make_records(truth)
    change(records)
    assert succeeded(check(records, truth))


def test_only_the_part_that_was_looked_at_counts() -> None:
    truth = make_truth()
    records = [record for record in make_records(truth) if record["time"] < 3]
    rows = by_what(check(records, truth))
    assert rows["station clock"].expected == "07:10 to 07:12"
    assert [what for what in rows if what.startswith("scoreboard")] == ["scoreboard from 0.0 s"]
    assert all(row.ok for row in rows.values())


@pytest.mark.parametrize(
    "left_out",
    [
        pytest.param(slice(0, 3), id="the first"),
        pytest.param(slice(10, 14), id="a hole"),
        pytest.param(slice(12, None), id="the rest"),
    ],
)
def test_records_that_are_missing_fail_the_demo(left_out: slice) -> None:
    truth = make_truth()
    wanted = [0, 5, 10, 15, 20, 24]  # 24 fps looked at 5 times a second: the first frame of each fifth of a second
    records = [record for record in make_records(truth, every=1) if record["frame"] in set(frames_at(truth, 5))]
    assert [record["frame"] for record in records][:6] == wanted
    assert by_what(check(records, truth, fps=5))["frames looked at"].ok
    del records[left_out]
    assert not by_what(check(records, truth, fps=5))["frames looked at"].ok


@pytest.mark.parametrize(("judged", "expected"), [([True, True], True), ([True, False], False), ([], False)])
def test_one_row_that_is_wrong_fails_the_demo(judged: list[bool], expected: bool) -> None:
    assert succeeded([Finding("what", "drawn", "found", ok) for ok in judged]) is expected
