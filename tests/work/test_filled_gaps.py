"""Gaps in tracks through the store: filled as in one process, whatever the chunks, and next to one that is given up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvpipe.engine import run_local
from cvpipe.pipeline import parse_pipeline
from cvpipe.results import FrameRecord
from cvpipe.settings import Settings
from cvpipe.stages.line_zone import LineZone
from cvpipe.video import Decoders
from tests.video.clips import make_clip, x264
from tests.work.test_event_log import quickly
from tests.work.test_finish import Service

HIDDEN = range(32, 40)  # over the end of the first chunk, which are frames 0 to 35; the second ends with 71
STAGES: list[dict[str, Any]] = [
    {"type": "contours", "name": "cars", "method": "fixed", "level": 128},
    {"type": "track", "of": "cars", "fill_gaps": True, "lost_seconds": 0.5},
    {"type": "line_zone", "of": "cars", "lines": [{"name": "gate", "start": [37, 0], "end": [37, 64]}]},
]


def drive(number: int, width: int, height: int) -> np.ndarray:
    """A bright car on a dark road, hidden for a while."""
    image = np.zeros((height, width, 3), np.uint8)
    if number not in HIDDEN:
        image[20:36, 4 + number // 2 : 28 + number // 2] = 230
    return image


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("video") / "drive.mp4", options=x264(), frames=108, draw=drive)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders() as decoders:
        yield decoders


@pytest.fixture
def service(tmp_path: Path, redis_url: str, decoders: Decoders, video: Path) -> Iterator[Service]:
    settings = Settings(redis_url=redis_url, data_dir=tmp_path / "data", path_roots=str(video.parent), device="cpu")
    service = Service(settings, decoders)
    yield service
    service.store.close()


def test_gaps_are_filled_over_the_ends_of_chunks_as_in_one(service: Service, video: Path, tmp_path: Path) -> None:
    run_local(
        video, parse_pipeline({"name": "p", "stages": STAGES}), tmp_path / "one", chunk_seconds=100,
        settings=Settings(device="cpu", threads=1),
    )  # fmt: skip
    expected = (tmp_path / "one" / "frames.ndjson").read_text().splitlines()
    job = service.submit(video, *STAGES, annotate=True)
    records = [record for _, record in service.store.frames(job)[0]]
    assert [record.to_json() for record in records] == expected
    assert [record.frame for record in records if record.objects.filled.any()] == list(HIDDEN)
    for number in HIDDEN:
        (box,) = records[number].objects.box
        assert box == pytest.approx([4 + number / 2, 20, 28 + number / 2, 36], abs=1)
        assert records[number].objects.track.tolist() == [1]
    assert service.finish(job).exports == ["frames.ndjson", "tracks.ndjson", "events.ndjson", "annotated.mp4"]
    (track,), is_all = service.store.tracks(job)
    assert (track.key, track.frames, track.first["frame"], track.last["frame"], is_all) == (
        ("cars", 1),
        100,
        0,
        107,
        True,
    )
    lines = [(folder / "tracks.ndjson").read_text() for folder in (service.folder(job), tmp_path / "one")]
    assert lines == [f"{track.to_json()}\n"] * 2
    (event,) = service.store.event_log(job)[0]
    assert event[1].start.frame in range(40, 45)


@pytest.mark.expects_errors
@pytest.mark.parametrize(
    ("start", "stop", "first"),
    [pytest.param(1.7, 1.8, 43, id="behind the gap"), pytest.param(1.3, 1.35, 33, id="at what was held back")],
)
def test_a_chunk_that_is_given_up_takes_no_record_that_was_held_back_with_it(
    service: Service, video: Path, monkeypatch: pytest.MonkeyPatch, start: float, stop: float, first: int
) -> None:
    update = LineZone.update

    def fail_there(self: LineZone, record: FrameRecord) -> FrameRecord:
        if start < record.time < stop:
            raise ValueError("no")
        return update(self, record)

    monkeypatch.setattr(LineZone, "update", fail_there)
    monkeypatch.setattr(type(service.store), "release", quickly(type(service.store).release))
    job = service.submit(video, *STAGES)
    records = [record for _, record in service.store.frames(job)[0]]
    assert [record.frame for record in records] == list(range(108))
    assert [record.frame for record in records if record.status == "failed"] == list(range(first, 72))
    assert [record.frame for record in records if record.objects.filled.any()] == [n for n in HIDDEN if n < first]
