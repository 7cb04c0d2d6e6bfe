"""Values of files are read once, and again when a file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvpipe.filecache import FileCache


@pytest.fixture
def counted() -> tuple[FileCache[str], list[Path]]:
    return FileCache(limit=2), []


def get(cache: FileCache[str], reads: list[Path], *files: Path) -> str:
    def read() -> str:
        reads.append(files[0])
        return "".join(file.read_text() for file in files if file.exists())

    return cache.get(*files, read=read)


def test_a_file_is_read_again_only_when_it_changed(counted: tuple[FileCache[str], list[Path]], tmp_path: Path) -> None:
    cache, reads = counted
    file = tmp_path / "a"
    file.write_text("one")
    assert [get(cache, reads, file) for _ in range(3)] == ["one"] * 3
    assert len(reads) == 1
    replacement = tmp_path / "b"
    replacement.write_text("two")  # as long as before
    replacement.replace(file)
    assert [get(cache, reads, file) for _ in range(2)] == ["two"] * 2
    assert len(reads) == 2


def test_a_file_that_comes_or_goes_counts_as_changed(
    counted: tuple[FileCache[str], list[Path]], tmp_path: Path
) -> None:
    cache, reads = counted
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    assert get(cache, reads, first, second) == "1"
    second.write_text("2")
    assert get(cache, reads, first, second) == "12"
    second.unlink()
    assert get(cache, reads, first, second) == "1"


def test_what_can_not_be_read_is_asked_for_again(tmp_path: Path) -> None:
    cache: FileCache[str] = FileCache()
    file = tmp_path / "a"
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            cache.get(file, read=file.read_text)
    file.write_text("here")
    assert cache.get(file, read=file.read_text) == "here"


def test_no_more_values_than_allowed_are_kept(counted: tuple[FileCache[str], list[Path]], tmp_path: Path) -> None:
    cache, reads = counted
    for name in "abc":
        (tmp_path / name).write_text(name)
        get(cache, reads, tmp_path / name)
    get(cache, reads, tmp_path / "c")
    assert len(reads) == 3
    get(cache, reads, tmp_path / "a")
    assert len(reads) == 4
