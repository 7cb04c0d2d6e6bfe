"""`annotated.mp4`: the video with what was found drawn on it."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cvpipe.events import Event
from cvpipe.exports.overlay import (
    Skeleton,
    counts_of,
    draw_dashes,
    draw_keypoints,
    draw_shape,
    masks_in,
    paint_mask,
    skeleton_for,
)
from cvpipe.exports.parts import Parts, last_picture, open_sink
from cvpipe.exports.ticker import Ticker, words_for
from cvpipe.frames import Image, View
from cvpipe.results import FrameRecord, Objects
from cvpipe.shapes import Shape
from cvpipe.video import Decoders, VideoIndex
from cvpipe.video.lettering import Lettering

MAX_SIZE: Final = (1920, 1080)
"""A larger video is drawn smaller: it is for looking at, and encoding takes longer than all the rest."""

_TRAIL_SECONDS: Final = 1.5
_WHITE: Final = (255, 255, 255)
_BLACK: Final = (16, 16, 16)
_RED: Final = (50, 50, 220)
_EVENT: Final = (60, 210, 250)

_PALETTE: Final = tuple(
    (int(code[4:], 16), int(code[2:4], 16), int(code[:2], 16))
    for code in (
        "ff5a5f", "2ec4b6", "ffbf1f", "4d9de0", "b86bff", "8ac926", "ff8c42", "00c2ff", "ff70c0", "38d67a",
        "e8e04a", "7a86ff", "ff9f9a", "20a39e", "d4a5ff", "b5d33d", "f2a65a", "6fd3ff", "e05299", "a8e6a1",
    )
)  # fmt: skip
"""Colours (blue, green, red) far from their neighbours, bright enough for dark text and on dark pictures."""

Rectangle = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


def write_annotated(  # noqa: PLR0917 - they have no order to confuse: all are of different types
    path: Path,
    decoders: Decoders,
    video: Path,
    index: VideoIndex,
    records: Iterable[FrameRecord] | Callable[[int], Iterable[FrameRecord]],
    cv2: Any,
    *,
    numbers: Sequence[int] | None = None,
    parts: Parts | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    skeletons: Mapping[str, Skeleton] | None = None,
    shapes: Sequence[Shape] = (),
    events: Iterable[Event] = (),
) -> None:
    """Write `video` to `path` with the objects of its records drawn on it, and the time.

    records: ordered by frame. A frame without one (decimated) keeps the drawing of the last before it. Or a callable
    that gives them from the last at or before a frame on, for one that goes on where an earlier run has stopped.
    numbers: of the frames to write, ascending; default: all. The first is at time 0 of the new file; the time drawn is
    the source's. parts: make it part by part. on_progress: called with the frames done and their total.
    skeletons: which keypoints are joined, by the name of the stage that found the objects. shapes: lines and polygons
    that stages look at. events: all of the video. The file appears when it is whole.
    Raises: as `Decoders.read` does.
    """
    facts = index.facts
    wanted = np.arange(len(index)) if numbers is None else np.array(numbers, np.int64)
    whole = View.of(facts.display_width, facts.display_height)
    width, height = min(whole.width, MAX_SIZE[0]), min(whole.height, MAX_SIZE[1])
    view = whole if (width, height) == (whole.width, whole.height) else whole.resized(width, height)
    annotator = Annotator(cv2, view, skeletons=skeletons, shapes=shapes, events=events)
    start = float(index.times[wanted[0]]) if len(wanted) else 0.0
    with (
        open_sink(path, total=len(wanted), parts=parts, width=view.width, height=view.height, fps=facts.fps) as sink,
        decoders.read(video, index, wanted[sink.frames :], [view]) as frames,
    ):
        before = last_picture(decoders, video, index, view, wanted[: sink.frames])
        picture = np.zeros(view.shape, np.uint8) if before is None else before
        last = _go_on(annotator, records, index, wanted, sink.frames)
        for done, frame in enumerate(frames, sink.frames + 1):
            if frame.images is not None:  # a damaged frame shows the one before it
                np.copyto(picture, frame.images[0])
                frame.release()
            time = float(index.times[frame.number])
            drawn = picture.copy()
            annotator.draw(drawn, last.at(frame.number), frame=frame.number, time=time, is_damaged=frame.images is None)
            sink.write(drawn, time - start)
            if on_progress is not None:
                on_progress(done, len(wanted))


def _go_on(
    annotator: Annotator,
    records: Iterable[FrameRecord] | Callable[[int], Iterable[FrameRecord]],
    index: VideoIndex,
    wanted: npt.NDArray[np.int64],
    done: int,
) -> _LastRecord:
    """The records, and the annotator, as they are after the first `done` of the frames wanted."""
    first = 0
    if not callable(records):
        last = _LastRecord(records)
    elif not done:
        last = _LastRecord(records(int(wanted[0]) if len(wanted) else 0))
    else:
        before = int(wanted[done - 1])
        newest = _LastRecord(records(before)).at(before)
        if newest is not None:  # what it still shows of earlier ones is no older than a trail is long
            before = int(np.searchsorted(index.times, newest.time - 2 * _TRAIL_SECONDS))
        last, first = _LastRecord(records(before)), int(np.searchsorted(wanted, before))
    for number in wanted[first:done].tolist():
        annotator.follow(last.at(number))
    return last


class _LastRecord:
    """The last record at or before a frame, for frames in order."""

    def __init__(self, records: Iterable[FrameRecord]) -> None:
        self._records: Iterator[FrameRecord] = iter(records)
        self._next = next(self._records, None)
        self._last: FrameRecord | None = None

    def at(self, number: int) -> FrameRecord | None:
        while self._next is not None and self._next.frame <= number:
            self._last, self._next = self._next, next(self._records, None)
        return self._last


class Annotator:
    """Draws records onto pictures of one view, in the order of the frames."""

    def __init__(
        self,
        cv2: Any,
        view: View,
        *,
        skeletons: Mapping[str, Skeleton] | None = None,
        shapes: Sequence[Shape] = (),
        events: Iterable[Event] = (),
    ) -> None:
        self._cv2, self._view, self._skeletons = cv2, view, skeletons or {}
        self._shapes, self._ticker = shapes, Ticker(events)
        self._text = Lettering(cv2, size=max(11, round(min(view.width, view.height) / 30)))
        self._line = max(1, round(min(view.width, view.height) / 270))
        self._trails: dict[int, deque[tuple[float, int, int]]] = {}
        self._drawn: FrameRecord | None = None

    def draw(
        self, image: Image, record: FrameRecord | None, *, frame: int, time: float, is_damaged: bool = False
    ) -> None:
        """Draw onto `image`, uint8 (height, width, 3) BGR of the view, in place.

        record: what is known, None for nothing. frame, time: of the picture, in seconds.
        """
        taken: list[Rectangle] = []
        if record is not None:
            self._draw_masks(image, record)
        for shape in self._shapes:
            colour = _palette(zlib.crc32(shape.name.encode()))
            draw_shape(image, shape, self._view, colour, line=self._line, cv2=self._cv2)
        clock = f"{int(time // 60):02d}:{time % 60:05.2f}   frame {frame}"
        self._chip(image, clock, (self._line * 3, self._view.height - self._line * 3), _BLACK, taken, from_bottom=True)
        self._draw_events(image, time, taken)
        if is_damaged or (record is not None and record.frame == frame and record.status != "ok"):
            word = "decode error" if is_damaged or record is None else record.status.replace("_", " ")
            self._chip(image, word, (self._line * 3, self._line * 3), _RED, taken)
        if record is None:
            return
        self.follow(record)
        self._draw_trails(image, record.time)
        boxes = self._view.from_source(record.objects.box).round().astype(int).tolist()
        colours = [_colour(record.objects, n) for n in range(len(boxes))]
        for (left, top, right, bottom), colour, filled in zip(boxes, colours, record.objects.filled, strict=True):
            if filled:
                draw_dashes(image, (left, top, right, bottom), colour, line=self._line, cv2=self._cv2)
                continue
            # A dark edge keeps a bright line visible on a bright picture.
            self._cv2.rectangle(image, (left, top), (right, bottom), _BLACK, self._line + 2)
            self._cv2.rectangle(image, (left, top), (right, bottom), colour, self._line)
        for n, points in enumerate(record.objects.keypoints):
            if points is not None:
                skeleton = skeleton_for(points, self._skeletons.get(record.objects.stage[n]))
                draw_keypoints(image, points, skeleton, self._view, colours[n], line=self._line, cv2=self._cv2)
        self._name_shapes(image, record, taken)
        # The surest last, so that its caption gets a place first and its line lies on top.
        for n in np.argsort(-record.objects.score, kind="stable").tolist():
            self._caption(image, boxes[n], caption_of(record.objects, n), colours[n], taken)

    def _draw_events(self, image: Image, time: float, taken: list[Rectangle]) -> None:
        """What has just happened, in the upper right corner."""
        y = self._line * 3
        for event in self._ticker.at(time):
            text = words_for(event)
            width, height = self._text.chip_size(text)
            self._chip(image, text, (self._view.width - width - self._line * 3, y), _EVENT, taken)
            y += height + self._line

    def _name_shapes(self, image: Image, record: FrameRecord, taken: list[Rectangle]) -> None:
        """The name of each line and polygon, with the numbers that its stage tells of it."""
        for shape in self._shapes:
            x, y = self._view.from_source(np.array(shape.points)).round().astype(int).tolist()[0]
            colour = _palette(zlib.crc32(shape.name.encode()))
            self._chip(image, counts_of(shape, record), (x + self._line * 2, y + self._line * 2), colour, taken)

    def _draw_masks(self, image: Image, record: FrameRecord) -> None:
        for stage, label, mask in masks_in(record):
            paint_mask(image, mask, self._view, _palette(zlib.crc32(f"{stage}/{label}".encode())), self._cv2)
        for n, own in enumerate(record.objects.mask):
            if own is not None:
                paint_mask(image, own, self._view, _colour(record.objects, n), self._cv2)

    def _caption(
        self, image: Image, box: list[int], text: str, colour: tuple[int, int, int], taken: list[Rectangle]
    ) -> None:
        """A caption above its box, or where there is place: inside it, below it."""
        left, top, _, bottom = box
        height = self._text.chip_size(text)[1]
        edge = self._line // 2
        places = [(left - edge, top - height - edge), (left - edge, top - edge), (left - edge, bottom + edge)]
        free = [place for place in places if not self._collides(self._place(text, place), taken)]
        free += [place for place in places if 0 <= place[1] <= self._view.height - height]
        self._chip(image, text, (free or places)[0], colour, taken)

    def _place(self, text: str, at: tuple[int, int]) -> Rectangle:
        width, height = self._text.chip_size(text)
        return max(0, min(at[0], self._view.width - width)), at[1], width, height

    def _collides(self, one: Rectangle, taken: list[Rectangle]) -> bool:
        x, y, width, height = one
        if y < 0 or y + height > self._view.height:
            return True
        return any(x < a + w and a < x + width and y < b + h and b < y + height for a, b, w, h in taken)

    def _chip(
        self,
        image: Image,
        text: str,
        at: tuple[int, int],
        colour: tuple[int, int, int],
        taken: list[Rectangle],
        *,
        from_bottom: bool = False,
    ) -> None:
        """Text on a filled rectangle."""
        x, y, width, height = self._place(text, at)
        y = max(0, min(y - height if from_bottom else y, self._view.height - height))
        taken.append((x, y, width, height))
        self._cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), colour, -1)
        self._text.write(image, text, x, y, _BLACK if _is_bright(colour) else _WHITE)

    def follow(self, record: FrameRecord | None) -> None:
        """Remember where tracked objects stand, the middle of the lower edge, without drawing anything."""
        if record is None or record is self._drawn:
            return
        self._drawn = record
        objects = record.objects
        foot = np.stack([(objects.box[:, 0] + objects.box[:, 2]) / 2, objects.box[:, 3]], axis=-1)
        for track, (x, y) in zip(objects.track.tolist(), self._view.from_source(foot).round().tolist(), strict=True):
            if track >= 0:
                self._trails.setdefault(track, deque()).append((record.time, int(x), int(y)))
        for track, trail in list(self._trails.items()):
            while trail and trail[0][0] < record.time - _TRAIL_SECONDS:
                trail.popleft()
            if not trail:
                del self._trails[track]

    def _draw_trails(self, image: Image, time: float) -> None:
        for track, trail in self._trails.items():
            points = list(trail)
            for (_, x1, y1), (then, x2, y2) in pairwise(points):
                age = (time - then) / _TRAIL_SECONDS
                thickness = max(1, round(self._line * 1.5 * (1 - age)))
                self._cv2.line(image, (x1, y1), (x2, y2), _palette(track), thickness, self._cv2.LINE_AA)


def caption_of(objects: Objects, n: int) -> str:
    """`red car 7  91%`; what was read stands in the place of the score, what `classify` said before the label."""
    track, text = int(objects.track[n]), objects.text[n]
    words = [*_classified(objects.values[n] or {}), objects.label[n], *([str(track)] if track >= 0 else [])]
    name = " ".join(words)
    if text:
        return text if name == "text" else f"{name}: {text}"
    return f"{name}  {objects.score[n]:.0%}"


def _classified(values: Mapping[str, Any]) -> Iterator[str]:
    """The likeliest label of each stage that classified the object."""
    for value in values.values():
        best = value.get("top") if isinstance(value, Mapping) else None
        if isinstance(best, list) and best and isinstance(best[0], Mapping) and "label" in best[0]:
            yield str(best[0]["label"])


def _colour(objects: Objects, n: int) -> tuple[int, int, int]:
    """By track where there is one; else by stage and label, equal in every video."""
    track = int(objects.track[n])
    return _palette(track if track >= 0 else zlib.crc32(f"{objects.stage[n]}/{objects.label[n]}".encode()))


def _palette(number: int) -> tuple[int, int, int]:
    return _PALETTE[number % len(_PALETTE)]


def _is_bright(colour: tuple[int, int, int]) -> bool:
    blue, green, red = colour
    return 0.114 * blue + 0.587 * green + 0.299 * red > 110
