"""Stages: the steps of a pipeline. One file each; the file's name is the stage's `type`.

A plug-in imports numpy, pydantic and cvpipe's nouns only. What is heavy (OpenCV, ONNX Runtime, SciPy) it gets from the
`Tools` handed to `open`, so that the API can read every stage's options without those packages.

To add a stage, write `cvpipe/stages/NAME.py` (or `cvpipe_stages/NAME.py` in a folder on Python's path) with an options
model and a subclass of one of

- `Selector`     decides which frames are looked at (`range`, `decimate`, `constant_rate`);
- `Reshaper`     changes the picture that later stages see (`resize`, `channels`, `crop`);
- `Tiler`        lets later stages see a frame in several pictures, and merges what they find (`tiles`);
- `FrameStage`   looks at pixels, and at what earlier stages found on the same frame (`edges`, `detect`, `read_text`),
  maybe at some frames before it too (`scenes`, `motion_gate`), or at all of them (`motion`); a `NetworkStage` shows
  frames or objects to a network and has values to say (`classify`, `embed`); a `PictureStage` looks at each picture
  with OpenCV (`edges`, `lines`);
- `SequenceStage` looks at records in order, without pixels (`track`);
- `CropStage`    chooses objects from all records, and cuts them out for the stages that refer to it (`crops`);
- `JobStage`     makes a file of the whole video (`normalise`).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar, cast, get_args

import numpy as np
import numpy.typing as npt

from cvpipe.conditions import Condition, condition_on_frames, condition_on_objects
from cvpipe.errors import CvpipeError, Interrupted, InvalidPipeline, InvalidStage, StageFailed
from cvpipe.events import Event
from cvpipe.expressions import Expression
from cvpipe.footage import Footage as Footage
from cvpipe.frames import Frame, Image, Timeline, View
from cvpipe.options import MapOptions as MapOptions
from cvpipe.options import MapSampling as MapSampling
from cvpipe.options import StageOptions as StageOptions
from cvpipe.options import refuse_idle as refuse_idle
from cvpipe.picks import Cutting, Pick, Shot
from cvpipe.results import Found, FrameRecord, Objects
from cvpipe.shapes import Shape
from cvpipe.tools import Tools as Tools  # stages take it from here, with the rest of what they are made of
from cvpipe.votes import Ballot, Verdict, vote_equal

if TYPE_CHECKING:
    from cvpipe.subjects import Subjects

Scope = Literal["frame", "sequence", "crop", "job", "outside"]


OptionsT = TypeVar("OptionsT", bound=StageOptions)


class Stage(ABC, Generic[OptionsT]):
    """One step of a pipeline, made from its validated options."""

    Options: ClassVar[type[StageOptions]]
    scope: ClassVar[Scope]
    device: ClassVar[Literal["cpu", "gpu"]] = "cpu"
    example: ClassVar[str] = ""
    """Stages of a pipeline that shows it at work, in YAML, for docs/stages.md. Default: itself, with no options."""

    def __init__(self, options: OptionsT) -> None:
        self.options = options
        self.name = options.name

    @classmethod
    def kind(cls) -> str:
        """The request's `type`."""
        return str(get_args(cls.Options.model_fields["type"].annotation)[0])

    @property
    def finds_objects(self) -> bool:
        """Whether it adds objects to records, so that later stages may refer to it."""
        return False

    def references(self) -> tuple[str, ...]:
        """Names of earlier stages whose objects this one needs."""
        return ()

    def boundaries(self) -> tuple[str, ...]:
        """Names of earlier stages at whose cuts (values `cut: true`) this one begins anew."""
        return ()

    def models(self) -> tuple[str, ...]:
        """Names of the models this stage needs."""
        return ()

    def held(self) -> tuple[str, ...]:
        """What is to stay in memory while it works: its models, and networks that have no card (`cvpipe.tools`)."""
        return self.models()

    def meet(self, earlier: Mapping[str, Stage[Any]]) -> None:
        """Look at the stages before, by name, where options speak of what they do. Raises: InvalidPipeline."""

    def open(self, tools: Tools) -> None:
        """Get ready to run: take what is needed from `tools`. Called once, in the worker, before any frame."""

    @property
    def when(self) -> Condition | None:
        """What `when` asks: of objects, where the stage looks at such, else of frames. Raises: InvalidExpression."""
        if self.options.when is None:
            return None
        is_of_objects = self.scope == "sequence" or bool(self.references())
        return (condition_on_objects if is_of_objects else condition_on_frames)(self.options.when)

    def expressions(self) -> Iterator[tuple[str, Expression]]:
        """What its options ask of objects and frames, each with the path of its option. Raises: InvalidExpression."""
        if (when := self.when) is not None:
            yield "when", when.expression


