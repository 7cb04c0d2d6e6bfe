"""What tracks say together, put into the records that are drawn: each object says what its track says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cvpipe.results import FrameRecord
from cvpipe.tracks import Key, TrackRecord


class Voted:
    """The texts and labels that tracks say, by track. Memory: those, for each track that says something."""

    def __init__(self, tracks: Iterable[TrackRecord]) -> None:
        self._texts: dict[Key, str] = {}
        self._labels: dict[Key, dict[str, Any]] = {}
        for track in tracks:
            for stage, value in track.values.items():
                if value.get("text"):
                    self._texts[track.key] = value["text"]
                if value.get("label"):
                    best = {"label": value["label"], "score": value["confidence"]}
                    self._labels.setdefault(track.key, {})[stage] = {"top": [best]}

    def applied(self, record: FrameRecord) -> FrameRecord:
        """The record with what the tracks of its objects say in the place of what the objects say."""
        objects = record.objects
        keys = list(zip(objects.stage, objects.track.tolist(), strict=True))
        if not any(key in self._texts or key in self._labels for key in keys):
            return record
        text = tuple(self._texts.get(key, said) for key, said in zip(keys, objects.text, strict=True))
        values = tuple(self._told(key, said) for key, said in zip(keys, objects.values, strict=True))
        return replace(record, objects=replace(objects, text=text, values=values))

    def _told(self, key: Key, said: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        labels = self._labels.get(key)
        return {**(said or {}), **labels} if labels else said
