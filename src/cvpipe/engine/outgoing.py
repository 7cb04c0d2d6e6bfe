"""What goes outside: the items that a stage asks about, chosen from records and crops, and their pictures.

Pictures are made from the frame, and what is to be blurred is blurred on the frame first: whatever is cut out of it
then, of faces and plates there is nothing left to be made out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cvpipe.calls import CallItem
from cvpipe.conditions import frame_value, object_value
from cvpipe.errors import PictureWithheld
from cvpipe.events import Event
from cvpipe.frames import Image, View
from cvpipe.results import FrameRecord
from cvpipe.stages import is_true
from cvpipe.tracks import CropRecord, Key

if TYPE_CHECKING:
    from cvpipe.stages.external import External, ExternalOptions
    from cvpipe.video import Decoders, VideoIndex

_MOSAIC: Final = 4
"""What is blurred is left with so many cells along each side."""
_MARGIN: Final = 0.15
"""Blurred beyond a box, as a part of its size: detections are tight."""
_WHOLE: Final = 0.5
"""A crop of more than this part of the frame's area counts as the whole frame."""
_QUALITIES: Final = (85, 65, 45, 25)

Box = tuple[float, float, float, float]


class Shot(NamedTuple):
    """A picture to be made. box: of the object, in pixels of the displayed source frame; None: all of the frame."""

    frame: int
    box: Box | None


@dataclass(frozen=True, slots=True)
class Item:
    """What a server is asked about."""

    fields: Mapping[str, Any]
    shots: tuple[Shot, ...]
    told: CallItem

    @property
    def last(self) -> int:
        """The frame with which its pictures are complete; -1 where it has none."""
        return max((shot.frame for shot in self.shots), default=-1)


@dataclass(slots=True)
class _Track:
    fields: dict[str, Any] = field(default_factory=dict)
    frames: int = 0
    first: tuple[int, float] = (0, 0.0)
    last_time: float = 0.0
    best: list[tuple[float, Shot]] = field(default_factory=list)