class Selector(Stage[OptionsT]):
    """Decides which frames are looked at, from what is known without their pixels."""

    scope = "frame"
    is_span: ClassVar[bool] = False
    """Whether it picks an uninterrupted part of the video: copies of the video that a job makes are then of it only."""

    @abstractmethod
    def select(self, frames: Timeline) -> npt.NDArray[np.bool_]:
        """Which of the n frames that are still in stay in: (n,) bool."""

    def values(self, frames: Timeline) -> Mapping[int, Any]:  # noqa: ARG002 - most have nothing to say
        """What to say, under the stage's name, in the records of frames that stay in: by frame number.

        frames: those that `select` was asked about.
        """
        return {}

    def summary(self, frames: Timeline) -> Mapping[str, Any]:  # noqa: ARG002 - most have nothing to say
        """What the job says of the selection as a whole, under the stage's name; plain JSON values.

        frames: those that `select` was asked about.
        """
        return {}


class Reshaper(Stage[OptionsT]):
    """Changes the picture that later stages see. Costs nothing by itself: the decoder makes the view in one step."""

    scope = "frame"

    @abstractmethod
    def reshape(self, view: View) -> View:
        """The view that later stages see, from the view before this step."""


class Tiler(Stage[OptionsT]):
    """Lets later frame stages see each frame in several pictures, and merges what a stage finds on them."""

    scope = "frame"

    @abstractmethod
    def tiles(self, view: View) -> tuple[View, ...]:
        """The views that later stages see instead of `view`; one or more."""

    @abstractmethod
    def merge(self, found: Sequence[Found]) -> Found:
        """One result from those of one stage on the tiles of one frame, in the order of `tiles`."""


