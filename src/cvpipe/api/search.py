"""`/v1/jobs/{id}/search`: what else in a job looks like one of its frames or objects, by embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from cvpipe.api.identity import READ, JobName
from cvpipe.api.problems import responses
from cvpipe.api.resources import StoreDep
from cvpipe.embeddings import Place, find, nearest
from cvpipe.results import FrameRecord
from cvpipe.store import Store

router = APIRouter(prefix="/v1", tags=["results"])

_PAGE: Final = 256


class Alike(BaseModel):
    """A frame or an object that looks alike."""

    frame: int = Field(description="Number of the frame.")
    object: int | None = Field(description="Place in the frame's `objects`, from 0; null: the frame as a whole.")
    time: float = Field(description="Seconds since the first frame of the video.")
    stage: str = Field(description="Name of the stage whose embeddings are compared.")
    score: float = Field(description="Cosine of the two embeddings: 1 is alike.")
    label: str | None = Field(description="Of the object.")
    box: list[float] | None = Field(description="Of the object: x1, y1, x2, y2 in pixels of the source frame.")
    track: int | None = Field(description="Of the object.")


class SearchResult(BaseModel):
    """What was found, the most alike first."""

    matches: list[Alike]
    complete: bool = Field(description="All records that there will ever be were looked at.")


@router.get(
    "/jobs/{job_id}/search",
    operation_id="searchJob",
    dependencies=[READ],
    summary="Search by likeness",
    response_description="The most alike first; the one asked for is left out.",
    responses=responses("not_found", "invalid_request", "internal", "store_unavailable"),
)
def search_job(
    job_id: JobName,
    store: StoreDep,
    like: Annotated[
        str,
        Query(
            max_length=40,
            description="`FRAME:OBJECT`: number of a frame, and place in its `objects`, from 0; or `FRAME`, all of it.",
            examples=["120:0"],
        ),
    ],
    stage: Annotated[
        str | None,
        Query(max_length=64, description="Name of the `embed` stage. Default: the first that embedded what is asked."),
    ] = None,
    top: Annotated[int, Query(ge=1, le=1000, description="How many, at most.")] = 10,
) -> SearchResult:
    """Frames or objects whose embeddings are nearest, by cosine, to that of one of them. The job may still run.

    Every record is read, a page at a time; memory does not grow with the job.
    """
    place = Place.read(like)
    name, vector = find(_records(store, job_id), place, stage)
    complete = store.job(job_id).state.is_final
    matches = nearest(_records(store, job_id), vector, stage=name, top=top, but=place)
    return SearchResult(matches=[Alike.model_validate(match.to_dict()) for match in matches], complete=complete)


def _records(store: Store, job_id: str) -> Iterator[FrameRecord]:
    """All that there are now, in order; a page in memory. Raises: NotFound."""
    after: str | None = None
    while True:
        page, _ = store.frames(job_id, after=after, limit=_PAGE)
        yield from (record for _, record in page)
        if len(page) < _PAGE:
            return
        after = page[-1][0]
