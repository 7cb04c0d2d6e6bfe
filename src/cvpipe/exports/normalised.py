"""`normalised.mp4`: the video at a constant rate, in one size and format; and which source frame each frame shows."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.errors import InvalidRequest
from cvpipe.exports.parts import Parts, last_picture, open_sink
from cvpipe.frames import TIME_STEP, View
from cvpipe.video import Decoders, VideoIndex
from cvpipe.video.clip import shown_pixel_aspect

MAX_FPS: Final = 240
_MAX_FRAMES: Final = 10_000_000
_QUALITY: Final = 18


def write_normalised(
    path: Path,
    decoders: Decoders,
    video: Path,
    index: VideoIndex,
    *,
    fps: float,
    max_side: int | None = None,
    view: View | None = None,
    numbers: range | None = None,
    between: tuple[float, float | None] | None = None,
    parts: Parts | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_damaged: Callable[[int], None] = lambda _number: None,
) -> dict[str, int]:
    """Write `video` to `path` (H.264, 4:2:0, MP4, no sound), and beside it `<name>.map.ndjson`.

    Frame k is shown at k / fps seconds and shows what the source shows then: the last frame that begins at that time or
    before. The map has a line for each: `{"frame": k, "time": s, "source": n, "source_time": s}`, times being seconds
    since the first frame of each of the two. Where that frame is damaged, the line has `"damaged": true`, and the
    picture before it stays; before the first whole one, that one is shown (black where there is none at all).
    fps: of the copy. max_side: longest side in pixels, at most. view: what to show of a frame, in colours; default: all
    of it. numbers: consecutive frames that the video is taken to consist of; time 0 is the first of them. between:
    instead of it, seconds since the first frame (None: the end); time 0 is the first of these, wherever frames begin.
    parts: make it part by part. on_progress: called with the frames made and their total. on_damaged: called with the
    number of each damaged frame, in order, at the end.
    Returns how many frames were made, how often one repeats the one before it, how many of the source are missing, and
    how many of those shown are damaged.
    Raises: InvalidRequest; as `Decoders.read` does.
    """
    if between is None:
        inside = range(len(index)) if numbers is None else numbers
        shown = sources_at_ticks(index, fps, inside)
    else:
        shown = sources_between(index, fps, *between)
        inside = _inside(index, shown, between[1])
    picture_view = sized(view or View.of(index.facts.display_width, index.facts.display_height), max_side)
    distinct = np.unique(shown)
    settings: dict[str, Any] = {
        "width": picture_view.width,
        "height": picture_view.height,
        "fps": fps,
        "format": picture_view.format,
        "quality": _QUALITY,
        "pixel_aspect": shown_pixel_aspect(index),
    }
    with open_sink(path, total=len(shown), parts=parts, **settings) as sink:
        done = sink.frames
        wanted = distinct[distinct >= shown[done]] if done < len(shown) else distinct[:0]
        earlier = distinct[: len(distinct) - len(wanted)]
        picture = last_picture(decoders, video, index, picture_view, earlier)
        damaged = _Damaged(parts)
        with decoders.read(video, index, wanted, [picture_view]) as frames:
            for frame in frames:
                if frame.images is None:
                    damaged.add(frame.number)
                else:
                    picture = np.empty_like(frame.images[0]) if picture is None else picture
                    np.copyto(picture, frame.images[0])
                    frame.release()
                if picture is None:
                    if frame.number != distinct[-1]:
                        continue  # the first whole frame is shown from the start
                    picture = np.zeros(picture_view.shape, np.uint8)
                while done < len(shown) and shown[done] <= frame.number:
                    if parts is not None and (done + 1) % parts.frames == 0:
                        damaged.keep()
                    sink.write(picture, done / fps)
                    done += 1
                    if on_progress is not None:
                        on_progress(done, len(shown))
    found = damaged.end()
    _write_map(path.with_suffix(".map.ndjson"), index, shown, fps, set(found))
    for number in found:
        on_damaged(number)
    return {
        "frames": len(shown),
        "repeated": len(shown) - len(distinct),
        "dropped": len(inside) - len(distinct),
        "damaged": len(found),
    }


class _Damaged:
    """Numbers of the damaged frames; where the work is done in parts, those that other workers met as well."""

    def __init__(self, parts: Parts | None) -> None:
        self._path = None if parts is None else parts.folder.with_name(f"{parts.folder.name}.damaged")
        known = self._path is not None and self._path.exists()
        self._numbers: set[int] = set(json.loads(self._path.read_bytes())) if self._path and known else set()
        self._kept = len(self._numbers)

    def add(self, number: int) -> None:
        self._numbers.add(number)

    def keep(self) -> None:
        """On disk, before the part is: whoever goes on behind it does not look at its frames again."""
        if self._path is None or len(self._numbers) == self._kept:
            return
        part = self._path.with_name(f".{self._path.name}.part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(sorted(self._numbers), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        self._kept = len(self._numbers)

    def end(self) -> list[int]:
        """All of them, ascending; nothing is left on disk."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        return sorted(self._numbers)


