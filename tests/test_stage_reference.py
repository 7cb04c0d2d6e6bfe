"""docs/stages.md: what it says is what the stages are."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvpipe.camera import CameraSpec
from cvpipe.pipeline import reference
from cvpipe.pipeline.cameras import with_cameras
from cvpipe.stages import discover, kind_of


@pytest.mark.parametrize("kind", sorted(discover()))
def test_a_stages_example_is_a_pipeline_that_it_is_part_of(kind: str) -> None:
    spec = reference.example_of(discover()[kind])
    assert kind in [kind_of(stage) for stage in spec.stages]
    with_cameras(spec, _no_camera)  # raises where the example needs a camera that it does not bring


def _no_camera(name: str) -> CameraSpec:
    raise AssertionError(f"an example names the camera {name!r}, which its reader does not have")


def test_a_stage_is_listed_with_its_scope_its_queue_and_each_option() -> None:
    lines = reference.render().splitlines()
    row = next(line for line in lines if line.startswith("| [`track`]"))
    assert row.startswith("| [`track`](#track) | sequence | `sequence` | ")
    assert " | Number objects so that one thing keeps its number: " in row
    section = lines[lines.index("## constant_rate") :]
    assert section[6:12] == [
        "```yaml", "stages:", "  - {type: constant_rate, fps: 25}", "  - {type: edges}", "```", "",
    ]  # fmt: skip
    assert section[14].startswith("| `fps` | number | required | ")


def test_what_a_stage_costs_is_what_the_benchmark_wrote(root: Path) -> None:
    measured = reference.costs(root / "benchmarks" / "stages.json")
    assert measured.keys() <= discover().keys()
    rows = [line.strip("| ").split(" | ") for line in reference.render().splitlines() if line.startswith("| [`")]
    told = {row[0].split("`")[1]: row[3] for row in rows}
    assert told == {kind: f"{measured[kind]:.1f}" if kind in measured else "-" for kind in discover()}


def test_a_page_that_is_not_what_the_stages_say_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "stages.md"
    assert reference.main([str(page)]) == 0
    assert reference.main([str(page), "--check"]) == 0
    page.write_text(page.read_text().replace("## track", "## tarck"))
    assert reference.main([str(page), "--check"]) == 1
    told = capsys.readouterr().err
    assert "-## tarck\n+## track" in told
    assert "is stale: run `make stages`" in told
