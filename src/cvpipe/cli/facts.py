"""What is known of a video, as a table for people: what was measured beside what the file claims."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cvpipe.cli import output

if TYPE_CHECKING:
    from cvpipe.video import VideoFacts, VideoIndex


def describe(index: VideoIndex) -> dict[str, Any]:
    """The facts, how many keyframes there are, and the shortest and longest time from one frame to the next."""
    shortest, longest = _steps(index)
    steps = None if shortest is None else {"shortest": shortest, "longest": longest}
    return {**index.facts.to_dict(), "keyframes": int(index.keyframe.sum()), "frame_seconds": steps}


def show(name: str, index: VideoIndex) -> None:
    """Print the facts of the video `name`."""
    facts, claims = index.facts, index.facts.header
    output.line(f"{name}: {facts.container}, {facts.codec} {facts.pixel_format}, stream {facts.stream}")
    output.line()
    output.columns(("", "MEASURED", "CLAIMED"), _rows(index, claims))
    if facts.streams:
        output.line()
        output.columns(("STREAM", "KIND", "CODEC", "SIZE", "NOTE"), [_stream_row(s, facts) for s in facts.streams])
    for warning in facts.warnings:
        output.line()
        output.line(f"warning: {warning['message']} ({warning['code']})")


def _rows(index: VideoIndex, claims: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    facts = index.facts
    coded, shown = (facts.width, facts.height), (facts.display_width, facts.display_height)
    claimed = (claims.get("width"), claims.get("height"))
    rows = [
        ("frames", str(facts.frames), _claim(claims.get("frames"))),
        ("duration", f"{facts.duration_seconds:g} s", _claim(claims.get("duration_seconds"), " s")),
        ("frame rate", f"{facts.fps:g} /s, {_evenness(index)}", _claim(claims.get("fps"), " /s")),
        ("keyframes", _keyframes(index), "-"),
        ("bit rate", _bits(facts.bit_rate), _bits(claims.get("bit_rate"))),
        ("coded size", f"{coded[0]}x{coded[1]}", f"{claimed[0]}x{claimed[1]}" if all(claimed) else "-"),
        ("shown as", f"{shown[0]}x{shown[1]}{_turned(facts)}", "-"),
        ("pixel aspect", _aspect(facts.sample_aspect_ratio), _aspect(claims.get("sample_aspect_ratio"))),
        ("scan", facts.field_order if facts.field_order == "progressive" else f"{facts.field_order} field first", "-"),
        ("colour", _colour(facts.colour), "-"),
        ("time base", f"{facts.time_base} s", "-"),
        ("times", "the file's own" if facts.timing == "file" else "counted: the file has no usable ones", "-"),
        ("file", f"{facts.file_bytes} bytes" if facts.file_bytes else "-", "-"),
        ("created", "-", _claim(claims.get("creation_time"))),
    ]
    return [row for row in rows if row[1:] != ("-", "-")]


def _stream_row(stream: Mapping[str, Any], facts: VideoFacts) -> tuple[str, str, str, str, str]:
    is_this = stream["index"] == facts.stream
    notes = [
        word
        for word, holds in (
            ("this one", is_this),
            ("default", stream.get("is_default")),
            ("cover art", stream.get("is_cover")),
        )
        if holds
    ]
    size = f"{stream['width']}x{stream['height']}" if stream.get("width") else "-"
    return str(stream["index"]), stream["kind"], stream["codec"] or "-", size, ", ".join(notes)


def _steps(index: VideoIndex) -> tuple[float | None, float | None]:
    """The shortest and longest time from one frame to the next, None where there is one frame."""
    if len(index) == 1:
        return None, None
    steps = index.pts[1:] - index.pts[:-1]
    base = Fraction(index.facts.time_base)
    return round(float(int(steps.min()) * base), 6), round(float(int(steps.max()) * base), 6)


def _evenness(index: VideoIndex) -> str:
    """Whether the frames are evenly spaced, but for the rounding of times (in ms 41 and 42 at 24 a second)."""
    shortest, longest = _steps(index)
    if shortest is None or longest is None:
        return "one frame"
    if longest - shortest <= float(Fraction(index.facts.time_base)) + 2e-6:
        return "even"
    return f"uneven: {shortest:g} to {longest:g} s a frame"


def _keyframes(index: VideoIndex) -> str:
    keys = index.keyframe.nonzero()[0].tolist()
    if len(keys) < 2:
        return str(len(keys))
    gaps = [after - before for before, after in pairwise(keys)]
    every = f"{gaps[0]}" if len(set(gaps)) == 1 else f"{min(gaps)} to {max(gaps)}"
    return f"{len(keys)}, every {every} frames" if every != "1" else f"{len(keys)}, every frame"


def _claim(value: Any, unit: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:.6g}{unit}" if isinstance(value, float) else f"{value}{unit}"


def _bits(rate: Any) -> str:
    return f"{rate / 1000:.0f} kbit/s" if rate else "-"


def _turned(facts: VideoFacts) -> str:
    clockwise = "" if facts.rotation == 180 else " clockwise"
    how = [f"turned by {facts.rotation} degrees{clockwise}"] if facts.rotation else []
    how += ["mirrored"] if facts.mirrored else []
    return f", {' and '.join(how)}" if how else ""


def _aspect(ratio: Any) -> str:
    return "-" if ratio is None else "square" if ratio == "1/1" else str(ratio)


def _colour(colour: Mapping[str, str]) -> str:
    told = [f"{name} {value}" for name, value in colour.items() if value != "unknown"]
    return ", ".join(told) or "the file does not say"
