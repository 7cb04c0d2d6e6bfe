"""Writing videos."""

from __future__ import annotations

import numpy as np
import pytest

from cvpipe.frames import View
from cvpipe.video import Writer
from tests.video.clips import picture
from tests.video.reading import read


@pytest.mark.parametrize("format", ["rgb24", "bgr24", "gray"])
def test_what_is_written_can_be_read(tmp_path, decoders, format):
    path = tmp_path / "new.mp4"
    images = [picture(n) for n in range(30)]
    if format == "gray":
        images = [image[:, :, 1].copy() for image in images]
    with Writer(path, width=96, height=64, fps=25, format=format, quality=10) as writer:
        for n, image in enumerate(images):
            writer.write(image, n / 25)
    index = decoders.index(path)
    assert (index.facts.codec, index.facts.pixel_format, index.facts.fps) == ("h264", "yuv420p", 25)
    np.testing.assert_allclose(index.times, np.arange(30) / 25)
    for n, image in read(decoders, path, index, view=View.of(96, 64, format=format)).items():
        assert image is not None
        assert np.abs(image.astype(int) - images[n]).mean() < 12


def test_each_picture_keeps_its_time(tmp_path, decoders):
    times = [0, 0.04, 0.08, 0.28, 0.293, 0.793, 10]
    with Writer(tmp_path / "uneven.mp4", width=96, height=64, fps=5) as writer:
        for n, time in enumerate(times):
            writer.write(picture(n), time)
    np.testing.assert_allclose(decoders.index(tmp_path / "uneven.mp4").times, times, atol=1e-4)


@pytest.mark.parametrize("fps", [1 / 3600, 1e-9, 0])
def test_a_picture_an_hour_can_be_written(tmp_path, decoders, fps):
    with Writer(tmp_path / "slow.mp4", width=96, height=64, fps=fps) as writer:
        for n in range(3):
            writer.write(picture(n), n * 3600)
    np.testing.assert_allclose(decoders.index(tmp_path / "slow.mp4").times, (0, 3600, 7200))


def test_a_time_that_does_not_ascend_comes_right_behind_the_last(tmp_path, decoders):
    with Writer(tmp_path / "back.mp4", width=96, height=64) as writer:
        for n, time in enumerate((0, 1, 1, 0.5, 2)):
            writer.write(picture(n), time)
    times = decoders.index(tmp_path / "back.mp4").times
    np.testing.assert_allclose(times, (0, 1, 1, 1, 2), atol=1e-4)
    assert (np.diff(times) > 0).all()


def test_odd_sizes_gain_a_pixel(tmp_path, decoders):
    with Writer(tmp_path / "odd.mp4", width=33, height=17, format="gray") as writer:
        writer.write(np.full((17, 33), 200, np.uint8), 0)
    index = decoders.index(tmp_path / "odd.mp4")
    assert (index.facts.width, index.facts.height) == (34, 18)
    image = read(decoders, tmp_path / "odd.mp4", index, view=View.of(34, 18, format="gray"))[0]
    assert image is not None
    assert (np.abs(image.astype(int) - 200) < 4).all()


def test_the_index_of_the_file_comes_before_its_pictures(tmp_path):
    path = tmp_path / "new.mp4"
    with Writer(path, width=96, height=64) as writer:
        writer.write(picture(0), 0)
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_an_error_leaves_nothing_behind_and_the_old_file_alone(tmp_path):
    path = tmp_path / "old.mp4"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), Writer(path, width=96, height=64) as writer:
        writer.write(picture(0), 0)
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.mp4"]


@pytest.mark.parametrize(
    "image", [np.zeros((64, 97, 3), np.uint8), np.zeros((64, 96), np.uint8), np.zeros((64, 96, 3))]
)
def test_pictures_of_another_kind_are_refused(tmp_path, image):
    with Writer(tmp_path / "new.mp4", width=96, height=64) as writer:
        writer.write(picture(0), 0)
        with pytest.raises(ValueError, match="wanted uint8"):
            writer.write(image, 1)


def test_the_same_pictures_make_the_same_file(tmp_path):
    made = set()
    for _ in range(4):
        with Writer(tmp_path / "again.mp4", width=96, height=64, fps=25) as writer:
            for n in range(60):
                writer.write(picture(n), n / 25)
        made.add((tmp_path / "again.mp4").read_bytes())
    assert len(made) == 1