class FrameStage(Stage[OptionsT]):
    """Looks at the pixels of a frame, and at what earlier stages found on it (crops).

    A stage that looks at pixels over time says with `memory` how many frames back it needs: it is told to `begin` at
    each chunk and gets so many of the frames before the chunk first. One whose results depend on all frames before
    (`remembers_all`) gets them in order: chunks wait for one another, and each is told the `state` after the last.
    """

    scope = "frame"
    tells_masks: ClassVar[bool] = False
    """Whether what it finds out about an object has masks in it."""
    sees_crops: ClassVar[bool] = True
    """Whether it can look at crops, each as if it were a frame with one object."""
    skips: ClassVar[bool] = False
    """Whether it may return `Found.skip`; its value is then a mapping with `skipped: true`, for stages that run
    elsewhere."""
    tallies: ClassVar[tuple[str, ...]] = ()
    """True-or-false entries of its values that the finished job reports: on how many frames, and as a share."""
    remembers_all: ClassVar[bool] = False
    """Whether the result for a frame depends on all frames that it was shown before (design: `memory: all`)."""

    @property
    def finds_objects(self) -> bool:
        """Whether it adds objects to records; one that never does says so, and nothing can refer to it in vain."""
        return True

    @property
    def hands_out_maps(self) -> bool:
        """Whether it may return `Found.map`; by default where its options ask for `maps`."""
        return isinstance(self.options, MapOptions) and self.options.maps is not None

    @property
    def memory(self) -> int:
        """How many frames before a frame, of those that the job looks at, the result for it may depend on."""
        return 0

    def view(self, upstream: View) -> View:
        """The view this stage asks the decoder for. Default: what the steps before it made, as BGR."""
        return upstream.with_format("bgr24")

    @property
    def batch(self) -> int:
        """How many frames the device takes in one call: so many are handed over where there are as many."""
        return 1

    @property
    def together(self) -> int:
        """How many frames to hand over in one call, at most; `batch` at least.

        More where the device takes them one by one but what is done around it costs less for several at once.
        """
        return self.batch

    @abstractmethod
    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:
        """What is found on each frame.

        frames: 1 to `together` frames, images read-only and valid during the call only. found: for each frame, what
        earlier stages found on it. The result for a frame does not depend on the frames it is batched with, but for
        the `memory` frames looked at before it: frames come in order, and the results for those before a chunk are
        dropped.
        Boxes in the result are pixels of the displayed source frame (`frame.view.to_source`).
        """

    def wants(self, record: FrameRecord, before: float | None) -> bool:  # noqa: ARG002 - most want all
        """Whether it is to be shown a frame of which earlier stages have found this. For stages without a `memory`.

        before: time of the frame that the job looks at before this one, in seconds; None for the first.
        """
        return True

    def begin(self) -> None:
        """Forget all frames seen. For stages with a `memory`, and those that remember all.

        What comes next is the beginning of a chunk, or what follows a frame that was damaged or that an earlier stage
        had skipped; for one that remembers all, the first frame of the job.
        """

    def vote(self, ballots: Sequence[Ballot]) -> Verdict | None:
        """What the crops of one track say together, where this stage looks at crops; None: they say nothing as one.

        Default: the value that has most of the weight.
        """
        return vote_equal(ballots)

    def state(self) -> Mapping[str, npt.NDArray[Any]]:
        """What `restore` needs to go on behind the last frame: arrays of plain types. For stages that remember all."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a state that `state` returned, maybe in another process."""


class PictureStage(FrameStage[OptionsT]):
    """Looks at the pictures of frames, one after another, with OpenCV (`_cv2`), and at nothing else.

    It sees grey pictures and has values to say, unless a subclass says so.
    """

    pixel_format: ClassVar[Literal["gray", "bgr24"]] = "gray"
    _cv2: Any

    @property
    def finds_objects(self) -> bool:
        """Values only."""
        return False

    def open(self, tools: Tools) -> None:
        """Take OpenCV."""
        self._cv2 = tools.cv2

    def view(self, upstream: View) -> View:
        """What the steps before made, in the stage's pixel format."""
        return upstream.with_format("gray") if self.pixel_format == "gray" else upstream.in_colours("bgr24")

    def process(self, frames: Sequence[Frame], found: Sequence[Objects]) -> list[Found]:  # noqa: ARG002 - pixels only
        """What `look` finds on each frame."""
        return [self.look(frame) for frame in frames]

    @abstractmethod
    def look(self, frame: Frame) -> Found:
        """What is found on a frame; frames come in order."""


class NetworkStage(FrameStage[OptionsT]):
    """Shows a network whole frames, or with `of` the objects of another stage; its options have `model` and `of`.

    `open` sets `_subjects`, what the network is shown. It adds no objects, unless a subclass says so.
    """

    device = "gpu"
    _subjects: Subjects

    @property
    def finds_objects(self) -> bool:
        """Values only."""
        return False

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are looked at."""
        of = cast("_Asked", self.options).of
        return () if of is None else (of,)

    def models(self) -> tuple[str, ...]:
        """The model asked for."""
        return (cast("_Asked", self.options).model,)

    def view(self, upstream: View) -> View:
        """The network's canvas; with `of` the frame as it is."""
        return self._subjects.view(upstream)

    @property
    def batch(self) -> int:
        """As many frames as the network takes pictures in one call."""
        return self._subjects.batch

    @property
    def together(self) -> int:
        """Several frames, where what the network says of them is small."""
        return self._subjects.together


