"""What a decoder says, taken with care: its video may have taken it over."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any, Final

from pydantic import TypeAdapter

from cvpipe import errors
from cvpipe.errors import CvpipeError, DecoderCrashed, InvalidRequest, MediaUnreadable, VideoError
from cvpipe.video.index import VideoFacts, VideoIndex
from cvpipe.video.limits import Limits

_ERRORS: Final[dict[str, type[CvpipeError]]] = {
    cls.code: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, VideoError)
}
_FACTS: Final = TypeAdapter(VideoFacts)
_MAX_WORDS: Final = 1000
_MAX_DEPTH: Final = 4
_MAX_ITEMS: Final = 1000
_MAX_PTS: Final = 2**62


def words(said: str | bytes) -> str:
    """Text that can be shown, logged and stored: one line, no control characters, at most 1000 characters."""
    text = said if isinstance(said, str) else said.decode(errors="replace")
    shown = "".join(c if c.isprintable() else " " for c in text[:_MAX_WORDS])
    return " ".join(shown.split())


def error(body: bytes) -> CvpipeError:
    """The error that a decoder has sent: one of the video's codes, or that there is none to be understood."""
    try:
        said = json.loads(body)
        return _ERRORS[said["code"]](words(said["message"]))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return DecoderCrashed("the decoder failed and could not say why")


def index(packed: bytes, limits: Limits) -> VideoIndex:
    """The index that a decoder has made, with every fact of its type and in its range.

    Raises: DecoderCrashed where it is none; MediaUnreadable where its times can't be counted.
    """
    try:
        made = VideoIndex.unpack(packed, max_frames=limits.max_frames)
        facts = made.facts.to_dict()
        _check_plain(facts)
        _FACTS.validate_json(json.dumps(facts), strict=True)
        _check_facts(made.facts, len(made), limits)
    except (InvalidRequest, ValueError, TypeError, RecursionError) as wrong:
        raise DecoderCrashed(f"the decoder gave no index: {words(str(wrong))[:300]}") from wrong
    base = Fraction(made.facts.time_base)
    first, last = int(made.pts[0]), int(made.pts[-1])
    if max(abs(first), abs(last), (last - first) * base.numerator) > _MAX_PTS:
        raise MediaUnreadable(f"the times of its frames make no sense: {first} to {last} in units of {base} s")
    return made


def _check_facts(facts: VideoFacts, frames: int, limits: Limits) -> None:
    turned = facts.rotation in (90, 270)
    shown = (facts.height, facts.width) if turned else (facts.width, facts.height)
    base = facts.time_base.split("/")
    for what, is_right in (
        ("width and height", min(shown) > 0 and shown[0] * shown[1] <= limits.max_pixels),
        ("rotation", facts.rotation in (0, 90, 180, 270)),
        ("display size", shown == (facts.display_width, facts.display_height)),
        ("frames", facts.frames == frames),
        ("duration", facts.duration_seconds >= 0 and facts.fps >= 0),
        ("stream", facts.stream >= 0),
        ("time base", len(base) == 2 and all(0 < len(n) < 11 and n.isascii() and n.isdecimal() for n in base)),
    ):
        if not is_right:
            raise ValueError(f"its {what} can't be")
    if "0" in (base[0].lstrip("0") or "0", base[1].lstrip("0") or "0"):
        raise ValueError("its time base can't be")


def _check_plain(value: Any, depth: int = 0) -> None:
    """Raises: ValueError for what can't be written as JSON, or is long enough to do harm."""
    if depth > _MAX_DEPTH:
        raise ValueError("its facts are nested too deep")
    if isinstance(value, dict | list | tuple):
        if len(value) > _MAX_ITEMS:
            raise ValueError("its facts are too many")
        for item in value.items() if isinstance(value, dict) else value:
            _check_plain(item, depth + 1 if not isinstance(value, dict) else depth)
    elif isinstance(value, str):
        if len(value) > _MAX_WORDS:
            raise ValueError("its facts are too long")
        value.encode()
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is not finite")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a number is too large")
