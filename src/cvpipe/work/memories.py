"""What stages that remember all frames know between two chunks: a file in the job's folder, named in the store.

The store says which file is the state after the last finished chunk, in the same step that finishes it. A worker that
died or was too late leaves a file that nobody names; whoever finishes a chunk removes those before it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from cvpipe.errors import NotFound, StageFailed, Unavailable
from cvpipe.job import JobState
from cvpipe.lifecycle import memory_folder

if TYPE_CHECKING:
    from cvpipe.engine.frames import States
    from cvpipe.work.bench import Bench
    from cvpipe.work.planned import Part


class Memories:
    """The states of one segment of a job, about the chunk `part`."""

    def __init__(self, bench: Bench, part: Part) -> None:
        self._store, self._part = bench.store, part
        self._folder = memory_folder(bench.settings, part.job)

    def load(self) -> States | None:
        """What was known after the chunk before; None for the first. Raises: StageFailed where the file is gone."""
        state = self._store.sequence_state(self._part.job, self._part.segment)
        if state is None:
            return None
        found: dict[str, dict[str, Any]] = {name: {} for name in state["stages"]}
        try:
            with np.load(self._folder / state["file"], allow_pickle=False) as arrays:
                for key in arrays.files:
                    stage, _, name = key.partition("/")
                    found[stage][name] = arrays[key]
        except (OSError, ValueError, KeyError) as error:
            raise StageFailed(f"what the chunk before has left is gone: {error}; submit the job again") from error
        return found

    @contextmanager
    def saving(self, states: States, token: str) -> Iterator[Mapping[str, Any]]:
        """Write what is known now; gives what the store is to say of it, in the block.

        If the block fails the file stays: the answer may have been lost after the store had taken it.
        """
        rounds = self._store.job(
            self._part.job
        ).rounds  # a worker of an earlier one does not remove what is of this one
        path = self._folder / str(rounds) / f"{self._part.segment}-{self._part.chunk}-{token}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"{stage}/{key}": array for stage, state in states.items() for key, array in state.items()}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        yield {"file": f"{rounds}/{path.name}", "stages": list(states)}
        for old in path.parent.glob(f"{self._part.segment}-*.npz"):
            if int(old.name.split("-")[1]) < self._part.chunk:
                old.unlink(missing_ok=True)


def forget(bench: Bench, job_id: str) -> None:
    """Remove the states of a job that is over."""
    shutil.rmtree(memory_folder(bench.settings, job_id), ignore_errors=True)


def forget_if_canceled(bench: Bench, job_id: str) -> None:
    """Remove the states of a job that was canceled before all of its chunks were done. One that failed may go on."""
    if not memory_folder(bench.settings, job_id).exists():
        return
    with suppress(Unavailable, NotFound):
        if bench.store.job(job_id).state in (JobState.canceling, JobState.canceled):
            forget(bench, job_id)
