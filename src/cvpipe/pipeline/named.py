"""Pipelines that can be named: built in, in the installation's folder, or a file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cvpipe.documents import mistake
from cvpipe.errors import InvalidPipeline, NotFound
from cvpipe.filecache import FileCache
from cvpipe.log import fields
from cvpipe.pipeline.spec import PipelineSpec, hint, parse_pipeline

if TYPE_CHECKING:
    from cvpipe.settings import Settings

logger = logging.getLogger(__name__)

_specs: FileCache[PipelineSpec] = FileCache()


def load_pipeline(
    reference: str | Path | Mapping[str, Any], *, settings: Settings, files: bool = False, field: str | None = None
) -> PipelineSpec:
    """The pipeline that `reference` names or is.

    reference: a mapping (inline), the name of a built-in pipeline or of one in `settings.pipelines_dir`, or, with
    `files`, the path of a YAML or JSON file. Raises: InvalidPipeline, NotFound.
    """
    if isinstance(reference, Mapping):
        return parse_pipeline(reference, field=field)
    name = str(reference)
    found = _find(name, settings)
    if found is not None:
        return _parsed(found, field=field)
    if files and (isinstance(reference, Path) or name.endswith((".yaml", ".yml", ".json")) or "/" in name):
        path = Path(reference)
        if not path.is_file():
            raise NotFound(f"no pipeline file {str(path)!r}", field=field)
        return parse_pipeline(_read(path), field=field)
    raise NotFound(f"there is no pipeline {name!r}" + hint(name, _named(settings)), field=field)


def list_pipelines(settings: Settings) -> list[PipelineSpec]:
    """All pipelines that can be named, sorted by name. A wrong file is left out with a warning."""
    found = []
    for name, path in sorted(_named(settings).items()):
        try:
            found.append(_parsed(path))
        except InvalidPipeline as error:
            logger.warning("left out a pipeline %s", fields(name=name, error=error))
    return found


def _parsed(path: Any, field: str | None = None) -> PipelineSpec:
    if not isinstance(path, Path):  # in an archive
        return parse_pipeline(_read(path), field=field)
    return _specs.get(path, read=lambda: parse_pipeline(_read(path), field=field))


@cache
def _built_in() -> Mapping[str, Any]:
    folder = resources.files("cvpipe") / "pipelines"
    return {Path(entry.name).stem: entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}


def _find(name: str, settings: Settings) -> Any:
    """The file of a pipeline; None: there is none. Reads no folder: with each job somebody asks."""
    if settings.pipelines_dir is not None and name and Path(name).name == name:
        for path in (settings.pipelines_dir / f"{name}.yml", settings.pipelines_dir / f"{name}.yaml"):
            try:
                if path.exists():
                    return path
            except OSError:  # too long a name, say
                return None
    return _built_in().get(name)


def _named(settings: Settings) -> dict[str, Any]:
    found = dict(_built_in())
    if settings.pipelines_dir is not None and settings.pipelines_dir.is_dir():
        found |= {
            path.stem: path for path in sorted(settings.pipelines_dir.iterdir()) if path.suffix in (".yaml", ".yml")
        }
    return found


def _read(path: Any) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if str(path).endswith(".json") else yaml.safe_load(text)
    except OSError as error:
        raise InvalidPipeline(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise InvalidPipeline(f"{path} is not valid YAML or JSON: {mistake(error)}") from None
