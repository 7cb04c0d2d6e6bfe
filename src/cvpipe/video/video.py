"""Random access: any frame of a video, by its number or by its time, exactly as reading it from the start gives it."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import numpy as np
import numpy.typing as npt

from cvpipe.errors import FrameDamaged, InvalidRequest, NotFound
from cvpipe.frames import Image, View
from cvpipe.video.decoders import Decoded, Decoders
from cvpipe.video.index import VideoFacts, VideoIndex


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One frame of a video; its picture is its own.

    number: in display order, from 0. pts: in the stream's time base. time: seconds since the first frame. duration:
    seconds until the next one. view: what its picture shows. error: why there is no picture, None where there is one.
    """

    number: int
    pts: int
    time: float
    duration: float
    view: View
    error: str | None = None
    _image: Image | None = field(default=None, repr=False)

    @property
    def image(self) -> Image:
        """uint8 array of `view.shape`, read-only. Raises: FrameDamaged."""
        if self._image is None:
            raise FrameDamaged(f"frame {self.number} ({self.time:g} s) can't be decoded: {self.error}")
        return self._image

    def __repr__(self) -> str:
        shown = f"image=uint8{list(self.view.shape)}" if self.error is None else f"error={self.error!r}"
        return f"VideoFrame(number={self.number}, time={self.time:.6g}, duration={self.duration:.6g}, {shown})"


