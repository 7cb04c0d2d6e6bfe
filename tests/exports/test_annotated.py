"""The annotated video, looked at again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from cvpipe.events import Event, Moment
from cvpipe.exports.annotated import Annotator, write_annotated
from cvpipe.exports.overlay import counts_of
from cvpipe.exports.parts import Parts
from cvpipe.frames import View
from cvpipe.results import FrameRecord, Objects
from cvpipe.shapes import Shape
from cvpipe.video import Decoders, Limits, Writer
from tests.video.clips import make_clip

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


class Stop(Exception):
    """Work ends here for now."""


def walkers(frames):
    """Two tracked people on each of the frames."""
    return [
        make_record(n, [[10 + 10 * n, 40, 40 + 10 * n, 90], [280 - 10 * n, 70, 300 - 10 * n, 140]], [1, 2])
        for n in frames
    ]


def from_last_at_or_before(records, asked):
    """As the store gives them: from the last record at or before a frame on."""

    def records_from(frame):
        asked.append(frame)
        first = max((n for n, record in enumerate(records) if record.frame <= frame), default=0)
        return iter(records[first:])

    return records_from


@pytest.mark.parametrize("numbers", [range(20), range(4, 19)], ids=["all", "a part"])
@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(range(20), id="a record for each"),
        pytest.param(range(0, 20, 3), id="decimated"),
        pytest.param([5, 6, 7], id="a few"),
        pytest.param([], id="none"),
    ],
)
def test_parts_are_those_of_work_that_nothing_stopped(tmp_path, decoders, video, frames, numbers):
    """Boxes, trails and what a decimated frame keeps of the last record come through a stop."""
    index, records, asked = decoders.index(video), walkers(frames), []

    def stop():
        raise Stop

    once = Parts(tmp_path / "a", 7)
    write_annotated(tmp_path / "once.mp4", decoders, video, index, records, cv2, numbers=numbers, parts=once)
    often, stops = Parts(tmp_path / "b", 7, on_part=stop), 0
    while not (tmp_path / "often.mp4").exists():
        given = from_last_at_or_before(records, asked)
        try:
            write_annotated(tmp_path / "often.mp4", decoders, video, index, given, cv2, numbers=numbers, parts=often)
        except Stop:
            stops += 1
    assert stops == 2
    assert asked[0] == numbers[0]
    assert (tmp_path / "often.mp4").read_bytes() == (tmp_path / "once.mp4").read_bytes()


def test_parts_look_like_one_go(tmp_path, decoders, video):
    index, records = decoders.index(video), walkers(range(20))
    write_annotated(tmp_path / "whole.mp4", decoders, video, index, records, cv2)
    write_annotated(tmp_path / "parts.mp4", decoders, video, index, records, cv2, parts=Parts(tmp_path / "a", 7))
    (one, images), (other, joined) = (pictures(decoders, tmp_path / f"{name}.mp4") for name in ("whole", "parts"))
    assert one.times.tolist() == other.times.tolist()
    assert len(joined) == 20
    for image, expected in zip(joined, images, strict=True):
        assert np.abs(image.astype(int) - expected).mean() < 2


def test_a_part_begins_with_the_picture_before_a_damaged_frame(tmp_path, decoders):
    path = make_clip(tmp_path / "damaged.avi", codec="mjpeg", pixel_format="yuvj420p", frames=9)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        for place, size in packets[2:5]:
            file.seek(place)
            file.write(b"\0" * size)
    index = decoders.index(path)

    def stop():
        raise Stop

    write_annotated(tmp_path / "once.mp4", decoders, path, index, [], cv2, parts=Parts(tmp_path / "a", 3))
    while not (tmp_path / "often.mp4").exists():
        with suppress(Stop):
            often = Parts(tmp_path / "b", 3, on_part=stop)
            write_annotated(tmp_path / "often.mp4", decoders, path, index, [], cv2, parts=often)
    assert (tmp_path / "often.mp4").read_bytes() == (tmp_path / "once.mp4").read_bytes()
    _, made = pictures(decoders, tmp_path / "often.mp4")
    assert np.abs(made[4].astype(int) - made[1]).mean() < np.abs(made[4].astype(int) - made[5]).mean()


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


def test_what_nobody_saw_has_a_box_of_dashes():
    box = [60, 60, 160, 150]
    seen = make_record(0, [box], [3])
    filled = replace(seen, objects=replace(seen.objects, filled=np.ones(1, bool)))
    colour = edge_colour(draw(seen), box)
    sides = [(draw(record)[box[1] : box[3], box[0]] == colour).all(-1) for record in (seen, filled)]
    assert sides[0].all()
    assert 0.3 < sides[1].mean() < 0.8
    assert np.count_nonzero(np.diff(sides[1].astype(int))) > 6


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


def test_lines_zones_and_events_are_drawn(decoders, video, tmp_path):
    shapes = (
        Shape("count", "gate", ((20.0, 100.0), (300.0, 100.0)), is_closed=False),
        Shape("zones", "door", ((40.0, 20.0), (120.0, 20.0), (120.0, 60.0), (40.0, 60.0)), is_closed=True),
    )
    happened = Event(
        "line_crossed", "count", Moment(10, 1.0), Moment(10, 1.0), Moment(10, 1.0), values={"line": "gate"}
    )
    write_annotated(
        tmp_path / "a.mp4", decoders, video, decoders.index(video), [], cv2, shapes=shapes, events=[happened]
    )
    _, drawn = pictures(decoders, tmp_path / "a.mp4")
    plain = drawn[5].astype(int)
    assert plain[97:104, 250].max() > 120  # the line
    assert plain[17:24, 80].max() > 120  # the upper edge of the zone
    assert plain[57:64, 80].max() > 120  # and the lower one: it is closed
    assert plain[40, 80].max() < 80
    corner = np.s_[4:16, 220:300]
    assert drawn[5][corner].max() < 80
    assert drawn[11][corner].max() > 150


def test_a_line_is_named_with_the_counts_of_its_frame():
    record = replace(make_record(0, []), values={"count": {"gate": {"in": 3, "out": 1, "by_class": {}, "open": True}}})
    assert counts_of(Shape("count", "gate", (), is_closed=False), record) == "gate  in 3  out 1"
    assert counts_of(Shape("count", "other", (), is_closed=False), record) == "other"
