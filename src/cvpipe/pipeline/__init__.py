"""From what a user writes to what runs: specification -> validated graph -> frames and plan of segments."""

from cvpipe.pipeline.cameras import FindCamera, with_cameras
from cvpipe.pipeline.named import list_pipelines, load_pipeline
from cvpipe.pipeline.plan import (
    Segment,
    Sight,
    check_fit,
    crop_stages,
    crop_view,
    gates_before,
    gates_of,
    job_stages,
    map_stages,
    plan_segments,
    sights_of,
)
from cvpipe.pipeline.policy import Policy, check_calls, check_policy
from cvpipe.pipeline.reuse import Address, Reuse, addresses_of, find_reuse
from cvpipe.pipeline.selection import Selection, frames_in_range, nothing_left, part_of, select_frames
from cvpipe.pipeline.spec import MAX_STAGES, PipelineSpec, parse_pipeline
from cvpipe.pipeline.stop import StopCondition, check_stop

__all__ = [
    "MAX_STAGES",
    "Address",
    "FindCamera",
    "PipelineSpec",
    "Policy",
    "Reuse",
    "Segment",
    "Selection",
    "Sight",
    "StopCondition",
    "addresses_of",
    "check_calls",
    "check_fit",
    "check_policy",
    "check_stop",
    "crop_stages",
    "crop_view",
    "find_reuse",
    "frames_in_range",
    "gates_before",
    "gates_of",
    "job_stages",
    "list_pipelines",
    "load_pipeline",
    "map_stages",
    "nothing_left",
    "parse_pipeline",
    "part_of",
    "plan_segments",
    "select_frames",
    "sights_of",
    "with_cameras",
]