class Video:
    """A video file, to be looked at anywhere. Names and meanings are torchcodec's where it has them.

        with Video("match.mp4") as video:
            video[12].image                                      # uint8 (height, width, 3), RGB
            video.get_frame_played_at(48.0)                      # what a player shows then
            video.get_frames_at([50, 1, 50], view=video.view.resized(640, 360))

    What comes back does not depend on what else is asked for. Numbers count frames in display order, from 0, negative
    ones from the end. Times are seconds since the first frame, good to the microsecond. A damaged frame comes with its
    `error`; asking for its `image` raises.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        decoders: Decoders | None = None,
        index: VideoIndex | None = None,
        stream: int | None = None,
    ) -> None:
        """Index the video, unless `index` is given.

        decoders: to read with; default: own ones, which `close` ends. stream: index of the video stream in the file;
        default: the one that a player would show.
        Raises: NotFound, VideoError, DecoderUnavailable, ExtraMissing.
        """
        self.path = Path(path)
        self._own = decoders is None
        self._decoders = Decoders() if decoders is None else decoders
        try:
            self.index = self._decoders.index(self.path, stream=stream) if index is None else index
            if stream is not None and self.facts.stream != stream:
                raise InvalidRequest(f"the index is of stream {self.facts.stream}, not {stream}", field="stream")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoders, unless they were handed over. Pictures stay as they are."""
        if self._own:
            self._decoders.close()

    @property
    def facts(self) -> VideoFacts:
        """What was measured of the video."""
        return self.index.facts

    @property
    def view(self) -> View:
        """Frames as they are shown, in RGB; others are made of it (`video.view.resized(640, 360)`)."""
        return View.of(self.facts.display_width, self.facts.display_height, format="rgb24")

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"Video({self.path.name!r}, {self.index!r})"

    @overload
    def __getitem__(self, key: int) -> VideoFrame: ...

    @overload
    def __getitem__(self, key: slice) -> list[VideoFrame]: ...

    def __getitem__(self, key: int | slice) -> VideoFrame | list[VideoFrame]:
        if isinstance(key, slice):
            return self._read(range(len(self))[key], None)
        return self.get_frame_at(key)

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.frames()

    def frames(
        self, start: int = 0, stop: int | None = None, step: int = 1, *, view: View | None = None
    ) -> Iterator[VideoFrame]:
        """Frames one after another, as `get_frames_in_range` has them. Memory: a few frames."""
        numbers = self._range(start, len(self) if stop is None else stop, step)
        return self._each(numbers, view or self.view)

    def get_frame_at(self, number: int, *, view: View | None = None) -> VideoFrame:
        """The frame with a number. Raises: NotFound."""
        return self.get_frames_at([number], view=view)[0]

    def get_frames_at(self, numbers: Sequence[int], *, view: View | None = None) -> list[VideoFrame]:
        """The frames with these numbers, in this order, which may be any, with repeats.

        Each is decoded once, in the order of the file. Memory: that of all pictures. Raises: NotFound.
        """
        return self._read([self._number(number) for number in numbers], view)

    def get_frames_in_range(
        self, start: int, stop: int, step: int = 1, *, view: View | None = None
    ) -> list[VideoFrame]:
        """The frames start, start + step, ... before stop. Memory: that of all pictures. Raises: NotFound."""
        return self._read(self._range(start, stop, step), view)

    def get_frame_played_at(self, seconds: float, *, view: View | None = None) -> VideoFrame:
        """The frame that is shown at a time: the last one that begins then or before. Raises: NotFound."""
        return self.get_frames_played_at([seconds], view=view)[0]

    def get_frames_played_at(self, seconds: Sequence[float], *, view: View | None = None) -> list[VideoFrame]:
        """The frames that are shown at these times, in this order. Raises: NotFound."""
        return self._read([self._number_played_at(second) for second in seconds], view)

    def get_frames_played_in_range(
        self, start_seconds: float, stop_seconds: float, *, view: View | None = None
    ) -> list[VideoFrame]:
        """All frames that can be seen in start <= time < stop: the first may have begun before. Raises: NotFound."""
        stop_seconds = _seconds(stop_seconds)
        if stop_seconds < _seconds(start_seconds):
            raise InvalidRequest(f"the range ends at {stop_seconds:g} s, before it begins at {start_seconds:g} s")
        first = self._number_played_at(start_seconds)
        if stop_seconds > self.facts.duration_seconds:
            raise self._nothing_at(stop_seconds)
        stop = int(np.searchsorted(self.index.times, stop_seconds)) if stop_seconds > _seconds(start_seconds) else first
        return self._read(range(first, stop), view)

    def get_frame_nearest(self, seconds: float, *, view: View | None = None) -> VideoFrame:
        """The frame that begins nearest to a time, whatever the time; of two, the earlier."""
        times, seconds = self.index.times, _seconds(seconds)
        after = min(int(np.searchsorted(times, seconds)), len(times) - 1)
        before = max(after - 1, 0)
        return self._read([before if seconds - times[before] <= times[after] - seconds else after], view)[0]

    def _read(self, numbers: Sequence[int], view: View | None) -> list[VideoFrame]:
        distinct = np.unique(np.array(numbers, np.int64))
        made = {frame.number: frame for frame in self._each(distinct, view or self.view)}
        return [made[number] for number in numbers]

    def _each(self, numbers: range | npt.NDArray[np.int64], view: View) -> Iterator[VideoFrame]:
        with self._decoders.read(self.path, self.index, np.asarray(numbers, np.int64), [view]) as reading:
            for decoded in reading:
                frame = self._frame(decoded, view)
                decoded.release()
                yield frame

    def _frame(self, decoded: Decoded, view: View) -> VideoFrame:
        image = None
        if decoded.images is not None:
            image = decoded.images[0].copy()
            image.flags.writeable = False
        number, times = decoded.number, self.index.times
        end = times[number + 1] if number + 1 < len(self) else self.facts.duration_seconds
        return VideoFrame(
            number=number,
            pts=int(self.index.pts[number]),
            time=float(times[number]),
            duration=round(float(end - times[number]), 6),
            view=view,
            error=None if image is not None else decoded.error or "the decoder gave no picture",
            _image=image,
        )

    def _number(self, number: int) -> int:
        return self._counted(number, len(self) - 1)

    def _counted(self, number: int, last: int) -> int:
        """A number from 0 to `last`, from one that may count from the end of the video."""
        given = operator.index(number)
        counted = given + len(self) if given < 0 else given
        if not 0 <= counted <= last:
            frames = f"{len(self)} frames, 0 to {len(self) - 1}" if len(self) > 1 else "one frame, 0"
            raise NotFound(f"there is no frame {given}: the video has {frames}", field="number")
        return counted

    def _range(self, start: int, stop: int, step: int) -> range:
        if step < 1:
            raise InvalidRequest(f"must be at least 1, not {step}", field="step")
        # A range may begin where it ends, even at the end of the video.
        return range(self._counted(start, len(self)), self._counted(stop, len(self)), step)

    def _number_played_at(self, seconds: float) -> int:
        seconds = _seconds(seconds)
        if not 0 <= seconds < self.facts.duration_seconds:
            raise self._nothing_at(seconds)
        return int(np.searchsorted(self.index.times, seconds, side="right")) - 1

    def _nothing_at(self, seconds: float) -> NotFound:
        lasts = self.facts.duration_seconds
        return NotFound(f"nothing is shown at {seconds:g} s: the video is from 0 to {lasts:g} s", field="time")


def _seconds(seconds: float) -> float:
    """A time as exact as the index has it: two thirds of a second are there 0.666667."""
    if not np.isfinite(seconds):
        raise InvalidRequest(f"a time is a number of seconds, not {seconds}", field="time")
    return round(float(seconds), 6)
