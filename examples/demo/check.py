"""The demo's verdict: what was found, held against the truth. No pictures and no service: records in, rows out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from examples.demo.accuracy import measure
from examples.demo.truth import Box, FrameTruth, Truth

CLOCK_SHARE: Final = 0.95
"""Share of the frames looked at on which the clock must be read right."""
PLATE_SHARE: Final = 0.8
"""Share of the frames looked at, with all of a plate on them, on which its track must be seen."""
BOX_PRECISION: Final = 0.33
JOINT_PRECISION: Final = 0.07
MASK_OVERLAP: Final = 0.55
"""Mean average precision of boxes and joints (0.5 to 0.95), and mean overlap of masks: no less than this."""
MIN_READINGS: Final = 3
"""A track with fewer readings is no number plate: it may be a passing error."""

_PLATE = re.compile(r"[A-Z]{2}[0-9]{4}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the verdict."""

    what: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """A line of text that was found on a frame."""

    frame: int
    text: str
    track: int | None
    score: float
    box: Box


def check(records: Iterable[Mapping[str, Any]], truth: Truth, *, fps: float | None = None) -> list[Finding]:
    """Hold frame records, as the API and NDJSON give them, against the truth. All must be `ok` for success.

    fps: frames per second of the clip that must have been looked at; None: those there are will do.

    Readings are compared without spaces and punctuation between letters and digits, which no reader tells for sure.
    """
    records = list(records)
    shown = {frame.frame: frame for frame in truth.frames}
    looked = [shown[record["frame"]] for record in records if record["status"] == "ok" and record["frame"] in shown]
    seen = [line for record in records for line in _lines(record)]
    return [
        _check_frames(records, looked, None if fps is None else frames_at(truth, fps)),
        _check_clock(looked, seen, truth),
        *_check_sign(looked, seen, truth),
        *_check_plates(looked, seen),
    ]


def check_things(records: Iterable[Mapping[str, Any]], truth: Truth) -> list[Finding]:
    """Hold the people, dogs and cars of frame records against the truth, as COCO measures it."""
    got = measure(records, truth.frames, (truth.width, truth.height))
    rows = (
        ("boxes", f"{got.things} people, dogs and cars", "mAP", got.box, BOX_PRECISION, f", {got.box_50:.2f} at 0.5"),
        ("joints", "13 of each person", "OKS mAP", got.joints, JOINT_PRECISION, f", {got.joints_50:.2f} at 0.5"),
        ("masks", "each thing's pixels", "mean IoU", got.mask_iou, MASK_OVERLAP, f", mAP {got.mask:.2f}"),
    )
    return [
        Finding(what, drawn, f"{name} {value:.2f}{more}", value >= floor)
        for what, drawn, name, value, floor, more in rows
    ]


def succeeded(findings: Sequence[Finding]) -> bool:
    """Everything was found as it is."""
    return bool(findings) and all(finding.ok for finding in findings)


def frames_at(truth: Truth, fps: float) -> list[int]:
    """Numbers of the first frames of each interval of 1/fps seconds."""
    ticks = [int(frame.time * fps + 1e-6) for frame in truth.frames]
    return [truth.frames[n].frame for n in range(len(ticks)) if n == 0 or ticks[n] != ticks[n - 1]]


def _check_frames(
    records: Sequence[Mapping[str, Any]], looked: Sequence[FrameTruth], wanted: Sequence[int] | None
) -> Finding:
    numbers = [record["frame"] for record in records]
    in_order = all(a < b for a, b in pairwise(numbers))
    ok = len(looked) == len(records) > 0 and in_order and (wanted is None or numbers == wanted)
    found = f"{len(looked)} of {len(records if wanted is None else wanted)}" + ("" if in_order else ", out of order")
    return Finding("frames looked at", "all readable, in order", found, ok)


def _check_clock(looked: Sequence[FrameTruth], seen: Sequence[_Seen], truth: Truth) -> Finding:
    texts = _texts_in(seen, truth.clock_box)
    right = sum(texts.get(frame.frame) == _plain(frame.clock, keep=":") for frame in looked)
    expected = f"{looked[0].clock} to {looked[-1].clock}" if looked else "-"
    found = f"right on {right} of {len(looked)} frames"
    return Finding("station clock", expected, found, bool(looked) and right >= CLOCK_SHARE * len(looked))


