"""Crops and tracks of a job: what is to be cut out, what was, and what is known of each track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cvpipe.errors import LeaseLost, NotFound
from cvpipe.picks import Pick, pack_picks, unpack_picks
from cvpipe.store.connection import Connection, chunk_key, guarded, job_key, picks_key, tracks_key
from cvpipe.store.tasks import Claim
from cvpipe.tracks import CropRecord, TrackRecord

_PAGE = 1000


class Tracks(Connection):
    """Every write names the claim it is made under."""

    @guarded
    def keep_picks(
        self, claim: Claim, job_id: str, segment: int, picks: Mapping[int, list[Pick]], *, lease_seconds: float
    ) -> None:
        """Keep what a crops segment is to make of some chunks. Raises: LeaseLost."""
        args = [claim.task, claim.token, int(lease_seconds * 1000), job_id, segment]
        for chunk, some in picks.items():
            if not self._scripts["keep_picks"](args=[*args, chunk, pack_picks(some)]):
                raise LeaseLost(f"task {claim.task} is no longer ours")

    @guarded
    def picks(self, job_id: str, segment: int, chunk: int) -> list[Pick]:
        """What a crops segment is to make of a chunk, in order."""
        raw = self._redis.get(picks_key(job_id, segment, chunk))
        return [] if raw is None else unpack_picks(raw)

    @guarded
    def append_crops(
        self, claim: Claim, job_id: str, segment: int, chunk: int, crops: Mapping[int, CropRecord], *,
        lease_seconds: float,
    ) -> None:  # fmt: skip
        """Append crops, by the place of their picks, ascending; those already there are skipped. Raises: LeaseLost."""
        entries = [(f"{place + 1}-1", crop.pack()) for place, crop in crops.items()]
        self._append(claim, job_id, chunk_key(job_id, segment, chunk), entries, lease_seconds)

    @guarded
    def crops_done(self, job_id: str, segment: int, chunk: int) -> int:
        """How many of a chunk's picks are done: where to go on after a crash."""
        tail = self._redis.xrevrange(chunk_key(job_id, segment, chunk), count=1)
        return int(tail[0][0].split(b"-")[0]) if tail else 0

    @guarded
    def crops(self, job_id: str, segment: int, chunk: int) -> list[CropRecord]:
        """The crops that a segment has made of a chunk so far, in order."""
        entries = self._redis.xrange(chunk_key(job_id, segment, chunk))
        return [CropRecord.unpack(fields[b"record"]) for _, fields in entries]

    @guarded
    def append_tracks(
        self, claim: Claim, job_id: str, first: int, tracks: Sequence[TrackRecord], *, lease_seconds: float
    ) -> None:
        """Append a job's tracks from number `first` on; those already there are skipped. Raises: LeaseLost."""
        entries = [(f"{number + 1}-1", track.pack()) for number, track in enumerate(tracks, first)]
        self._append(claim, job_id, tracks_key(job_id), entries, lease_seconds)

    @guarded
    def tracks(self, job_id: str, *, after: int = 0, limit: int = _PAGE) -> tuple[list[TrackRecord], bool]:
        """Tracks behind the first `after`, in the order in which they begin; and whether these are the last there are.

        There are none before all frames and crops are done. Raises: NotFound.
        """
        if not self._redis.exists(job_key(job_id)):
            raise NotFound(f"there is no job {job_id!r}")
        entries = self._redis.xrange(tracks_key(job_id), f"{after + 1}-1", "+", count=limit + 1)
        return [TrackRecord.unpack(fields[b"record"]) for _, fields in entries[:limit]], len(entries) <= limit

    def _append(
        self, claim: Claim, job_id: str, key: str, entries: Sequence[tuple[str, bytes]], lease_seconds: float
    ) -> None:
        args = [claim.task, claim.token, int(lease_seconds * 1000), job_id, key, 0, 0]
        if int(self._scripts["append"](args=[*args, *(part for entry in entries for part in entry)])) < 0:
            raise LeaseLost(f"task {claim.task} is no longer ours")
