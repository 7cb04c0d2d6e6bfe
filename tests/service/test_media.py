"""Pictures, sheets, clips and indexes of videos, made by a real worker for the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import numpy.typing as npt
import pytest

from cvpipe.client.video import Video as Known
from cvpipe.errors import ApiError
from cvpipe.store import Store
from cvpipe.video import Video
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def video(assets: Path) -> Path:
    return assets / "videos" / "one-by-one-person-detection.mp4"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str, video: Path) -> Iterator[Deployment]:
    """One for all tests: each brings a video of its own."""
    folder = tmp_path_factory.mktemp("media")
    deployment = Deployment(folder, redis_url=shared_redis_url, broker_url=None, PATH_ROOTS=folder, DEVICE="cpu")
    deployment.start_api()
    deployment.start("worker", "--queues", "ingest,media,cpu,finish", "--threads", "2", "--sweep")
    yield deployment
    deployment.close()


@pytest.fixture
def mine(deployment: Deployment, video: Path, make_own: Callable[[Path, Path], Path]) -> Path:
    """The video, as one that only this test knows."""
    return make_own(video, deployment.folder)


def decoded(content: bytes) -> npt.NDArray[np.uint8]:
    """Pixels of a picture, (h, w, 3) uint8 RGB."""
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def is_ready(deployment: Deployment, video: Known) -> bool:
    return bool(httpx.get(f"{deployment.url}/v1/videos/{video.id}").json()["state"] == "ready")


def test_pictures_sheets_and_clips_show_what_the_video_shows(
    deployment: Deployment, mine: Path, video: Path, tmp_path: Path
) -> None:
    with deployment.client() as client, Video(video) as opened:
        known = client.upload(mine)
        deployment.until(lambda: is_ready(deployment, known), "the video is indexed")
        whole = opened[12].image
        height, width = whole.shape[:2]
        assert np.array_equal(decoded(client.frame_picture(known, 12, format="png")), whole)
        jpeg = decoded(client.frame_picture(known, 12))
        assert jpeg.shape == whole.shape
        assert np.abs(jpeg.astype(int) - whole).mean() < 3
        assert decoded(client.frame_picture(known, 12, width=160)).shape == (round(160 * height / width), 160, 3)
        assert decoded(client.thumbnail(known)).shape == (round(320 * height / width), 320, 3)
        assert decoded(client.sheet(known, columns=3, rows=2, width=600)).shape[1] == 600

        clip = client.clip(known, 1, 2, tmp_path / "clip.mp4")
        with Video(clip) as cut:
            assert len(cut) == len([at for at in opened.index.times.tolist() if 1 <= at < 2]) == 10
            assert cut[0].image.shape == whole.shape
            near = np.abs(cut[0].image.astype(int) - opened[10].image)
            assert near.mean() < 6

        with pytest.raises(ApiError) as beyond:
            client.frame_picture(known, 99_999)
    assert (beyond.value.status, beyond.value.code) == (404, "not_found")
    frames = len(opened.index)
    assert beyond.value.message == f"there is no frame 99999: the video has {frames} frames, 0 to {frames - 1}"


def test_a_clip_is_kept_and_handed_out_in_parts(deployment: Deployment, mine: Path) -> None:
    with deployment.client() as client:
        known = client.upload(mine)
        deployment.until(lambda: is_ready(deployment, known), "the video is indexed")
    address = f"{deployment.url}/v1/videos/{known.id}/clip"
    params = {"from": 1, "to": 2}
    whole = httpx.get(address, params=params, timeout=60)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    part = httpx.get(address, params=params, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    beyond = httpx.get(address, params=params, headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.json()["type"]) == (416, "/problems/range_not_satisfiable")
    known_already = httpx.get(address, params=params, headers={"If-None-Match": whole.headers["etag"]})
    assert (known_already.status_code, known_already.content) == (304, b"")
    nothing = httpx.get(address, params={"from": 5000, "to": 5001}, timeout=60)
    assert (nothing.status_code, nothing.json()["type"]) == (422, "/problems/invalid_request")


def test_the_index_is_one_line_a_frame_and_made_again_where_an_older_version_kept_it(
    deployment: Deployment, mine: Path, video: Path, shared_redis_url: str
) -> None:
    with deployment.client() as client, Video(video) as opened:
        known = client.upload(mine)
        address = f"{deployment.url}/v1/videos/{known.id}"
        deployment.until(lambda: is_ready(deployment, known), "the video is indexed")
        first = httpx.get(f"{address}/index", timeout=60)
        lines = [json.loads(line) for line in first.text.splitlines()]
        index = opened.index
        assert [line["number"] for line in lines] == list(range(len(index)))
        assert [line["time"] for line in lines] == index.times.tolist()
        assert [line["pts"] for line in lines] == index.pts.tolist()
        assert [line["keyframe"] for line in lines] == index.keyframe.tolist()
        assert [line["bytes"] for line in lines] == index.size.tolist()

        store = Store.connect(shared_redis_url)
        packed = store.video_index(f"default/{known.id}")
        store.put_video(f"default/{known.id}", index=b"what an older version kept")
        again = httpx.get(f"{address}/index", timeout=60)
        assert (again.status_code, again.text) == (200, first.text)
        assert store.video_index(f"default/{known.id}") == packed
        store.put_video(f"default/{known.id}", index=b"what an older version kept")
        assert client.thumbnail(known)
        assert store.video_index(f"default/{known.id}") == packed
        store.close()


def test_a_video_that_jobs_know_by_its_path_has_pictures_until_the_file_changes(
    deployment: Deployment, mine: Path, video: Path
) -> None:
    pipeline: dict[str, Any] = {"name": "p", "stages": [{"type": "decimate", "fps": 1}, {"type": "edges"}]}
    with deployment.client() as client:
        job = client.wait(client.submit(pipeline, path=str(mine), range=(0, 1)), timeout_seconds=200)
        assert job.video is not None, deployment.logs()
        picture = client.frame_picture(job.video, 3, format="png")
        with Video(video) as opened:
            assert np.array_equal(decoded(picture), opened[3].image)
        mine.write_bytes(mine.read_bytes()[:-1] + b"x")
        assert client.frame_picture(job.video, 3, format="png") == picture, "what was made is kept"
        with pytest.raises(ApiError, match="another one by now; upload the video") as caught:
            client.frame_picture(job.video, 4)
    assert (caught.value.status, caught.value.code) == (404, "not_found")
