"""What the API's image does not have, the API does not need."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("av", "onnxruntime", "onnx", "cv2", "scipy", "rapidocr", "tokenizers", "torch")

SCRIPT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from cvpipe.api import create_app
from cvpipe.api.server import Server
from cvpipe.settings import Settings
from cvpipe.pipeline import list_pipelines
app = create_app(Settings())
Server(app, Settings())
assert len(app.openapi()["paths"]) > 10
assert list_pipelines(Settings())
found = sorted(name for name in sys.modules if name.partition(".")[0] in {HEAVY!r})
assert not found, found
"""


def test_the_app_is_built_without_the_packages_of_the_workers(root: Path) -> None:
    path = [str(root / "src")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = {path!r}\n{SCRIPT}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
