"""Files on the server that jobs may name."""

import os
from pathlib import Path

import pytest

from cvpipe.errors import InvalidRequest
from cvpipe.sources.path import resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An open folder with `door.mp4` in it, beside a file and a folder that are not open."""
    root = tmp_path.resolve() / "videos"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "door.mp4").write_bytes(b"video")
    (root.parent / "videos-private").mkdir()
    (root.parent / "videos-private" / "door.mp4").write_bytes(b"private")
    return root


def test_a_file_under_an_open_folder_is_found(root: Path) -> None:
    assert resolve(str(root / "door.mp4"), [root]) == root / "door.mp4"
    assert resolve(str(root / "deep" / ".." / "door.mp4"), [root]) == root / "door.mp4"
    assert resolve(str(root / "door.mp4"), [root.parent / "other", root]) == root / "door.mp4"


def test_a_link_inside_the_folder_is_followed_to_the_file(root: Path) -> None:
    (root / "deep" / "er" / "link").symlink_to("../../door.mp4")
    assert resolve(str(root / "deep" / "er" / "link"), [root]) == root / "door.mp4"


def outside(root: Path) -> dict[str, Path]:
    (root / "out").symlink_to(root.parent / "videos-private" / "door.mp4")
    (root / "out-folder").symlink_to(root.parent / "videos-private")
    (root / "nowhere").symlink_to(root.parent / "not-there")
    return {
        "beside": root.parent / "videos-private" / "door.mp4",
        "a folder of like name": root.parent / "videos-private",
        "dots": root / ".." / "videos-private" / "door.mp4",
        "a link to a file": root / "out",
        "through a linked folder": root / "out-folder" / "door.mp4",
        "a link to nothing": root / "nowhere",
        "not there": root.parent / "not-there",
        "the system": Path("/etc/passwd"),
        "a name too long": root.parent / ("x" * 5000),
    }


def test_what_lies_outside_gets_one_answer_whatever_it_is(root: Path) -> None:
    answers = {}
    for name, path in outside(root).items():
        with pytest.raises(InvalidRequest) as caught:
            resolve(str(path), [root])
        assert caught.value.field == "path"
        answers[name] = caught.value.message
    assert len(set(answers.values())) == 1, answers


@pytest.mark.parametrize("path", ["door.mp4", "", "./door.mp4", "~/door.mp4", "file:///door.mp4", "/door\0.mp4"])
def test_a_path_that_is_not_absolute_is_refused(root: Path, path: str) -> None:
    with pytest.raises(InvalidRequest, match="absolute path"):
        resolve(path, [root])


def test_what_is_no_regular_file_is_refused(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for name in ("pipe", "deep", ""):
        with pytest.raises(InvalidRequest, match="regular file"):
            resolve(str(root / name), [root])
    with pytest.raises(InvalidRequest, match="no such file"):
        resolve(str(root / "not-there.mp4"), [root])


def test_where_no_folder_is_open_the_setting_is_named(root: Path) -> None:
    with pytest.raises(InvalidRequest, match="CVPIPE_PATH_ROOTS"):
        resolve(str(root / "door.mp4"), [])
