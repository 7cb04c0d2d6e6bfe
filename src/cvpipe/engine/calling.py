"""Calls outside of a run in this process: the ledger is in memory, and then `calls.ndjson`."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvpipe.calls import CallRecord, tally
from cvpipe.engine.digest import sha256_of
from cvpipe.engine.external import OutsideRunner
from cvpipe.events import Event
from cvpipe.exports.ndjson import write_ndjson
from cvpipe.outside import Caller, Outside, Secrets, with_cassette
from cvpipe.pipeline import PipelineSpec, Policy, check_calls, plan_segments
from cvpipe.results import FrameRecord
from cvpipe.stages import Tools
from cvpipe.tracks import CropRecord

if TYPE_CHECKING:
    from cvpipe.settings import Settings
    from cvpipe.video import Decoders, VideoIndex

FILE = "calls.ndjson"


class MemoryLedger:
    """A ledger that lasts as long as the run."""

    def __init__(self) -> None:
        self._calls: dict[str, CallRecord] = {}
        self._lock = threading.Lock()

    def known(self) -> Mapping[str, CallRecord]:
        """All calls written so far, by id."""
        with self._lock:
            return dict(self._calls)

    def put(self, call: CallRecord) -> None:
        """Keep it."""
        with self._lock:
            self._calls[call.id] = call

    def in_order(self) -> list[CallRecord]:
        """The whole ledger."""
        return sorted(self.known().values(), key=lambda call: call.number)


class Calling:
    """The external segment of a run: fed while records pass by, run once all have."""

    def __init__(self, runner: OutsideRunner, way: Caller, secrets: Secrets) -> None:
        self._runner, self._way, self._secrets = runner, way, secrets
        self._ledger = MemoryLedger()

    @classmethod
    def of(cls, spec: PipelineSpec, tools: Tools, settings: Settings, *, video: Path) -> Calling | None:
        """None where the pipeline asks nobody. A run goes by its video's digest.

        Raises: InvalidPipeline where it would send what may not be sent; AddressRefused, InvalidRequest (secret).
        """
        segment = next((segment for segment in plan_segments(spec) if segment.kind == "external"), None)
        if segment is None:
            return None
        policy = Policy.of(settings.outside_pictures)
        way = with_cassette(Outside.of(settings), settings.outside_cassette)
        secrets = Secrets.read(settings.outside_secrets)
        check_calls(spec, way.check, secrets.headers)  # before hours of work, not after
        return cls(OutsideRunner(spec, segment, tools, job=sha256_of(video), policy=policy), way, secrets)

    def add(self, record: FrameRecord) -> None:
        """Take the next record."""
        self._runner.add(record)

    def write(self, out: Path, decoders: Decoders, video: Path, index: VideoIndex) -> dict[str, dict[str, Any]]:
        """Make the calls, and write `calls.ndjson`; returns what the job says of them.

        Raises: CallFailed, VideoError.
        """
        if (crops := out / "crops.ndjson").exists():
            with crops.open(encoding="utf-8") as lines:
                for line in lines:
                    self._runner.add_crop(CropRecord.from_dict(json.loads(line)))
        if (events := out / "events.ndjson").exists():
            with events.open(encoding="utf-8") as lines:
                for line in lines:
                    self._runner.add_event(Event.from_dict(json.loads(line)))
        try:
            self._runner.run(self._way, self._secrets, self._ledger, decoders=decoders, path=video, index=index)
        finally:
            write_ndjson(out / FILE, self._ledger.in_order())
        return tally(self._ledger.in_order())
