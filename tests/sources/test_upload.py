"""Uploaded files on their way to the disk."""

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from cvpipe.errors import InvalidRequest, TooLarge, Unavailable
from cvpipe.sources.upload import Incoming, stored_path, sweep

SHA256 = hashlib.sha256(b"one video").hexdigest()


def left(data_dir: Path) -> list[Path]:
    return [path for path in data_dir.rglob("*") if path.is_file()]


def store(data_dir: Path, *pieces: bytes) -> Path:
    with Incoming(data_dir, "t", limit=100) as incoming:
        for piece in pieces:
            incoming.write(piece)
        return incoming.keep().path


def test_a_file_is_kept_under_its_sha256(tmp_path: Path) -> None:
    with Incoming(tmp_path, "t", limit=9) as incoming:
        incoming.write(b"one ")
        incoming.write(bytearray(b"video"))
        assert not stored_path(tmp_path, f"t/{SHA256}").exists()
        stored = incoming.keep()
    assert (stored.id, stored.size, stored.new) == (f"t/{SHA256}", 9, True)
    assert stored.path == tmp_path / "videos" / "t" / SHA256[:2] / SHA256 == stored_path(tmp_path, f"t/{SHA256}")
    assert left(tmp_path) == [stored.path]
    assert stored.path.read_bytes() == b"one video"
    assert stored.path.stat().st_mode & 0o007 == 0


def test_the_same_bytes_again_heal_a_damaged_file(tmp_path: Path) -> None:
    path = store(tmp_path, b"one video")
    path.write_bytes(b"damaged")
    with Incoming(tmp_path, "t", limit=9) as incoming:
        incoming.write(b"one video")
        assert not incoming.keep().new
    assert path.read_bytes() == b"one video"
    assert left(tmp_path) == [path]


def test_a_file_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Incoming(tmp_path, "t", limit=9) as incoming:
        incoming.write(b"one")
        assert len(left(tmp_path)) == 1
        raise RuntimeError
    assert left(tmp_path) == []
    incoming.discard()
    with pytest.raises(ValueError, match="over"):
        incoming.write(b"more")


def test_a_file_over_the_limit_is_refused_at_the_first_byte_too_many(tmp_path: Path) -> None:
    with Incoming(tmp_path, "t", limit=9) as incoming:
        incoming.write(b"123456789")
        with pytest.raises(TooLarge, match="limit of 9 bytes"):
            incoming.write(b"0")
    assert left(tmp_path) == []


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        store(tmp_path)
    assert left(tmp_path) == []


def test_a_write_cut_short_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr("cvpipe.sources.upload.os.write", lambda fd, data: write(fd, data[:2]))
    assert store(tmp_path, b"one video").read_bytes() == b"one video"


@pytest.mark.parametrize(
    ("number", "words"), [(28, "the disk is full"), (122, "the disk is full"), (5, "input/output error")]
)
def test_errors_of_the_disk_are_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(_fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("cvpipe.sources.upload.os.fsync", fail)
    with pytest.raises(Unavailable, match=words):
        store(tmp_path, b"one video")
    assert left(tmp_path) == []


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        "cvpipe.sources.upload.os.fsync",
        lambda fd: (steps.append(f"sync {'folder' if stat.S_ISDIR(os.fstat(fd).st_mode) else 'file'}"), sync(fd)),
    )
    monkeypatch.setattr(Path, "replace", lambda path, to: (steps.append("rename"), replace(path, to))[1])
    store(tmp_path, b"one video")
    assert steps == ["sync file", "rename", "sync folder", "sync folder", "sync folder"]


def test_only_old_remains_are_swept(tmp_path: Path) -> None:
    assert sweep(tmp_path) == 0
    young, old = Incoming(tmp_path, "t", limit=9), Incoming(tmp_path, "t", limit=9)
    files = sorted(left(tmp_path))
    yesterday = time.time() - 25 * 3600
    os.utime(files[0], (yesterday, yesterday))
    assert sweep(tmp_path) == 1
    assert left(tmp_path) == [files[1]]
    young.discard()
    old.discard()
    assert left(tmp_path) == []
