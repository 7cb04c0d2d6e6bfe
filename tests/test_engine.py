"""The engine in one process: what it writes, how mistakes are told, and what does not change its records."""

import json
from pathlib import Path
from typing import Any

import pytest

from cvpipe.engine import run_local
from cvpipe.errors import InvalidRequest, MediaUnreadable, NotFound, StageFailed
from cvpipe.job import TimeRange
from cvpipe.pipeline import parse_pipeline
from cvpipe.settings import Settings

EDGES = [
    {"type": "decimate", "fps": 5},
    {"type": "resize", "width": 320, "height": 180},
    {"type": "channels", "to": "gray"},
    {"type": "edges"},
]


@pytest.fixture(scope="module")
def video(assets: Path) -> Path:
    return assets / "videos" / "car-detection.mp4"


def run(video: Path, out: Path, *stages: dict[str, Any], **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    pipeline = parse_pipeline({"name": "p", "stages": list(stages)})
    job = run_local(video, pipeline, out, settings=Settings(data_dir=out, device="cpu", threads=2), **options)
    return job, [json.loads(line) for line in (out / "frames.ndjson").read_text().splitlines()]


def test_a_run_writes_its_records_and_its_job(video: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    job, records = run(video, tmp_path, *EDGES, on_progress=lambda done, total: seen.append((done, total)))
    assert json.loads((tmp_path / "job.json").read_text()) == job
    assert job["state"] == "succeeded"
    assert job["frames"] == {"total": 151, "ok": 151, "decode_error": 0, "failed": 0, "degraded": 0}
    assert len(records) == 151
    assert [record["frame"] for record in records[:5]] == [0, 3, 5, 8, 10]  # 12.5 fps looked at 5 times a second
    assert all(set(record["values"]) == {"edges"} for record in records)
    assert seen == [(n + 1, 151) for n in range(151)]


def test_records_do_not_depend_on_chunks_or_on_stages_being_services_of_their_own(video: Path, tmp_path: Path) -> None:
    again = {"type": "edges", "name": "again", "low": 50}
    _, expected = run(video, tmp_path / "a", *EDGES, again, chunk_seconds=100)
    job, apart = run(video, tmp_path / "b", *EDGES, {**again, "queue": "other"}, chunk_seconds=2)
    assert job["chunks"] > 3
    assert apart == expected


def test_a_range_is_half_open_and_in_seconds(video: Path, tmp_path: Path) -> None:
    _, records = run(video, tmp_path, EDGES[3], range=TimeRange(start=1.0, stop=1.4))
    assert [(record["frame"], record["time"]) for record in records] == [
        (13, 1.04), (14, 1.12), (15, 1.2), (16, 1.28), (17, 1.36),
    ]  # fmt: skip


def test_a_range_behind_the_end_is_told(video: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidRequest, match=r"^range: no frame begins from 1000 s on; the video has \d+ frames and lasts"
    ):
        run(video, tmp_path, EDGES[3], range=TimeRange(start=1000))


def test_a_model_that_is_not_there_is_told_before_the_video_is_read(tmp_path: Path) -> None:
    text = tmp_path / "video.mp4"
    text.write_text("no video")
    with pytest.raises(NotFound, match="nobody"):
        run(text, tmp_path / "out", {"type": "detect", "model": "nobody"})


def test_a_file_that_is_no_video_is_told_and_leaves_no_results(tmp_path: Path) -> None:
    text = tmp_path / "video.mp4"
    text.write_text("no video")
    with pytest.raises(MediaUnreadable):
        run(text, tmp_path / "out", EDGES[3])
    assert not (tmp_path / "out" / "frames.ndjson").exists()


def test_a_run_that_fails_leaves_no_half_written_results(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvpipe.stages.edges import Edges

    def fail(self: Edges, frames: Any, found: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(Edges, "process", fail)
    with pytest.raises(StageFailed, match="^stage 'edges' failed: ZeroDivisionError$"):
        run(video, tmp_path, *EDGES)
    assert list(tmp_path.iterdir()) == []
