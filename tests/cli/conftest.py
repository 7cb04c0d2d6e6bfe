"""The command line as a user has it, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cvpipe.cli import main
from tests.cli.clips import make_clip


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> dict[str, Any]:
        return dict(json.loads(self.err))


Cvpipe = Callable[..., Done]


@pytest.fixture
def cvpipe(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cvpipe:
    """Run `cvpipe WORDS` and return what came of it; its data directory is a temporary one."""
    monkeypatch.setenv("CVPIPE_DATA_DIR", str(tmp_path / "data"))

    def run(*words: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        assert isinstance(exit_info.value.code, int)
        return Done(exit_info.value.code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of video, 20 frames."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")
