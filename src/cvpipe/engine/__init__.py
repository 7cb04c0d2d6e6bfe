"""Run segments on frames. No Redis, no broker, no HTTP: workers and `cvpipe run` share this code."""

from cvpipe.engine.artefacts import write_artefacts
from cvpipe.engine.chunks import Chunk, frames_of, plan_chunks
from cvpipe.engine.digest import sha256_of
from cvpipe.engine.frames import FramesRunner, open_runners
from cvpipe.engine.local import run_local
from cvpipe.engine.sequence import SequenceRunner
from cvpipe.engine.summary import Summary

__all__ = [
    "Chunk",
    "FramesRunner",
    "SequenceRunner",
    "Summary",
    "frames_of",
    "open_runners",
    "plan_chunks",
    "run_local",
    "sha256_of",
    "write_artefacts",
]
