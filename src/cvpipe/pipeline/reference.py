"""The page docs/stages.md: every stage with its options, its defaults and an example, from the stages' own classes.

`python -m cvpipe.pipeline.reference [FILE]` writes it, `--check` compares.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from cvpipe.pipeline.plan import default_queue
from cvpipe.pipeline.spec import PipelineSpec, parse_pipeline
from cvpipe.stages import (
    CropStage,
    FrameStage,
    JobStage,
    Reshaper,
    Selector,
    SequenceStage,
    Stage,
    StageOptions,
    Tiler,
    discover,
)

FILE: Final = Path("docs") / "stages.md"
COSTS: Final = Path("benchmarks") / "stages.json"  # `make bench ARGS=stages` writes it
_OURS: Final = "cvpipe.stages"  # an installation's own are left out
_HEAD: Final = """\
# Stages

Written by `make stages` from the stages' classes; do not edit. [pipelines.md](pipelines.md) says how they work
together, [results.md](results.md) where their results are.

- *scope*: what a stage may see. *queue*: where it runs unless it has a `queue` of its own; `-` where it is no step of a
  worker's: choosing frames and making pictures is done by the decoder.
- Options that every stage has: `name`, its name in results, unique in the pipeline (default: its type); `queue`, to run
  it as a service of its own; `when`, for those that look at objects or frames, a
  [condition](pipelines.md#conditions).
- *cost*: milliseconds for each frame looked at, on [the benchmark](benchmarks.md#stages): all that a stage's example
  does besides reading the frames, what it builds on (`detect`, say) too; `-`: not measured yet.
- Models of the examples: `yolox-nano`, `deeplab-voc`, `person-reid`, `skin-clothes-hair` and `yunet` have cards in
  [examples/models](../examples/models); `main-colour`, `ground-depth`, `colour-points` and `scene-words` are
  [made by hand](models.md#models-made-by-hand). In the example of `external`, put the address of a server of yours.
- `cvpipe stages show TYPE` prints the same for one stage; those of your own too.
"""


def example_of(stage: type[Stage[Any]]) -> PipelineSpec:
    """The example of a stage as a pipeline. Raises: InvalidPipeline."""
    written = inspect.cleandoc(stage.example) or f"- {{type: {stage.kind()}}}"
    return parse_pipeline({"name": stage.kind().replace("_", "-"), "stages": yaml.safe_load(written)})


def costs(file: Path = COSTS) -> dict[str, float]:
    """Milliseconds for each frame that each stage's example takes, as measured. Raises: OSError, ValueError."""
    measured: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))["example_ms"]
    return measured


def render() -> str:
    """The page, the same on every machine."""
    measured = costs()
    found = [(kind, stage) for kind, stage in sorted(discover().items()) if stage.__module__ == f"{_OURS}.{kind}"]
    rows = ["| type | scope | queue | cost | what it does |", "| --- | --- | --- | ---: | --- |"]
    for kind, stage in found:
        cost = f"{measured[kind]:.1f}" if kind in measured else "-"
        rows.append(f"| [`{kind}`](#{kind}) | {_scope(stage)} | {_queue(stage)} | {cost} | {_summary(stage)} |")
    return "\n".join([_HEAD, *rows, *(_section(kind, stage) for kind, stage in found)]) + "\n"


def _section(kind: str, stage: type[Stage[Any]]) -> str:
    example_of(stage)
    written = inspect.cleandoc(stage.example) or f"- {{type: {kind}}}"
    text = [f"\n## {kind}\n", _described(stage), "```yaml", "stages:", *(f"  {line}" for line in written.splitlines())]
    schema = stage.Options.model_json_schema()
    common = StageOptions.model_fields
    options = {name: told for name, told in schema["properties"].items() if name != "type" and name not in common}
    text += ["```\n"]
    if not options:
        return "\n".join([*text, "No options of its own."])
    required = schema.get("required", ())
    text += ["| option | kind | default | meaning |", "| --- | --- | --- | --- |"]
    for name, told in options.items():
        default = "required" if name in required else default_of(told)
        text.append(f"| `{name}` | {_cell(kind_of(told))} | {_cell(default)} | {_cell(told.get('description', ''))} |")
    return "\n".join(text)


def _described(stage: type[Stage[Any]]) -> str:
    """The docstring as Markdown: names of values in it are code already, and lines are joined."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(stage.__doc__ or ""))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs) + "\n"


def _summary(stage: type[Stage[Any]]) -> str:
    return _cell((stage.__doc__ or "").strip().splitlines()[0])


def _scope(stage: type[Stage[Any]]) -> str:
    if issubclass(stage, Selector):
        return "which frames"
    if issubclass(stage, Reshaper | Tiler):
        return "the picture"
    return stage.scope


def _queue(stage: type[Stage[Any]]) -> str:
    if issubclass(stage, FrameStage | SequenceStage | CropStage):
        return f"`{default_queue([stage])}`"
    return "`finish`" if issubclass(stage, JobStage) else "-"


def kind_of(option: Mapping[str, Any]) -> str:
    """What an option takes, from its JSON Schema: `number`, `a|b`, `list of string`."""
    if "enum" in option:
        return "|".join(map(str, option["enum"]))
    if "const" in option:
        return str(option["const"])
    if "anyOf" in option:
        return "|".join(kind_of(part) for part in option["anyOf"] if part.get("type") != "null")
    if option.get("type") == "array":
        return f"list of {kind_of(option['items'])}" if "items" in option else "list"
    return str(option.get("type") or option.get("$ref", "").rpartition("/")[2] or "any")


def default_of(option: Mapping[str, Any]) -> str:
    """An option's default as JSON; `-` where it has none."""
    return json.dumps(option["default"]) if option.get("default") is not None else "-"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def differences(file: Path) -> str:
    """What `file` lacks or has too much, as a unified diff; empty: it is up to date."""
    old = file.read_text(encoding="utf-8") if file.is_file() else ""
    return "".join(difflib.unified_diff(old.splitlines(True), render().splitlines(True), str(file), "now"))


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or check it. Exit status 1: it is stale."""
    parser = argparse.ArgumentParser(
        prog="python -m cvpipe.pipeline.reference", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    parser.add_argument("--check", action="store_true", help="compare instead of writing; 1 where it is stale")
    options = parser.parse_args(arguments)
    if not options.check:
        options.file.write_text(render(), encoding="utf-8")
        return 0
    stale = differences(options.file)
    if stale:
        sys.stderr.write(f"{stale}\n{options.file} is stale: run `make stages`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