def _check_sign(looked: Sequence[FrameTruth], seen: Sequence[_Seen], truth: Truth) -> list[Finding]:
    texts = _texts_in(seen, truth.sign_box)
    findings = []
    for sign in dict.fromkeys(frame.sign for frame in looked):
        frames = [frame for frame in looked if frame.sign == sign]
        readings = Counter(texts[frame.frame] for frame in frames if frame.frame in texts)
        best = readings.most_common(1)[0][0] if readings else ""
        right = readings[_plain(sign, keep=":")]
        ok = best == _plain(sign, keep=":") and right > len(frames) / 2
        shown = sign if ok else best or "nothing"
        when = f"scoreboard from {frames[0].time:.1f} s"
        findings.append(Finding(when, sign, f"{shown} on {right} of {len(frames)}", ok))
    return findings or [Finding("scoreboard", "a score", "nothing", ok=False)]


def _check_plates(looked: Sequence[FrameTruth], seen: Sequence[_Seen]) -> list[Finding]:
    tracks = plate_tracks(seen)
    in_view: dict[tuple[str, str], dict[int, Box]] = defaultdict(dict)
    for frame in looked:
        for car in frame.cars:
            if car.in_view:
                in_view[car.name, car.plate][frame.frame] = car.plate_box
    findings = []
    for (name, plate), boxes in in_view.items():
        wanted = _plain(plate)
        on_plate = [line for line in seen if line.frame in boxes and _inside(line.box, boxes[line.frame])]
        numbers = {line.track for line in on_plate if line.track is not None}
        tracked = len({line.frame for line in on_plate if line.track is not None})
        voted = [number for number in sorted(numbers) if tracks.get(number) == wanted]
        ok = len(numbers) == 1 == len(voted) and tracked >= PLATE_SHARE * len(boxes)
        readings = sorted(tracks[number] for number in numbers if number in tracks)
        text = plate if voted else ", ".join(readings) or "nothing"
        names = ", ".join(f"#{number}" for number in sorted(numbers)) or "no track"
        found = f"{text}, {names} on {tracked} of {len(boxes)} frames"
        findings.append(Finding(f"plate of the {name}", f"{plate}, one track", found, ok))
    count = len(in_view)
    findings.append(Finding("cars", str(count), f"{len(tracks)} tracks with a plate", len(tracks) == count > 0))
    return findings


def plate_tracks(seen: Iterable[_Seen]) -> dict[int, str]:
    """Tracks whose text is a number plate's, with what most of their readings say; of equals, what was surest."""
    votes: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in seen:
        if line.track is not None:
            votes[line.track][_plain(line.text)].append(line.score)
    plates = {}
    for number, readings in votes.items():
        text, scores = max(readings.items(), key=lambda item: (len(item[1]), sum(item[1]), item[0]))
        if len(scores) >= MIN_READINGS and _PLATE.fullmatch(text):
            plates[number] = text
    return plates


def _lines(record: Mapping[str, Any]) -> list[_Seen]:
    return [
        _Seen(record["frame"], found["text"], found["track"], found["score"], tuple(found["box"]))
        for found in record["objects"]
        if found["text"]
    ]


def _texts_in(seen: Iterable[_Seen], box: Box) -> dict[int, str]:
    """By frame, all that was read inside `box`, in reading order, as one plain text."""
    lines: dict[int, list[_Seen]] = defaultdict(list)
    for line in seen:
        if _inside(line.box, box):
            lines[line.frame].append(line)
    return {
        frame: _plain("".join(line.text for line in sorted(found, key=lambda line: line.box[0])), keep=":")
        for frame, found in lines.items()
    }


def _inside(box: Box, place: Box) -> bool:
    """The middle of `box` lies in `place`."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return place[0] <= x <= place[2] and place[1] <= y <= place[3]


def _plain(text: str, *, keep: str = "") -> str:
    return "".join(letter for letter in text.upper() if letter.isalnum() or letter in keep)