class Choice:
    """Chooses what one stage asks about, from records in order. Memory: some hundred bytes an item, or a track."""

    def __init__(self, stage: External, gates: Sequence[str]) -> None:
        """gates: names of the stages that may have kept those that find what is blurred from looking."""
        self._stage, self._options, self._gates = stage, stage.options, gates
        self._of_crops = stage.asks_about_crops
        self._sightings: dict[Key, _Track] = {}
        self._items: list[Item] = []
        self._tracks: dict[Key, _Track] = {}
        self._seen = 0
        self._labels: dict[str, int] = {}
        self._numbers: set[tuple[str, int]] = set()
        self._frames: list[int] = []
        self.veiled: dict[int, npt.NDArray[np.float32]] = {}
        """What is to be blurred, by frame: (n, 4) boxes."""
        self.unseen: set[int] = set()
        """Frames that nobody has looked at for what is to be blurred."""

    def add(self, record: FrameRecord) -> None:
        """Take the next record."""
        if record.status != "ok":
            self.unseen.add(record.frame)
            return
        self._note_veils(record)
        if self._of_crops:
            self._note_tracks(record)
            return
        place_in_line, self._seen = self._seen, self._seen + 1
        match self._options.per:
            case "frame":
                if place_in_line % self._options.every == 0:
                    self._add_frame(record)
            case "object":
                if place_in_line % self._options.every == 0:
                    self._add_objects(record)
            case "track":
                self._add_to_tracks(record)
            case "job":
                self._count(record)

    def add_crop(self, crop: CropRecord) -> None:
        """Take the next crop, once all records are there."""
        if not self._of_crops or crop.stage != self._options.of:
            return
        x1, y1, x2, y2 = crop.object["box"]
        shot = Shot(crop.frame, (x1, y1, x2, y2) if self._options.images == "crop" else None)
        if self._options.per == "object":
            if len(self._items) < self._options.max_items:
                told = CallItem(of=crop.stage, frame=crop.frame, time=crop.time, place=crop.place)
                told.track = crop.object["track"]
                shots = () if self._options.images == "none" else (shot,)
                self._items.append(Item(self._fields_of(crop), shots, told))
        elif crop.track is not None:
            track = self._sightings[crop.track]
            if not track.best or crop.quality > track.best[0][0]:
                track.fields = self._fields_of(crop)
            self._keep_best(track, crop.quality, shot)

    def add_event(self, event: Event) -> None:
        """Take the next event of the job's log."""
        options = self._options
        if options.per != "event" or len(self._items) >= options.max_items or not self._is_wanted(event):
            return
        frame = event.evidence.frame
        shots: tuple[Shot, ...] = ()
        if options.images == "frame":
            shots = (Shot(frame, None),)
        elif options.images == "crop":
            shots = tuple(Shot(frame, _corners(row["box"])) for row in event.objects[: options.max_images])
        document = event.to_dict()
        values = {name: _below(document, name.split(".")) for name in options.declared}
        told = CallItem(of=event.stage, frame=frame, time=event.evidence.time, event=event.number)
        self._items.append(Item(values, tuple(dict.fromkeys(shots)), told))

    def _is_wanted(self, event: Event) -> bool:
        options = self._options
        return options.of in (None, event.stage) and (options.kinds is None or event.kind in options.kinds)

    def items(self) -> list[Item]:
        """The items, in the order in which their pictures can be made."""
        match self._options.per:
            case "track":
                tracks = self._sightings if self._of_crops else self._tracks
                found = [self._of_track(key[1], track) for key, track in tracks.items() if track.best]
            case "job":
                found = [self._of_job()]
            case _:
                found = self._items
        return sorted(found, key=lambda item: (item.last, item.told.frame or 0, item.told.place or 0))[
            : self._options.max_items
        ]

    def _note_veils(self, record: FrameRecord) -> None:
        if any(is_true(record, gate, "skipped") for gate in self._gates):
            self.unseen.add(record.frame)
        hidden = np.zeros(len(record.objects), bool)
        for name in self._options.blur:
            hidden |= record.objects.of_stage(name)
        if hidden.any():
            self.veiled[record.frame] = record.objects.box[hidden]

    def _add_frame(self, record: FrameRecord) -> None:
        if len(self._items) < self._options.max_items:
            values = {name: frame_value(record, tuple(name.split("."))) for name in self._options.declared}
            shots = (Shot(record.frame, None),) if self._options.images == "frame" else ()
            self._items.append(Item(values, shots, CallItem(frame=record.frame, time=record.time)))

    def _add_objects(self, record: FrameRecord) -> None:
        for place in self._places(record):
            if len(self._items) >= self._options.max_items:
                return
            track = int(record.objects.track[place])
            told = CallItem(
                of=self._options.of,
                frame=record.frame,
                time=record.time,
                place=place,
                track=None if track < 0 else track,
            )
            shot = self._shot(record, place)
            self._items.append(Item(self._fields(record, place), (shot,) if shot else (), told))

    def _add_to_tracks(self, record: FrameRecord) -> None:
        for place in self._places(record):
            number = int(record.objects.track[place])
            if number < 0:
                continue
            track = _seen(self._tracks, (str(self._options.of), number), record)
            x1, y1, x2, y2 = record.objects.box[place].tolist()
            merit = float(record.objects.score[place]) * (x2 - x1) * (y2 - y1)
            if not track.best or merit > track.best[0][0]:
                track.fields = self._fields(record, place)
            self._keep_best(track, merit, self._shot(record, place) or Shot(record.frame, None))

    def _note_tracks(self, record: FrameRecord) -> None:
        objects = record.objects
        for stage, number, filled in zip(objects.stage, objects.track.tolist(), objects.filled.tolist(), strict=True):
            if number >= 0 and not filled:
                _seen(self._sightings, (stage, number), record)

    def _keep_best(self, track: _Track, merit: float, shot: Shot) -> None:
        best = [*track.best, (merit, shot)]
        track.best = nlargest(self._options.max_images, best, key=lambda kept: (kept[0], -kept[1].frame))

    def _count(self, record: FrameRecord) -> None:
        self._frames.append(record.frame)
        for label, stage, track in zip(record.objects.label, record.objects.stage, record.objects.track, strict=True):
            self._labels[label] = self._labels.get(label, 0) + 1
            if track >= 0:
                self._numbers.add((stage, int(track)))

    def _of_track(self, number: int, track: _Track) -> Item:
        values = {**track.fields}
        known = {"frames": track.frames, "first_time": track.first[1], "last_time": track.last_time}
        values |= {name: value for name, value in known.items() if name in self._options.declared}
        shots = tuple(shot for _, shot in track.best) if self._options.images != "none" else ()
        told = CallItem(of=self._options.of, frame=track.first[0], time=track.first[1], track=number)
        return Item(values, tuple(sorted(shots)), told)

    def _of_job(self) -> Item:
        values = {
            "frames": len(self._frames),
            "labels": dict(sorted(self._labels.items())),
            "tracks": len(self._numbers),
        }
        wanted = min(self._options.max_images, len(self._frames)) if self._options.images == "frame" else 0
        chosen = [self._frames[(2 * n + 1) * len(self._frames) // (2 * wanted)] for n in range(wanted)]
        told = {name: values[name] for name in self._options.declared}
        return Item(told, tuple(Shot(frame, None) for frame in chosen), CallItem())

    def _places(self, record: FrameRecord) -> list[int]:
        of = self._options.of
        when = self._stage.when
        places = np.flatnonzero(record.objects.of_stage(str(of)) & ~record.objects.filled).tolist()
        return [place for place in places if when is None or when.holds_for(record, place)]

    def _fields(self, record: FrameRecord, place: int) -> dict[str, Any]:
        return {name: object_value(record, place, tuple(name.split("."))) for name in self._options.declared}

    def _fields_of(self, crop: CropRecord) -> dict[str, Any]:
        return {name: _crop_value(crop, tuple(name.split("."))) for name in self._options.declared}

    def _shot(self, record: FrameRecord, place: int) -> Shot | None:
        match self._options.images:
            case "crop":
                x1, y1, x2, y2 = record.objects.box[place].tolist()
                return Shot(record.frame, (x1, y1, x2, y2))
            case "frame":
                return Shot(record.frame, None)
        return None


def _seen(tracks: dict[Key, _Track], key: Key, record: FrameRecord) -> _Track:
    """The track, seen on one more frame."""
    track = tracks.setdefault(key, _Track(first=(record.frame, record.time)))
    track.frames += 1
    track.last_time = record.time
    return track


def _crop_value(crop: CropRecord, path: tuple[str, ...]) -> Any:
    """A field of a crop's object, or what a stage found out about it; None where there is none."""
    if path[0] in ("frame", "time"):
        return getattr(crop, path[0])
    x1, y1, x2, y2 = crop.object["box"]
    derived = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1}
    derived["area"] = derived["width"] * derived["height"]
    return _below({**crop.object, **derived, **(crop.object.get("values") or {})}, path)


def _below(value: Any, path: Iterable[str]) -> Any:
    """What lies at a path of plain values; None where nothing does."""
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _corners(box: Sequence[float]) -> Box:
    x1, y1, x2, y2 = box
    return x1, y1, x2, y2


class Picture(NamedTuple):
    """A picture's file, and the perceptual hash of what it shows: 16 hexadecimal digits."""

    data: bytes
    hash: str


def with_pictures(
    items: Sequence[Item],
    choice: Choice,
    options: ExternalOptions,
    *,
    decoders: Decoders,
    path: Path,
    index: VideoIndex,
    cv2: Any,
    frames_allowed: bool,
) -> Iterator[tuple[Item, tuple[Picture, ...] | PictureWithheld]]:
    """The items, in order, with their pictures, or why these are withheld.

    frames_allowed: whether pictures of whole frames may be sent. Memory: the files of the items that wait for their
    last frame. Raises: VideoError, DecoderUnavailable.
    """
    wanted: dict[int, list[tuple[int, Shot]]] = {}
    for place, item in enumerate(items):
        for shot in item.shots:
            wanted.setdefault(shot.frame, []).append((place, shot))
    made: dict[int, list[tuple[Shot, Picture | PictureWithheld]]] = {}
    done = 0
    for number, image in _frames(sorted(wanted), decoders, path, index):
        veiled = None if image is None else _veiled(image, choice.veiled.get(number), cv2)
        for place, shot in wanted[number]:
            try:
                if veiled is None:
                    raise PictureWithheld(f"frame {number} can't be decoded")
                if number in choice.unseen and options.blur:
                    raise PictureWithheld(f"nobody looked for what is to be blurred on frame {number}")
                picture: Picture | PictureWithheld = _picture(veiled, shot, options, cv2, frames_allowed=frames_allowed)
            except PictureWithheld as error:
                picture = error
            made.setdefault(place, []).append((shot, picture))
        while done < len(items) and items[done].last <= number:
            yield items[done], _joined(items[done], made.pop(done, []))
            done += 1
    for item in items[done:]:
        yield item, ()


def _joined(
    item: Item, made: Iterable[tuple[Shot, Picture | PictureWithheld]]
) -> tuple[Picture, ...] | PictureWithheld:
    by_shot = dict(made)
    found = [by_shot[shot] for shot in item.shots]
    withheld = next((picture for picture in found if isinstance(picture, PictureWithheld)), None)
    return withheld or tuple(picture for picture in found if isinstance(picture, Picture))


def _frames(
    numbers: Sequence[int], decoders: Decoders, path: Path, index: VideoIndex
) -> Iterator[tuple[int, Image | None]]:
    if not numbers:
        return
    view = View.of(index.facts.display_width, index.facts.display_height, format="bgr24")
    with decoders.read(path, index, np.array(numbers, np.int64), [view], hold=1) as decoded:
        for frame in decoded:
            try:
                yield frame.number, None if frame.images is None else frame.images[0]
            finally:
                frame.release()


def _veiled(image: Image, boxes: npt.NDArray[np.float32] | None, cv2: Any) -> Image:
    """The frame with these boxes made unrecognisable."""
    if boxes is None:
        return image
    image = np.array(image)  # the decoder's memory is used again
    for x1, y1, x2, y2 in boxes.tolist():
        left, top, right, bottom = _on_frame((x1, y1, x2, y2), 1 + 2 * _MARGIN, image)
        part = image[top:bottom, left:right]
        if part.size:
            small = cv2.resize(part, (_MOSAIC, _MOSAIC), interpolation=cv2.INTER_AREA)
            image[top:bottom, left:right] = cv2.resize(
                small, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
            )
    return image


def _picture(image: Image, shot: Shot, options: ExternalOptions, cv2: Any, *, frames_allowed: bool) -> Picture:
    """Raises: PictureWithheld."""
    if shot.box is not None:
        left, top, right, bottom = _on_frame(shot.box, options.grow, image)
        part = image[top:bottom, left:right]
        if not part.size:
            raise PictureWithheld("nothing of the object is on the frame")
    else:
        part = image
    if not frames_allowed and part.size > _WHOLE * image.size:
        raise PictureWithheld("it shows more than half of the frame, and whole frames are not sent")
    height, width = part.shape[:2]
    scale = min(1.0, options.max_side / max(width, height))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return Picture(_encoded(np.ascontiguousarray(part), options, cv2), _hash(part, cv2))


def _encoded(image: Image, options: ExternalOptions, cv2: Any) -> bytes:
    ways = [[cv2.IMWRITE_JPEG_QUALITY, quality] for quality in _QUALITIES] if options.format == "jpeg" else [[]]
    size = 0
    for how in ways:
        is_made, data = cv2.imencode(".jpg" if options.format == "jpeg" else ".png", image, how)
        assert is_made
        encoded: bytes = data.tobytes()
        if (size := len(encoded)) <= options.max_image_bytes:
            return encoded
    raise PictureWithheld(f"its file has {size} bytes, more than `max_image_bytes`")


def _hash(image: Image, cv2: Any) -> str:
    """Which of its neighbours each of 8 x 8 cells is brighter than (dHash)."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = (grey[:, 1:] > grey[:, :-1]).flatten()
    return np.packbits(bits).tobytes().hex()


def distance(one: str, other: str) -> int:
    """In how many bits two perceptual hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def _on_frame(box: Box, grow: float, image: Image) -> tuple[int, int, int, int]:
    """The whole pixels of a box, grown about its middle, that are on the frame: left, top, right, bottom."""
    x1, y1, x2, y2 = box
    wide, high = (x2 - x1) * (grow - 1) / 2, (y2 - y1) * (grow - 1) / 2
    height, width = image.shape[:2]
    left, top = max(0, int(np.floor(x1 - wide))), max(0, int(np.floor(y1 - high)))
    return left, top, min(width, int(np.ceil(x2 + wide))), min(height, int(np.ceil(y2 + high)))


def without_values(item: Item, pictures: Sequence[Picture]) -> CallItem:
    """What the ledger says of an item before it has an answer."""
    return item.told.model_copy(update={"pictures": [picture.hash for picture in pictures]})
