"""Discovery: every stage is found by its file, those of an installation too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cvpipe import stages
from cvpipe.pipeline.listing import describe

LIST_STAGES = "from cvpipe.stages import discover; print(*sorted(discover()))"


def run(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(folder) for folder in (root / "src", *folders))
    return subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


def test_every_file_holds_the_stage_it_is_named_after() -> None:
    files = {path.stem for path in Path(stages.__path__[0]).glob("*.py")} - {"__init__"}
    assert set(stages.discover()) == files


def test_every_stage_describes_itself_with_a_schema() -> None:
    for info in describe():
        assert info.summary.endswith("."), info
        assert info.schema["properties"]["type"]["const"] == info.type


def test_a_file_in_a_folder_on_the_path_is_a_further_stage(root: Path) -> None:
    result = run(LIST_STAGES, root / "examples" / "custom_stage")
    assert "brightness" in result.stdout.split(), result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("import nothing_like_it", "mine.py: ModuleNotFoundError", id="an import that fails"),
        pytest.param("def (", "mine.py, line 1: invalid syntax", id="no Python"),
        pytest.param("x = 1", "mine.py holds 0 stages", id="no stage"),
        pytest.param(
            "from cvpipe.stages.resize import Resize as R\nclass Again(R):\n    pass", "two stages", id="the same type"
        ),
    ],
)
def test_a_broken_or_doubled_stage_stops_the_process(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "cvpipe_stages").mkdir()
    (tmp_path / "cvpipe_stages" / "mine.py").write_text(text)
    result = run(LIST_STAGES, tmp_path)
    assert result.returncode != 0
    assert "cvpipe.errors.InvalidStage: " in result.stderr
    assert words in result.stderr
