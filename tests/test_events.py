from __future__ import annotations

from cvpipe.events import Event, Moment, participants
from cvpipe.results import Objects

EVENT = Event(
    "zone_dwell",
    "zones",
    Moment(10, 1.0),
    Moment(40, 4.0),
    Moment(25, 2.5),
    ({"stage": "people", "track": 7, "label": "person", "box": [1.5, 2, 3, 4]}, {"stage": "bags", "label": "bag"}),
    {"zone": "door", "seconds": 3.0},
    is_over=False,
    number=12,
    wall_time=1767225601.25,
)


def test_an_event_is_told_as_plain_values() -> None:
    assert EVENT.to_dict() == {
        "number": 12,
        "kind": "zone_dwell",
        "stage": "zones",
        "start": 1.0,
        "end": 4.0,
        "wall_time": "2026-01-01T00:00:01.250Z",
        "start_frame": 10,
        "end_frame": 40,
        "evidence_frame": 25,
        "evidence_time": 2.5,
        "is_over": False,
        "tracks": [7],
        "objects": [
            {"stage": "people", "track": 7, "label": "person", "box": [1.5, 2, 3, 4]},
            {"stage": "bags", "label": "bag"},
        ],
        "values": {"zone": "door", "seconds": 3.0},
    }


def test_an_event_written_in_either_form_reads_as_the_same() -> None:
    assert Event.from_dict(EVENT.to_dict()) == EVENT
    assert Event.unpack(EVENT.pack()) == EVENT


def test_tracks_are_named_once_in_ascending_order() -> None:
    rows = tuple({"track": track} for track in (9, 2, 9, None))
    assert Event("k", "s", Moment(0, 0), Moment(0, 0), Moment(0, 0), rows).tracks == (2, 9)


def test_who_takes_part_is_named_with_what_is_known_of_it() -> None:
    objects = Objects.make(
        stage="cars", box=[[1, 2, 3, 4], [5, 6, 7, 8]], score=[0.5, 0.6], label=["car", "bus"], track=[3, -1],
        text=["BV 1", None],
    )  # fmt: skip
    assert participants(objects, [1, 0]) == (
        {"stage": "cars", "label": "bus", "box": [5, 6, 7, 8]},
        {"stage": "cars", "track": 3, "label": "car", "box": [1, 2, 3, 4], "text": "BV 1"},
    )
