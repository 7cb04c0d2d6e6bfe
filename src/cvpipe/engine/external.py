"""Run an external segment: choose what servers outside are asked, and ask it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cvpipe.calls import Asking, CallRecord
from cvpipe.engine.asking import Asker, Ledger, Question
from cvpipe.engine.outgoing import Choice, Item, Picture, distance, with_pictures, without_values
from cvpipe.errors import PictureWithheld
from cvpipe.events import Event
from cvpipe.job import JobError
from cvpipe.pipeline import PipelineSpec, Policy, Segment, gates_of
from cvpipe.results import FrameRecord
from cvpipe.stages import Tools
from cvpipe.stages.external import External, ExternalOptions

if TYPE_CHECKING:
    from cvpipe.outside import Caller, Secrets
    from cvpipe.tracks import CropRecord
    from cvpipe.video import Decoders, VideoIndex

_OF_A_PLACE: Final = frozenset({"frame", "time", "score", "box", "x", "y", "width", "height", "area", "track"})
"""Fields that differ between any two looks at the same thing: the cache looks past them."""
_NUMBERS: Final = 10_000_000  # calls of a stage, at most


class OutsideRunner:
    """An external segment. Feed it all records in order, and crops and events where there are some, then run it."""

    def __init__(
        self, spec: PipelineSpec, segment: Segment, tools: Tools, *, job: str, policy: Policy, rounds: int = 0
    ) -> None:
        """job: its id; what is asked twice for the same job is the same question. rounds: how often it was begun again.

        Raises: InvalidPipeline.
        """
        made = spec.make_stages()
        self._cv2, self._job, self._policy, self._rounds = tools.cv2, job, policy, rounds
        self._stages = [stage for n in segment.stages if isinstance(stage := made[n], External)]
        self._choices = []
        for stage in self._stages:
            policy.check(stage)
            stage.meet({other.name: other for other in made[: made.index(stage)]})
            self._choices.append(Choice(stage, gates_of(made, stage)))

    def add(self, record: FrameRecord) -> None:
        """Take the next record."""
        for choice in self._choices:
            choice.add(record)

    def add_crop(self, crop: CropRecord) -> None:
        """Take the next crop; after all records."""
        for choice in self._choices:
            choice.add_crop(crop)

    def add_event(self, event: Event) -> None:
        """Take the next event of the job's log."""
        for choice in self._choices:
            choice.add_event(event)

    def run(
        self,
        way: Caller,
        secrets: Secrets,
        ledger: Ledger,
        *,
        decoders: Decoders,
        path: Path,
        index: VideoIndex,
        check: Callable[[], None] = lambda: None,
        is_turn_over: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Make all calls that are not in the ledger yet. Returns whether that was done before the turn was over.

        check: called often; what it raises ends the run, and calls under way are left to themselves: the next run makes
        them again, with the same Idempotency-Key. is_turn_over: asked before each call; calls under way are awaited.
        Raises: CallFailed where one has failed and the stage says so; AddressRefused, InvalidRequest, VideoError.
        """
        known = dict(ledger.known())
        for number, (stage, choice) in enumerate(zip(self._stages, self._choices, strict=True)):
            target = way.check(stage.options.url)
            headers = secrets.headers(stage.options.secret, stage.options.url)
            seen = with_pictures(
                choice.items(),
                choice,
                stage.options,
                decoders=decoders,
                path=path,
                index=index,
                cv2=self._cv2,
                frames_allowed=self._policy.frames,
            )
            questions = _Questions(self._job, stage, number * _NUMBERS, target.origin, self._rounds)
            if not Asker(stage, headers, way, ledger, known, rounds=self._rounds).run(
                questions.of(seen), check, is_turn_over
            ):
                return False
        return True


class _Questions:
    """The calls of a stage, in order; what can't be sent, or was sent already, is one with its reason."""

    def __init__(self, job: str, stage: External, first: int, server: str, rounds: int) -> None:
        self._job, self._stage, self._next, self._server, self._rounds = job, stage, first, server, rounds
        self._options: ExternalOptions = stage.options
        # Of fields and first picture, and the call that asks about it. Memory: some hundred bytes a call.
        self._asked: list[tuple[str, str, str]] = []

    def of(self, seen: Iterable[tuple[Item, tuple[Picture, ...] | PictureWithheld]]) -> Iterator[Question]:
        """Memory: the pictures of one batch."""
        batch: list[tuple[Item, tuple[Picture, ...]]] = []
        for item, pictures in seen:
            if isinstance(pictures, PictureWithheld):
                error = JobError(code=pictures.code, message=pictures.message)
                yield self._question([(item, ())], state="skipped", error=error)
            elif self._options.cache_distance is not None and pictures:
                yield self._one_of_a_look(item, pictures, self._options.cache_distance)
            else:
                batch.append((item, pictures))
                if len(batch) == self._options.batch:
                    yield self._question(batch)
                    batch = []
        if batch:
            yield self._question(batch)

    def _one_of_a_look(self, item: Item, pictures: tuple[Picture, ...], distance_bits: int) -> Question:
        said = json.dumps({name: v for name, v in item.fields.items() if name not in _OF_A_PLACE}, default=str)
        for text, shown, call in self._asked:
            if text == said and distance(shown, pictures[0].hash) <= distance_bits:
                return self._question([(item, pictures)], state="cached", same_as=call)
        question = self._question([(item, pictures)])
        self._asked.append((said, pictures[0].hash, question.record.id))
        return question

    def _question(self, some: Sequence[tuple[Item, tuple[Picture, ...]]], **changes: Any) -> Question:
        self._next += 1
        told = [without_values(item, pictures) for item, pictures in some]
        items = [
            [one.of, one.frame, one.place, one.track, one.event, dict(item.fields), item.shots]
            for one, (item, _) in zip(told, some, strict=True)
        ]
        identity = json.dumps([self._job, self._stage.name, items], default=str)
        record = CallRecord(
            id=hashlib.sha256(identity.encode()).hexdigest()[:32],
            number=self._next,
            stage=self._stage.name,
            state="sent",
            server=self._server,
            round=self._rounds,
            items=told,
        )
        asked = [Asking(item.fields, tuple(picture.data for picture in pictures)) for item, pictures in some]
        return Question(record.model_copy(update=changes), asked)
