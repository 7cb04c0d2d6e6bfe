"""What a model finds on one picture, drawn: how `cvpipe models add --image` shows that its card is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from cvpipe import stages
from cvpipe.errors import InvalidRequest
from cvpipe.exports.annotated import Annotator
from cvpipe.frames import Frame, Image, View
from cvpipe.inference.cards import ModelCard
from cvpipe.pipeline import parse_pipeline
from cvpipe.results import FrameRecord
from cvpipe.stages import FrameStage, Tools
from cvpipe.subjects import STAGE_OF_TASK

_MAX_PIXELS: Final = 64 * 2**20

Look = Callable[[View], Image]


def preview_image(card: ModelCard, tools: Tools, path: Path) -> tuple[FrameRecord, bytes]:
    """What the model finds on a picture file, and that picture with it drawn, as PNG. Raises: InvalidRequest."""
    cv2 = tools.cv2
    raw = np.frombuffer(path.read_bytes(), np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    image = cv2.imdecode(raw, cv2.IMREAD_COLOR) if len(raw) else None
    if image is None or image.shape[0] * image.shape[1] > _MAX_PIXELS:
        raise InvalidRequest(f"{path} is no picture that can be read", field="image")
    whole = View.of(image.shape[1], image.shape[0])
    return _preview(card, tools, whole, lambda view: _seen(cv2, image, view), FrameRecord(0, 0, 0.0))


def preview_frame(card: ModelCard, tools: Tools, path: Path, number: int) -> tuple[FrameRecord, bytes]:
    """The same for a frame of a video. Raises: as `Video` does."""
    from cvpipe.video.video import Video

    with Video(path) as video:
        whole = View.of(video.facts.display_width, video.facts.display_height)
        shown = video.get_frame_at(number, view=whole)

        def look(view: View) -> Image:
            return shown.image if view == whole else video.get_frame_at(number, view=view).image

        return _preview(card, tools, whole, look, FrameRecord(number, shown.pts, shown.time))


def _preview(card: ModelCard, tools: Tools, whole: View, look: Look, record: FrameRecord) -> tuple[FrameRecord, bytes]:
    kind = STAGE_OF_TASK[card.task]
    if "model" not in stages.discover()[kind].Options.model_fields:  # text is read by several networks together
        raise InvalidRequest(f"no stage shows models for {card.task} on a picture", field="image")
    spec = parse_pipeline({"name": "preview", "stages": [{"type": kind, "model": card.ref}]})
    (stage,) = spec.make_stages()
    assert isinstance(stage, FrameStage)
    stage.open(tools)
    view = stage.view(whole)
    frame = Frame(record.frame, record.pts, record.time, view, look(view))
    (found,) = stage.process([frame], [record.objects])
    record = record.with_found(found)
    drawn = np.array(look(whole))
    annotator = Annotator(tools.cv2, whole, skeletons={stage.name: card.skeleton})
    annotator.draw(drawn, record, frame=record.frame, time=record.time)
    _, png = tools.cv2.imencode(".png", drawn)
    return record, png.tobytes()


def _seen(cv2: Any, image: Image, view: View) -> Image:
    """A picture as a view shows it; averaged where it becomes smaller, as a decoder does."""
    x, y, width, height = view.region if view.region[2] else (0, 0, *view.source)
    left, top, across, down = view.content
    part = image[y : y + height, x : x + width]
    canvas = np.full(view.shape, view.pad, np.uint8)
    if view.format == "rgb24":
        part = part[..., ::-1]
    smaller = across * down < width * height
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    canvas[top : top + down, left : left + across] = cv2.resize(
        np.ascontiguousarray(part), (across, down), interpolation=how
    )
    return canvas
