"""What is not right with a video is told with each file made of it, by a real worker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import httpx
import pytest

from cvpipe.errors import ApiError
from tests.service.deployment import Deployment

pytestmark = pytest.mark.slow

TOLD = ("cvpipe-damaged-frames", "cvpipe-first-damaged-frame", "cvpipe-warnings")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Pictures of MJPEG, 25 a second; 3 and 4 are overwritten, and the file is cut off."""
    path = tmp_path / "damaged.avi"
    source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=1"]
    command = ["ffmpeg", "-v", "error", *source, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", str(path)]
    subprocess.run(command, check=True, timeout=60)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for place, size in places[3:5]:
        data[place : place + size] = bytes(size)
    path.write_bytes(data[: places[20][0] + 50])
    return path


def test_damage_is_told_with_pictures_clips_sheets_and_the_index(
    tmp_path: Path, shared_redis_url: str, damaged: Path
) -> None:
    deployment = Deployment(tmp_path, redis_url=shared_redis_url, broker_url=None, PATH_ROOTS=tmp_path, DEVICE="cpu")
    try:
        deployment.start_api()
        deployment.start("worker", "--queues", "ingest,media", "--threads", "2", "--sweep")
        with deployment.client() as client:
            video = client.upload(damaged)
            address = f"{deployment.url}/v1/videos/{video.id}"
            deployment.until(lambda: httpx.get(address).json()["state"] == "ready", "the video is indexed")
            warnings = httpx.get(address).json()["facts"]["warnings"]
            assert [warning["code"] for warning in warnings] == ["media_truncated"]
            with pytest.raises(ApiError, match=r"frame 3 \(0\.12 s\)") as refused:
                client.frame_picture(video, 3)
            assert (refused.value.status, refused.value.code) == (422, "frame_damaged")
            assert client.frame_picture(video, 5)
        for rest, told in (
            ("clip?from=0.12", ["2", "3", "media_truncated"]),
            ("clip?from=0.2&to=0.4", ["0", None, "media_truncated"]),
            ("sheet.jpg?columns=5&rows=4&width=320", ["2", "3", "media_truncated"]),
            ("index", [None, None, "media_truncated"]),
        ):
            answer = httpx.get(f"{address}/{rest}", timeout=60)
            assert answer.status_code == 200
            assert [answer.headers.get(header) for header in TOLD] == told
    finally:
        deployment.close()
