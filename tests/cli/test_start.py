"""The command line starts fast, explains itself, and speaks JSON everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cvpipe.cli.app import command
from cvpipe.cli.options import DEFAULT_URL
from tests.cli.conftest import Cvpipe

HEAVY = ("av", "onnxruntime", "onnx", "cv2", "scipy", "fastapi", "uvicorn", "redis", "dramatiq", "pika")
LONG_RUNNING = {"api", "worker", "sweep"}  # they log; there is no result to print


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, found in (group or command()).commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


LIGHT = (
    ["--help"], ["run", "--help"], ["--version"], ["version"], ["stages", "ls"], ["stages", "show", "detect"],
    ["pipelines", "ls", "--json"], ["pipelines", "show", "people"], ["models", "ls"],
)  # fmt: skip


def test_commands_that_need_nothing_heavy_import_nothing_heavy(root: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys\nfrom cvpipe.cli import main\n"
        f"for words in {LIGHT!r}:\n"
        "    try: main(words)\n"
        "    except SystemExit as end: assert not end.code, (words, end.code)\n"
        f"    print(json.dumps([words, sorted(set({HEAVY!r}) & set(sys.modules))]), file=sys.stderr)"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root / "src"), "CVPIPE_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert [json.loads(line) for line in lines] == [[words, []] for words in LIGHT]


def test_help_does_not_even_import_pydantic(root: Path) -> None:
    code = (
        "import sys\nfrom cvpipe.cli.app import command\ncommand()\n"
        "print([name for name in ('pydantic', 'numpy', 'httpx') if name in sys.modules])"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("path", "found"), list(commands()), ids=[" ".join(path) for path, _ in commands()])
def test_every_command_explains_itself_and_speaks_json(path: tuple[str, ...], found: Any, cvpipe: Cvpipe) -> None:
    done = cvpipe(*path, "--help")
    assert done.code == 0
    assert found.help
    for parameter in found.params:
        assert parameter.help or parameter.hidden, f"{parameter.name} has no help"
    options = {option for parameter in found.params for option in parameter.opts}
    assert "--json" in options or path[0] in LONG_RUNNING


def test_every_command_is_documented(root: Path) -> None:
    pages = {name: (root / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("cli", "models")}
    for path, found in commands():
        assert f"`cvpipe {' '.join(path)}" in pages["cli"]
        text = "".join(pages.values()) if path[0] == "models" else pages["cli"]
        for parameter in found.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert parameter.opts[0] in text, (path, parameter.opts)


def test_the_address_of_the_service_is_the_client_s_default() -> None:
    from cvpipe.client.connection import DEFAULT_URL as CLIENT_S

    assert DEFAULT_URL == CLIENT_S


def test_the_version_is_the_package_s(cvpipe: Cvpipe) -> None:
    import cvpipe as package

    assert cvpipe("--version").out == f"{package.__version__}\n"
    assert cvpipe("version", "--json").json["cvpipe"] == package.__version__
    assert cvpipe("version").out.startswith(f"cvpipe {package.__version__}\npython 3.")


def test_without_a_command_there_is_help(cvpipe: Cvpipe) -> None:
    done = cvpipe()
    assert done.code == 2
    assert "Usage: cvpipe" in done.out + done.err
