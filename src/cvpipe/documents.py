"""YAML and JSON that people write: what is wrong with a text that is neither."""

from __future__ import annotations

import yaml


def mistake(error: Exception) -> str:
    """What a parser stumbled over and where, in one line; lines and columns count from 1, as editors show them."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        # str(error) begins with what was being read, not with what is wrong
        where = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        return f"{where}: {error.problem or error.context}"
    return (str(error) or type(error).__name__).splitlines()[0]
