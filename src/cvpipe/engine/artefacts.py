"""Artefacts: the files that job stages make of a whole video."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from cvpipe.footage import Paint
from cvpipe.frames import Image, View
from cvpipe.pipeline import PipelineSpec, job_stages
from cvpipe.results import FrameRecord
from cvpipe.stages import Tools, blaming

if TYPE_CHECKING:
    from cvpipe.exports.parts import Parts
    from cvpipe.video import Decoders, VideoIndex

RECORDS: Final = "frames.ndjson"
_JPEG_QUALITY: Final = 92
_PICTURES_A_TURN: Final = 200

_FIRST_FRAMES: Final = 250

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LocalFootage:
    """A part of a video, read in this process. `stages.Footage` says what it is for."""

    decoders: Decoders
    video: Path
    index: VideoIndex
    part: range
    view: View
    on_progress: OnProgress | None = None
    parts_of: Callable[[str], Parts] | None = None
    records_file: Path | None = None
    tools: Tools | None = None

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """When each frame of the whole video is shown, in seconds since the first one."""
        return self.index.times

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        return self.index.facts.fps

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the displayed source frame in pixels."""
        return self.index.facts.display_width, self.index.facts.display_height

    def still(self, width: int, height: int) -> Image | None:
        """The first frame that can be read, of this size; looked for among the first 250."""
        view = View.of(*self.size).resized(width, height, mode="stretch")
        numbers = np.arange(self.part.start, min(self.part.stop, self.part.start + _FIRST_FRAMES))
        with self.decoders.read(self.video, self.index, numbers, [view]) as frames:
            for frame in frames:
                if frame.images is not None:
                    picture = frame.images[0].copy()
                    frame.release()
                    return picture
        return None

    def records(self) -> Iterator[FrameRecord]:
        """All records of the job, from the file that was written of them."""
        assert self.records_file is not None
        with self.records_file.open(encoding="utf-8") as lines:
            for line in lines:
                yield FrameRecord.from_dict(json.loads(line))

    def write_painted(
        self, path: Path, numbers: npt.NDArray[np.int64], times: npt.NDArray[np.float64], paint: Paint
    ) -> None:
        """Write frames of the video as it is, each painted on before."""
        from cvpipe.exports.painted import write_painted

        parts = None if self.parts_of is None else self.parts_of(path.name)
        write_painted(
            path, self.decoders, self.video, self.index, numbers, times, paint, parts=parts,
            on_progress=self.on_progress,
        )  # fmt: skip

    def write_pictures(self, folder: Path, numbers: npt.NDArray[np.int64]) -> None:
        """Write frames of the video as they are to a folder; makes way for others after each 200."""
        assert self.tools is not None
        cv2 = self.tools.cv2
        folder.mkdir(parents=True, exist_ok=True)
        there = {entry.name for entry in folder.iterdir()}
        wanted = [n for n in numbers.tolist() if f"{n:06d}.jpg" not in there]
        parts = None if self.parts_of is None else self.parts_of(folder.name)
        view = View.of(*self.size)
        with self.decoders.read(self.video, self.index, np.array(wanted, np.int64), [view]) as frames:
            for done, frame in enumerate(frames, 1):
                if frame.images is not None:
                    _, data = cv2.imencode(".jpg", frame.images[0], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
                    frame.release()
                    part = folder / f".{frame.number:06d}.part"
                    part.write_bytes(data.tobytes())
                    part.replace(folder / f"{frame.number:06d}.jpg")
                if self.on_progress is not None:
                    self.on_progress(done, len(wanted))
                if parts is not None and done % _PICTURES_A_TURN == 0 and done < len(wanted):
                    parts.on_part()

    def write_normalised(self, path: Path, *, fps: float, max_side: int | None) -> None:
        """Write a copy at a constant rate, and beside it which source frame each of its frames shows."""
        from cvpipe.exports.normalised import write_normalised

        write_normalised(
            path,
            self.decoders,
            self.video,
            self.index,
            fps=fps,
            max_side=max_side,
            view=self.view,
            numbers=self.part,
            parts=None if self.parts_of is None else self.parts_of(path.name),
            on_progress=self.on_progress,
        )


def write_artefacts(
    spec: PipelineSpec,
    folder: Path,
    decoders: Decoders,
    video: Path,
    index: VideoIndex,
    *,
    part: range,
    tools: Tools,
    on_progress: OnProgress | None = None,
    parts_of: Callable[[str], Parts] | None = None,
    is_made: Callable[[str], bool] = lambda _name: False,
    on_begin: Callable[[Sequence[str]], None] = lambda _names: None,
    on_made: Callable[[Sequence[str]], None] = lambda _names: None,
) -> list[str]:
    """Make the files of all job stages of a pipeline in a folder; returns their names.

    The records lie in the folder, as `frames.ndjson`.
    part: numbers of the frames that the video is taken to consist of. on_progress gets (frames done, frames in all) of
    each file. parts_of: how to make the video of a name in parts. is_made: whether the file of a name is there from
    an earlier run, or not to be made. on_begin and on_made get the names of the files of each stage, before they are
    made and once they are there. Callbacks may raise `Interrupted`.
    Raises: VideoError, DecoderUnavailable, StageFailed.
    """
    names: list[str] = []
    for stage, view in job_stages(spec, index.facts.display_width, index.facts.display_height):
        names += stage.files()
        if all(map(is_made, stage.files())):
            continue
        on_begin(stage.files())
        with blaming(stage):
            stage.open(tools)
            footage = LocalFootage(decoders, video, index, part, view, on_progress, parts_of, folder / RECORDS, tools)
            stage.make(footage, folder)
        on_made(stage.files())
    return names
