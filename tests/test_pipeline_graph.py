"""A pipeline as a graph: groups by where stages run, arrows by what they look at."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cvpipe.pipeline import PipelineSpec, list_pipelines, parse_pipeline
from cvpipe.pipeline.graph import as_svg, as_text, groups_of
from cvpipe.settings import Settings
from tests.cli.conftest import Cvpipe, cvpipe  # noqa: F401 - a fixture

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def spec() -> PipelineSpec:
    return parse_pipeline(
        {
            "name": "gate",
            "stages": [
                {"type": "normalise", "fps": 5},
                {"type": "decimate", "fps": 5},
                {"type": "detect", "name": "cars", "model": "yolox-nano"},
                {"type": "read_text", "of": "cars", "queue": "gpu-b"},
                {"type": "track", "of": "cars"},
                {"type": "crops", "name": "best", "of": "cars"},
                {"type": "embed", "of": "best", "model": "person-reid"},
            ],
        }
    )  # fmt: skip


def test_stages_are_in_the_group_that_runs_them_in_the_order_of_the_work(spec: PipelineSpec) -> None:
    assert [(group.queue, [node.name for node in group.nodes]) for group in groups_of(spec)] == [
        ("", ["decimate"]),
        ("gpu", ["cars"]),
        ("gpu-b", ["read_text"]),
        ("sequence", ["track"]),
        ("crops", ["best"]),
        ("crops", ["embed"]),
        ("finish", ["normalise"]),
    ]
    assert groups_of(spec)[5].nodes[0].sources == ("best",)


def test_the_text_says_what_looks_at_what(spec: PipelineSpec) -> None:
    lines = as_text(spec).splitlines()
    assert lines[0] == "gate, version 1"
    assert "    cars: detect (yolox-nano)" in lines
    assert "    read_text  <- cars" in lines


def test_arrows_come_from_values_zones_and_lines_too() -> None:
    area = {"name": "desk", "polygon": [[0, 0], [9, 0], [9, 9]]}
    spec = parse_pipeline(
        {
            "name": "p",
            "stages": [
                {"type": "scenes"},
                {"type": "detect", "name": "people", "model": "m", "classes": ["person"]},
                {"type": "shirt_colour", "of": "people", "when": "scenes.score > 1"},
                {"type": "embed", "of": "people", "model": "m"},
                {"type": "track", "of": "people", "method": "botsort", "appearance": "embed", "reset_at": "scenes"},
                {"type": "teams"},
                {"type": "polygon_zone", "name": "areas", "zones": [area]},
                {"type": "line_zone", "name": "gates", "lines": [{"name": "exit", "start": [0, 0], "end": [9, 9]}]},
                {"type": "rules", "rules": [
                    {"name": "r", "when": 'in zone "desk" for > 3 s and crossed line "exit" and teams.team == "A"'}
                ]},
                {"type": "to_world", "camera": "stand"},
                {"type": "top_view"},
            ],
        }
    )  # fmt: skip
    assert {node.name: node.sources for group in groups_of(spec) for node in group.nodes if node.sources} == {
        "shirt_colour": ("people", "scenes"),
        "embed": ("people",),
        "track": ("people", "scenes", "embed"),
        "teams": ("shirt_colour",),
        "rules": ("teams", "areas", "gates"),
        "top_view": ("to_world",),
    }


@pytest.mark.parametrize("name", [spec.name for spec in list_pipelines(Settings())])
def test_every_built_in_pipeline_can_be_drawn(name: str) -> None:
    spec = next(spec for spec in list_pipelines(Settings()) if spec.name == name)
    groups = groups_of(spec)
    assert sorted(node.name for group in groups for node in group.nodes) == sorted(o.name for o in spec.stages)
    drawing = ET.fromstring(as_svg(spec))
    assert len(drawing.findall(f"{SVG}rect")) == 1 + len(groups) + len(spec.stages)
    arrows = [source for group in groups for node in group.nodes for source in node.sources]
    assert len(drawing.findall(f"{SVG}path")) == len(arrows)
    assert next(text.text for text in drawing.findall(f"{SVG}text")) == f"{name}, version {spec.version}"


def test_the_command_prints_or_draws(cvpipe: Cvpipe, tmp_path: Path) -> None:  # noqa: F811
    assert cvpipe("pipelines", "graph", "detect").out.splitlines()[1] == "  frames: a task for each chunk (queue gpu)"
    drawn = tmp_path / "detect.svg"
    done = cvpipe("pipelines", "graph", "detect", "--out", drawn)
    assert (done.code, done.out) == (0, f"{drawn}\n")
    assert drawn.read_text().startswith("<svg ")
    assert cvpipe("pipelines", "graph", "detect", "--json").json["groups"][0]["nodes"][0]["type"] == "detect"
    wrong = cvpipe("pipelines", "graph", "detect", "--out", tmp_path / "no" / "x.svg")
    assert (wrong.code, len(wrong.err.splitlines())) == (2, 1)
    assert "--out" in wrong.err
