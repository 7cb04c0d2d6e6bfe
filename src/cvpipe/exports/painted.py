"""Videos made of chosen frames, each painted on before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cvpipe.exports.parts import Parts, last_picture, open_sink
from cvpipe.footage import Paint
from cvpipe.frames import View
from cvpipe.video import Decoders, VideoIndex


def write_painted(  # noqa: PLR0917 - they have no order to confuse: all are of different types
    path: Path,
    decoders: Decoders,
    video: Path,
    index: VideoIndex,
    numbers: npt.NDArray[np.int64],
    times: npt.NDArray[np.float64],
    paint: Paint,
    *,
    parts: Parts | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write frames of a video to `path` (H.264 in MP4, no sound) at full size; it appears when it is whole.

    numbers: of the frames, ascending, one at least. times: when each is shown, in seconds of the new file, from 0 on.
    paint: see `Footage.write_painted`. A damaged frame shows the one before it, painted on as itself.
    parts: make it part by part. on_progress: called with the frames done and their total.
    Raises: as `Decoders.read` does.
    """
    facts = index.facts
    view = View.of(facts.display_width, facts.display_height)
    with (
        open_sink(path, total=len(numbers), parts=parts, width=view.width, height=view.height, fps=facts.fps) as sink,
        decoders.read(video, index, numbers[sink.frames :], [view]) as frames,
    ):
        before = last_picture(decoders, video, index, view, numbers[: sink.frames])
        picture = np.zeros(view.shape, np.uint8) if before is None else before
        for done, frame in enumerate(frames, sink.frames + 1):
            if frame.images is not None:
                np.copyto(picture, frame.images[0])
                frame.release()
            painted = picture.copy()
            paint(painted, frame.number)
            sink.write(painted, float(times[done - 1]))
            if on_progress is not None:
                on_progress(done, len(numbers))
