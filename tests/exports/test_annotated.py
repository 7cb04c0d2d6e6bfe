"""The annotated video, looked at again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cvpipe.exports.annotated import Annotator, write_annotated
from cvpipe.frames import View
from cvpipe.results import FrameRecord, Objects
from cvpipe.video import Decoders, Limits, Writer

WIDTH, HEIGHT = 320, 180


@pytest.fixture(scope="module")
def decoders():
    with Decoders(limits=Limits()) as decoders:
        yield decoders


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Twenty dark frames at 10 frames a second."""
    path = tmp_path_factory.mktemp("annotated") / "dark.mp4"
    with Writer(path, width=WIDTH, height=HEIGHT, fps=10) as writer:
        for n in range(20):
            writer.write(np.full((HEIGHT, WIDTH, 3), 40 + n, np.uint8), n / 10)
    return path


def make_record(frame, boxes, tracks=None, *, status="ok", **more):
    objects = Objects.make(
        stage="people", box=boxes, score=[0.9] * len(boxes), label=["person"] * len(boxes), track=tracks, **more
    )
    return FrameRecord(frame=frame, pts=frame, time=frame / 10, status=status, objects=objects)


def pictures(decoders, path):
    index = decoders.index(path)
    out = []
    with decoders.read(
        path, index, np.arange(len(index)), [View.of(index.facts.display_width, index.facts.display_height)]
    ) as frames:
        for frame in frames:
            out.append(frame.images[0].copy())
            frame.release()
    return index, out


def is_drawn(image, box):
    """Is there a bright line along the left edge of the box?"""
    left, top, _, bottom = box
    column = image[(top + bottom) // 2, left - 3 : left + 4].astype(int)
    return column.max() > 110


def test_boxes_are_drawn_on_their_frames_and_stay_until_the_next_record(tmp_path, decoders, video):
    first, second = [60, 60, 120, 150], [200, 60, 260, 150]
    records = [make_record(3, [first], [1]), make_record(10, [second], [1]), make_record(15, [])]
    calls = []
    write_annotated(
        tmp_path / "out.mp4",
        decoders,
        video,
        decoders.index(video),
        iter(records),
        cv2,
        on_progress=lambda *c: calls.append(c),
    )
    index, drawn = pictures(decoders, tmp_path / "out.mp4")
    assert len(index) == 20
    np.testing.assert_allclose(index.times, np.arange(20) / 10)
    assert [n for n, image in enumerate(drawn) if is_drawn(image, first)] == list(range(3, 10))
    assert [n for n, image in enumerate(drawn) if is_drawn(image, second)] == list(range(10, 15))
    assert calls == [(n, 20) for n in range(1, 21)]


def test_part_of_a_video_begins_at_zero_and_tells_the_time_of_the_source(tmp_path, decoders, video):
    box = [60, 60, 120, 150]
    write_annotated(
        tmp_path / "out.mp4",
        decoders,
        video,
        decoders.index(video),
        [make_record(12, [box])],
        cv2,
        numbers=range(10, 16),
    )
    index, drawn = pictures(decoders, tmp_path / "out.mp4")
    np.testing.assert_allclose(index.times, np.arange(6) / 10)
    assert [n for n, image in enumerate(drawn) if is_drawn(image, box)] == [2, 3, 4, 5]
    _, sources = pictures(decoders, video)
    for image, source in zip(drawn, sources[10:16], strict=True):
        np.testing.assert_allclose(image[20:40, 290:], source[20:40, 290:], atol=2)


def test_a_large_video_is_drawn_smaller_with_its_boxes_in_place(tmp_path, decoders):
    path = tmp_path / "large.mp4"
    with Writer(path, width=3000, height=2000) as writer:
        writer.write(np.full((2000, 3000, 3), 40, np.uint8), 0)
    box = np.array([600, 500, 1500, 1500])
    write_annotated(tmp_path / "out.mp4", decoders, path, decoders.index(path), [make_record(0, [box.tolist()])], cv2)
    index, (drawn,) = pictures(decoders, tmp_path / "out.mp4")
    assert (index.facts.width, index.facts.height) == (1620, 1080)
    assert is_drawn(drawn, (box * 0.54).astype(int).tolist())


def blank():
    return np.full((HEIGHT, WIDTH, 3), 40, np.uint8)


def draw(record, annotator=None, **more):
    image = blank()
    annotator = annotator or Annotator(cv2, View.of(WIDTH, HEIGHT))
    annotator.draw(image, record, frame=record.frame if record else 0, time=0, **more)
    return image


def edge_colour(image, box):
    """Colour of the pixel on the left edge of a box."""
    return tuple(image[(box[1] + box[3]) // 2, box[0]].tolist())


def test_a_track_keeps_its_colour_and_neighbours_have_others():
    boxes = [[n * 30 + 10, 80, n * 30 + 30, 150] for n in range(10)]
    tracks = list(range(10))
    one = draw(make_record(0, boxes, tracks))
    other = draw(make_record(7, boxes[::-1], tracks[::-1]))
    colours = [edge_colour(one, box) for box in boxes]
    assert colours == [edge_colour(other, box) for box in boxes]
    assert len(set(colours)) == 10


def test_captions_of_objects_in_a_corner_stay_in_the_picture():
    corner = [WIDTH - 12, 2, WIDTH - 2, 20]
    middle = [60, 80, 160, 150]
    colour = edge_colour(draw(make_record(0, [middle], [3])), middle)
    image = draw(make_record(0, [corner], [3]))
    filled = (image == colour).all(-1)
    assert filled.sum() > 300  # the caption's ground
    assert filled[:, : WIDTH - 90].sum() == 0


def test_captions_do_not_cover_each_other():
    same = [60, 80, 160, 150]
    apart = draw(make_record(0, [same, [61, 81, 161, 151]], [1, 2]))
    for track in (1, 2):
        colour = edge_colour(draw(make_record(0, [same], [track])), same)
        assert (apart == colour).all(-1).sum() > 400


@pytest.mark.parametrize("text", ["EXIT", "出口 Ausgang", "", "x" * 300])
def test_any_text_can_be_drawn(text):
    record = make_record(0, [[60, 80, 160, 150]], text=[text])
    assert (draw(record) != blank()).any()


def test_a_frame_without_a_picture_says_so():
    top_left = (slice(0, 30), slice(0, 60))
    assert (draw(None)[top_left] == 40).all()
    for image in (draw(None, is_damaged=True), draw(make_record(0, [], status="failed"))):
        assert image[top_left][..., 2].max() > 200


def test_a_tracked_object_leaves_a_trail_that_fades():
    annotator = Annotator(cv2, View.of(WIDTH, HEIGHT))
    for frame in range(6):
        image = draw(make_record(frame, [[20 + frame * 40, 60, 40 + frame * 40, 100 + frame * 10]], [5]), annotator)
    assert (image[100:145, 40:215] != 40).any()
    still = draw(make_record(100, [], []), annotator)
    assert (still[90:150, 10:215] == 40).all()


def test_opencv_4_writes_with_its_own_letters(monkeypatch):
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    image = draw(make_record(0, [[60, 80, 160, 150]], [1], text=["出口"]))
    colour = edge_colour(image, [60, 80, 160, 150])
    ground = (image == colour).all(-1)
    assert ground[60:80].sum() > 100
    assert (image[60:80, 60:160] < 40).any()  # dark letters on it