def sources_between(index: VideoIndex, fps: float, start: float, stop: float | None) -> npt.NDArray[np.int64]:
    """For each tick of an even clock, the number of the frame that is shown then, (ticks,) int64.

    start: the time of tick 0. stop: what the last tick lies before; None: the end. In seconds since the first frame.
    Raises: InvalidRequest.
    """
    _check_rate(fps)
    ends = index.facts.duration_seconds
    ends = max(ends, float(index.times[-1]) + 2 * TIME_STEP)
    until = ends if stop is None else min(stop, ends)
    if not 0 <= start < until:
        what = f"from {start:g} s on" if stop is None else f"from {start:g} to {stop:g} s"
        raise InvalidRequest(f"nothing is shown {what}; the video lasts {ends:g} s", field="from")
    ticks = start + np.arange(_count(until - start, fps)) / fps
    return np.searchsorted(index.times, ticks + TIME_STEP, side="right") - 1


def _inside(index: VideoIndex, shown: npt.NDArray[np.int64], stop: float | None) -> range:
    """Numbers of the frames that can be seen up to `stop`, from the first one shown."""
    end = len(index) if stop is None else int(np.searchsorted(index.times, round(stop, 6)))
    return range(int(shown[0]), max(end, int(shown[-1]) + 1))


def _check_rate(fps: float) -> None:
    if not 0 < fps <= MAX_FPS:
        raise InvalidRequest(f"must be above 0 and at most {MAX_FPS}, not {fps:g}", field="fps")


def _count(seconds: float, fps: float) -> int:
    """Of the ticks within so many seconds."""
    # Times are rounded: a frame at 0.016667 s is there for tick 1 at 60 fps.
    count = max(1, int(np.ceil((seconds - TIME_STEP) * fps)))
    if count > _MAX_FRAMES:
        raise InvalidRequest(
            f"{fps:g} frames a second would make {count} frames; {_MAX_FRAMES} are allowed", field="fps"
        )
    return count


def sources_at_ticks(index: VideoIndex, fps: float, numbers: range) -> npt.NDArray[np.int64]:
    """For each tick of an even clock, the number of the frame that is shown then, (ticks,) int64.

    numbers: consecutive frames; the first one's time is tick 0, the last tick lies before the end of the last one.
    Raises: InvalidRequest.
    """
    _check_rate(fps)
    if not len(numbers):
        raise InvalidRequest("no frame of the video lies in the range", field="range")
    times = index.times[numbers.start : numbers.stop] - index.times[numbers.start]
    ends = index.times[numbers.stop] if numbers.stop < len(index) else index.facts.duration_seconds
    lasts = max(float(ends - index.times[numbers.start]), float(times[-1]) + 2 * TIME_STEP)
    count = _count(lasts, fps)
    first = np.ceil((times - TIME_STEP) * fps).astype(np.int64)
    first[0] = 0
    return np.searchsorted(first, np.arange(count), side="right") - 1 + numbers.start


def sized(view: View, max_side: int | None) -> View:
    """The view in colours, no side longer than `max_side`."""
    view = view.with_format("bgr24")
    if max_side is None or max(view.width, view.height) <= max_side:
        return view
    # H.264 has even sizes only, and an odd one would get one pixel more.
    return view.resized(max_side - max_side % 2, max_side - max_side % 2)


def _write_map(
    path: Path, index: VideoIndex, shown: npt.NDArray[np.int64], fps: float, damaged: AbstractSet[int]
) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for k, source in enumerate(shown.tolist()):
                line: dict[str, float | bool] = {
                    "frame": k,
                    "time": round(k / fps, 6),
                    "source": source,
                    "source_time": float(index.times[source]),
                }
                if source in damaged:
                    line["damaged"] = True
                file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
