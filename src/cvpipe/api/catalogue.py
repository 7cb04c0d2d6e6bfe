"""`/v1/stages`, `/v1/pipelines`, `/v1/models`: what jobs can be made of."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cvpipe.api.identity import READ
from cvpipe.api.problems import responses
from cvpipe.api.resources import SettingsDep
from cvpipe.inference.cards import ModelCard, load_cards
from cvpipe.pipeline import PipelineSpec, list_pipelines
from cvpipe.pipeline.listing import describe
from cvpipe.stages import Scope

router = APIRouter(prefix="/v1", tags=["catalogue"])


class StageEntry(BaseModel):
    """One kind of stage."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    type: str = Field(description="What a pipeline's stage says as its `type`.", examples=["decimate"])
    scope: Scope = Field(description="What it may see.")
    device: str = Field(description="Which queue it goes to unless told otherwise: `cpu` or `gpu`.")
    summary: str
    options_schema: dict[str, Any] = Field(alias="schema", description="JSON Schema of its options.")


class StageList(BaseModel):
    """All kinds of stages."""

    stages: list[StageEntry]


class PipelineList(BaseModel):
    """All pipelines that a job can name."""

    pipelines: list[PipelineSpec]


class ModelList(BaseModel):
    """The cards of all models that a stage can name, as `name` or `name@version`."""

    models: list[ModelCard]


@router.get(
    "/stages",
    operation_id="listStages",
    dependencies=[READ],
    summary="Kinds of stages and their options",
    response_model=StageList,
    response_description="All kinds of stages.",
    responses=responses("invalid_request", "internal"),
)
def get_stages() -> dict[str, Any]:
    """Every kind of stage with the JSON Schema of its options, sorted by type. One file in `cvpipe/stages` adds one."""
    return {
        "stages": [
            StageEntry(type=s.type, scope=s.scope, device=s.device, summary=s.summary, options_schema=s.schema)
            for s in describe()
        ]
    }


@router.get(
    "/pipelines",
    operation_id="listPipelines",
    dependencies=[READ],
    summary="Pipelines that can be named",
    response_model=PipelineList,
    response_description="All pipelines that have a name.",
    responses=responses("invalid_request", "internal"),
)
def get_pipelines(settings: SettingsDep) -> dict[str, Any]:
    """Built-in pipelines, and the operator's (CVPIPE_PIPELINES_DIR) by name; wrong ones are left out."""
    return {"pipelines": list_pipelines(settings)}


@router.get(
    "/models",
    operation_id="listModels",
    dependencies=[READ],
    summary="Models that can be named",
    response_model=ModelList,
    response_description="All model cards.",
    responses=responses("invalid_request", "internal"),
)
def get_models(settings: SettingsDep) -> dict[str, Any]:
    """The model cards in the operator's folder (CVPIPE_MODELS_DIR), by name and version; wrong cards are left out."""
    return {"models": list(load_cards(settings.models_path).values())}
