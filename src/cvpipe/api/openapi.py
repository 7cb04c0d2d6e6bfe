"""Writes the OpenAPI document to a file, or says how a file differs from it.

`python -m cvpipe.api.openapi [FILE]` writes it, `--check` compares.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

from cvpipe.api.app import create_app
from cvpipe.settings import Settings

FILE: Final = Path("openapi") / "cvpipe.v1.yaml"


def render() -> str:
    """The document as YAML, the same on every machine."""
    with tempfile.TemporaryDirectory() as folder:
        document = create_app(Settings(data_dir=Path(folder))).openapi()
    head = "# Written by `make openapi`; do not edit.\n"
    return head + yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """YAML for people: no anchors, text of several lines as it is, whole numbers without a point."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Repeat what is the same."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    return dumper.represent_int(int(value)) if value.is_integer() else yaml.SafeDumper.represent_float(dumper, value)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)


def differences(file: Path) -> str:
    """What `file` lacks or has too much, as a unified diff; empty: it is up to date."""
    old = file.read_text(encoding="utf-8") if file.is_file() else ""
    return "".join(difflib.unified_diff(old.splitlines(True), render().splitlines(True), str(file), "now"))


def main(arguments: list[str] | None = None) -> int:
    """Write the document, or check it. Exit status 1: it is stale."""
    parser = argparse.ArgumentParser(prog="python -m cvpipe.api.openapi", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    parser.add_argument("--check", action="store_true", help="compare instead of writing; 1 where it is stale")
    options = parser.parse_args(arguments)
    if not options.check:
        options.file.parent.mkdir(parents=True, exist_ok=True)
        options.file.write_text(render(), encoding="utf-8")
        return 0
    stale = differences(options.file)
    if stale:
        sys.stderr.write(f"{stale}\n{options.file} is stale: run `make openapi`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