class _Asked(Protocol):
    """Options of a `NetworkStage`."""

    @property
    def model(self) -> str: ...

    @property
    def of(self) -> str | None: ...


class SequenceStage(Stage[OptionsT]):
    """Looks at the records of a video in order, without pixels; keeps state between them, and tells of events."""

    scope = "sequence"
    event_kinds: ClassVar[tuple[str, ...]] = ()
    """Kinds of events that it may tell of."""
    needs_tracks: ClassVar[bool] = False
    """Whether it does nothing for objects without a track number."""
    gives_tracks: ClassVar[bool] = False
    """Whether it gives objects their track numbers."""
    gates: tuple[str, ...] = ()
    """Names of the stages that may have frames skipped that this stage's `references` then do not look at, and of those
    that `when` keeps from looking at frames; set by the engine."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the displayed source frame in pixels; set by the engine before `open`."""

    def __init__(self, options: OptionsT) -> None:
        super().__init__(options)
        self._told: list[Event] = []

    @property
    def finds_objects(self) -> bool:
        """Whether it adds objects to records."""
        return True

    def looked(self, record: FrameRecord) -> bool:
        """Whether the stages that this one refers to have looked at the frame: it is whole, and was not skipped."""
        return record.status == "ok" and not any(is_true(record, gate, "skipped") for gate in self.gates)

    @property
    def amends(self) -> bool:
        """Whether it may add objects to records that it has been given before: the engine then holds these back."""
        return False

    @abstractmethod
    def update(self, record: FrameRecord) -> FrameRecord:
        """The record with this stage's results. Called once for each record, in order."""

    def take_added(self) -> Mapping[int, Objects]:
        """What it has to add to earlier records since this was asked last, by frame number. For stages that amend."""
        return {}

    def first_open(self, frame: int) -> int:
        """Number of the first frame to whose record it may still add, not above the next. For stages that amend.

        frame: the last that it was given.
        """
        return frame + 1

    def hear(self, events: Sequence[Event]) -> None:
        """Take note of what earlier stages tell with the record that comes next."""

    def end(self) -> None:
        """There are no more records: tell of what still goes on."""

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """What `restore` needs to go on after the last record, as MessagePack-able values."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned, maybe in another process."""

    def shapes(self) -> Sequence[Shape]:
        """What it looks at in the picture, lines and polygons, to be drawn; asked once `size` is set."""
        return ()

    def tell(self, event: Event) -> None:
        """Have an event in the job's log."""
        self._told.append(event)

    def take_told(self) -> list[Event]:
        """What was told since this was asked last."""
        told, self._told = self._told, []
        return told


class FollowingStage(SequenceStage[OptionsT]):
    """Follows the tracked objects of one stage, or of all: its options have `of`. Adds no objects."""

    needs_tracks = True

    @property
    def finds_objects(self) -> bool:
        """It follows those of others."""
        return False

    def references(self) -> tuple[str, ...]:
        """The stage whose objects are followed."""
        of = cast("_Following", self.options).of
        return () if of is None else (of,)


class _Following(Protocol):
    """Options of a `FollowingStage`."""

    @property
    def of(self) -> str | None: ...


