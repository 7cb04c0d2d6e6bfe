"""Run segments on frames. No Redis, no broker, no HTTP: workers and `cvpipe run` share this code."""

from cvpipe.engine.artefacts import write_artefacts
from cvpipe.engine.chunks import Chunk, frames_of, plan_chunks
from cvpipe.engine.cutting import CropsRunner
from cvpipe.engine.digest import sha256_of
from cvpipe.engine.external import OutsideRunner
from cvpipe.engine.frames import FramesRunner, open_runners
from cvpipe.engine.local import run_local
from cvpipe.engine.picking import Picking
from cvpipe.engine.sequence import SequenceRunner
from cvpipe.engine.summary import Summary
from cvpipe.engine.voting import vote_tracks

__all__ = [
    "Chunk",
    "CropsRunner",
    "FramesRunner",
    "OutsideRunner",
    "Picking",
    "SequenceRunner",
    "Summary",
    "frames_of",
    "open_runners",
    "plan_chunks",
    "run_local",
    "sha256_of",
    "vote_tracks",
    "write_artefacts",
]