class CropStage(Stage[OptionsT]):
    """Chooses objects from the records of a whole job, and cuts them out of their frames.

    The frame stages that refer to it are shown these crops: each is a frame of its own with one object, to which they
    add what they find out.
    """

    scope = "crop"

    @property
    def finds_objects(self) -> bool:
        """Those that it chooses."""
        return True

    @property
    def needs_tracks(self) -> bool:
        """Whether what it refers to must have a `track`."""
        return False

    @property
    def is_turned(self) -> bool:
        """Whether its pictures may lie askew in their frames: masks on them can't be told in pixels of the frame."""
        return False

    @abstractmethod
    def consider(self, record: FrameRecord, frame: tuple[int, int]) -> None:
        """Take the next record, in order; the choice must depend on nothing but all of them.

        frame: width and height of the displayed source frame, in pixels.
        """

    @abstractmethod
    def picks(self) -> list[Pick]:
        """What is to be cut out, once all records have come."""

    @abstractmethod
    def cut(self, image: Image, shot: Shot) -> Cutting | None:
        """The object's picture; None where nothing of it is on the frame.

        image: the displayed source frame, (height, width, 3) BGR, read-only, valid during the call only.
        """


class JobStage(Stage[OptionsT]):
    """Makes files of the whole video, once its frames are done; adds nothing to records."""

    scope = "job"

    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """Names of the files it makes."""

    @abstractmethod
    def make(self, footage: Footage, folder: Path) -> None:
        """Make its `files` in the folder."""


@contextmanager
def blaming(stage: Stage[Any]) -> Iterator[None]:
    """What is raised inside is the stage's fault. Raises: StageFailed; errors of cvpipe go through as they are."""
    try:
        yield
    except (CvpipeError, Interrupted):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise StageFailed(f"stage {stage.name!r} failed: {what}") from error


def looks_back(stage: Stage[Any]) -> bool:
    """Whether what a stage says of a frame depends on the pixels of frames before it."""
    return isinstance(stage, FrameStage) and (stage.remembers_all or stage.memory > 0)


def is_true(record: FrameRecord, stage: str, entry: str) -> bool:
    """Whether a stage's value for a frame has a true entry of this name (`cut`, `skipped`)."""
    value = record.values.get(stage)
    return isinstance(value, Mapping) and value.get(entry) is True


#: Further stages of an installation: any folder of this name on Python's path, one file each.
EXTENSIONS = "cvpipe_stages"


@cache
def discover() -> dict[str, type[Stage[Any]]]:
    """Every stage by its `type`. One broken or doubled file stops the process: half a service is worse.

    Raises: InvalidStage.
    """
    folders = [(__name__, list(__path__))]
    extensions = importlib.util.find_spec(EXTENSIONS)
    if extensions is not None:
        folders.append((EXTENSIONS, list(extensions.submodule_search_locations or ())))
    found: dict[str, type[Stage[Any]]] = {}
    for package, paths in folders:
        for module_info in pkgutil.iter_modules(paths):
            stage = _stage_in(f"{package}.{module_info.name}", getattr(module_info.module_finder, "path", package))
            kind = stage.kind()
            if kind in found:
                raise InvalidStage(f"two stages have the type {kind!r}: {found[kind].__module__}, {stage.__module__}")
            if kind != module_info.name:
                raise InvalidStage(f"{stage.__module__} must be named after its stage's type {kind!r}")
            found[kind] = stage
    return found


def _stage_in(module_name: str, folder: str) -> type[Stage[Any]]:
    name = module_name.rpartition(".")[2]
    where = f"stage file {folder}/{name}.py"
    try:
        module = importlib.import_module(module_name)
    except SyntaxError as error:
        raise InvalidStage(f"{where}, line {error.lineno}: {error.msg}") from error
    except Exception as error:  # whatever the file's own code raises
        raise InvalidStage(f"{where}: {type(error).__name__}: {error}") from error
    stages = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Stage) and value.__module__ == module_name
    ]
    if len(stages) != 1:
        raise InvalidStage(f"{where} holds {len(stages)} stages; it must hold one subclass of a kind of Stage")
    return stages[0]


def kind_of(options: StageOptions) -> str:
    """The `type` of validated options."""
    return str(getattr(options, "type", ""))


def make(options: StageOptions) -> Stage[Any]:
    """The stage for validated options."""
    kind = kind_of(options)
    try:
        return discover()[kind](options)
    except KeyError:
        raise InvalidPipeline(f"there is no stage type {kind!r}") from None
