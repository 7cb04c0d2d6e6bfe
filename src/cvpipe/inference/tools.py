"""The heavy tools that stages are handed: OpenCV, SciPy's assignment, networks and the text reader."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from cvpipe.errors import ExtraMissing, InvalidModel
from cvpipe.inference.cards import ModelCard, find_card
from cvpipe.inference.findings import Findings
from cvpipe.inference.meters import Meters
from cvpipe.inference.remembered import Remembered, trial_of, way_of
from cvpipe.log import fields
from cvpipe.tools import PACKAGED

if TYPE_CHECKING:
    from cvpipe.inference.budget import Resident
    from cvpipe.inference.captioning import Captioner
    from cvpipe.inference.networks import OnnxNetwork
    from cvpipe.inference.ocr import TextReader
    from cvpipe.inference.profiles import Profile
    from cvpipe.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound="Resident")

_TEXT: Final = ("detector", "recogniser", "angle")
_KINDS: Final = ("network", "captioner", *_TEXT)
"""What a card's files are opened as."""


class OnnxTools:
    """`cvpipe.stages.Tools` on ONNX Runtime. One for each worker process, shared by its threads.

    Each tool is made when first asked for, so that a pipeline without networks loads none.
    """

    def __init__(
        self,
        models_path: Path,
        device: str = "auto",
        *,
        data_path: Path | None = None,
        threads: int | None = None,
        loaded_bytes: int | None = None,
        wait_seconds: float = 0.005,
    ) -> None:
        """models_path: folder of model cards. device: what networks run on; `auto` takes CUDA where it works.

        data_path: folder for what is measured of models, and for what TensorRT builds; without it nothing is measured.
        threads: how many will ask networks at once; default: the cores. loaded_bytes: memory that models may take;
        default: see `default_limit`. wait_seconds: how long a picture waits for others to fill a batch, on a GPU.
        Raises: DeviceUnavailable where a GPU is asked for by name and is not there; ExtraMissing without ONNX Runtime.
        """
        try:
            from cvpipe.inference import budget, devices
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        self.device: str = devices.choose(device)
        self._models_path, self._data_path = models_path, data_path
        self._cores = len(os.sched_getaffinity(0))
        self._threads = threads or self._cores
        self._wait_seconds = wait_seconds
        limit = loaded_bytes or budget.default_limit(self.device)
        self._budget = budget.Budget(limit, device=self.device)
        self._remembered = Remembered(data_path)
        self._way = way_of(self.device, cores=self._cores, threads=self._threads)
        self.meters = Meters()
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As an operator has set it. Raises: see above."""
        return cls(
            settings.models_path,
            settings.device,
            data_path=settings.data_dir,
            threads=settings.threads,
            loaded_bytes=settings.loaded_models_bytes,
            wait_seconds=settings.batch_wait_seconds,
        )

    @property
    def cv2(self) -> Any:
        """OpenCV, held to one thread for one call."""
        return self._once("cv2", _open_cv2)

    @property
    def linear_sum_assignment(self) -> Any:
        """SciPy's optimal assignment: cost (n, m) -> (rows, columns)."""
        return self._once("scipy", _open_assignment)

    def network(self, model: str) -> OnnxNetwork:
        """The network of the model card `name` or `name@version`, loaded once and shared.

        Raises: NotFound, InvalidModel.
        """
        card = find_card(self._models_path, model)
        return self._opened(
            _key("network", card), card.ref, lambda: self._open(card), known_as=card.sha256, size=_file_bytes(card)
        )

    def card(self, model: str) -> ModelCard:
        """The model card `name` or `name@version`. Raises: NotFound, InvalidModel."""
        return find_card(self._models_path, model)

    def captioner(self, model: str) -> Captioner:
        """The captioning networks of the model card `name` or `name@version`, loaded once and shared.

        Raises: NotFound, InvalidModel.
        """
        try:
            from cvpipe.inference.captioning import Captioner
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        encoder = self.network(model)
        card = encoder.card
        return self._opened(
            _key("captioner", card),
            card.ref,
            lambda: Captioner(encoder, device=self.device, wait_seconds=self._wait_seconds, meters=self.meters),
            known_as=card.digest,
            size=sum(_file_bytes(card, spec.file) for spec in card.files.values()),
        )

    @contextmanager
    def holding(self, models: Iterable[str]) -> Iterator[None]:
        """These models are in memory for the length of the block, as far as they have been opened.

        models: as stages name them (`cvpipe.stages.Stage.held`). Waits until there is room, and tells this thread's
        `Share` for what. Raises: NotFound, NoRoomForModels.
        """
        keys: list[str] = []
        for model in models:
            if model.startswith(PACKAGED):
                keys.append(model)
            else:
                card = find_card(self._models_path, model)
                keys += [_key(kind, card) for kind in _KINDS]
        with self._budget.holding(keys):
            yield

    def state(self) -> dict[str, Any]:
        """What a worker says of its engine: plain JSON values.

        device: what networks run on. limit_bytes: for models. loaded: bytes by model. models: see `Use`, by model.
        """
        return {
            "device": self.device,
            "limit_bytes": self._budget.limit,
            "loaded": self._budget.loaded(),
            "models": self.meters.models(),
        }

    @property
    def way(self) -> str:
        """The device and machine, as profiles name them."""
        return self._way

    def used_models(self) -> dict[str, str]:
        """sha256 of the file (`ModelCard.digest`) of every network loaded so far, by `name@version`."""
        cards = [getattr(made, "card", None) for made in list(self._made.values())]
        return {card.ref: card.digest for card in cards if card is not None}

    def ocr(
        self, *, detector: str | None = None, recogniser: str | None = None, angle: str | None = None
    ) -> TextReader:
        """Reads text with the networks of these model cards, or of the package `rapidocr`; loaded once and shared.

        Raises: NotFound, InvalidModel, ExtraMissing.
        """
        refs = {"detector": detector, "recogniser": recogniser, "angle": angle}
        cards = {role: None if ref is None else self.card(ref) for role, ref in refs.items()}
        try:
            from cvpipe.inference.ocr import TextReader
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        wanted = {role: card for role, card in cards.items() if card is not None or role != "angle"}
        return TextReader(self.cv2, **{role: self._text(role, card) for role, card in wanted.items()})

    def _text(self, role: str, card: ModelCard | None) -> Any:
        """One of a reader's networks."""
        from cvpipe.inference import textnets

        kinds: dict[str, Callable[..., Any]] = {
            "detector": textnets.LineDetector,
            "recogniser": textnets.LineReader,
            "angle": textnets.LineTurner,
        }
        kind = partial(
            kinds[role], self.cv2, card, device=self.device, wait_seconds=self._wait_seconds, meters=self.meters
        )
        if card is None:
            name, size = f"{PACKAGED}{role}", len(textnets.packaged(role))
            return self._opened(name, name, kind, known_as=name, size=size)

        def make() -> Any:
            try:
                return kind()
            except InvalidModel as error:
                raise type(error)(f"model {card.ref}: {error.message}", field=error.field) from error

        return self._opened(_key(role, card), card.ref, make, known_as=card.sha256, size=_file_bytes(card))

    def _opened(self, key: str, name: str, make: Callable[[], R], *, known_as: str, size: int) -> R:
        """A network, opened once, when there is room for it.

        known_as: what its memory is remembered by. size: of its files; a guess of it until it was measured.
        """

        def open_it() -> R:
            known = self._remembered.get(known_as, self._way).get("bytes")
            return self._budget.open(
                key,
                name,
                make,
                expected=int(known or 2 * size),
                least=max(1, size // 2),  # all of its weights, as 16-bit floats
                measured=lambda taken: self._remembered.put(known_as, self._way, {"bytes": taken}),
            )

        return self._once(key, open_it)

    def _open(self, card: ModelCard) -> OnnxNetwork:
        from cvpipe.inference.networks import OnnxNetwork
        from cvpipe.inference.sessions import Opening

        engines = None if self._data_path is None else self._data_path / "engines"
        profile = card.profile if card.profile is not None and card.profile.way == self._way else None
        trial = trial_of(self.device, card.model_dump_json())
        network = OnnxNetwork(
            card,
            device=self.device,
            opening=Opening(self.device, engines=engines),
            batch=None if profile is None else profile.batch,
            calls=None if profile is None else profile.calls or None,
            meters=self.meters,
            wait_seconds=self._wait_seconds,
            findings=Findings.of(self._remembered.get(card.sha256, trial)),
            on_findings=lambda found: self._remembered.put(card.sha256, trial, found.to_dict()),
        )
        if self.device == "cpu":
            self._adapt(network, profile)
        return network

    def _adapt(self, network: OnnxNetwork, profile: Profile | None) -> None:
        """Run it with the threads and calls that were fastest here, measured now if they never were.

        On no more cores than there are threads that ask: on the others, another worker may be at work.
        """
        from cvpipe.inference.choice import Choice, choose_way

        cores = min(self._cores, self._threads)
        if profile is not None and profile.calls:
            network.adapt(Choice(profile.threads, profile.calls, {}))
            return
        sha256 = network.card.sha256
        known = self._remembered.get(sha256, self._way)
        if "threads" in known:
            network.adapt(Choice(known["threads"], known["calls"], known["rates"]))
        elif self._data_path is not None and cores > 1:
            choice = choose_way(network.asker, cores=cores, askers=self._threads)
            self._remembered.put(sha256, self._way, asdict(choice))
            log.info("threads chosen %s", fields(model=network.card.ref, threads=choice.threads, calls=choice.calls))
            network.adapt(choice)

    def _once(self, key: str, make: Callable[[], T]) -> T:
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                try:
                    self._made[key] = make()
                except ModuleNotFoundError as error:
                    raise _missing(error) from error
            return cast(T, self._made[key])


def _open_cv2() -> Any:
    import cv2

    cv2.setNumThreads(1)  # the cores belong to the chunks
    return cv2


def _open_assignment() -> Any:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment


def _missing(error: ModuleNotFoundError) -> ExtraMissing:
    return ExtraMissing(f"the package {error.name!r} is not installed; install cvpipe with the extra `cpu` or `gpu`")


def _key(kind: str, card: ModelCard) -> str:
    """A card that was changed on disk is another network."""
    return f"{kind} {card.ref} {card.model_dump_json()}"


def _file_bytes(card: ModelCard, file: str | None = None) -> int:
    """Of a file beside the card, its ONNX file unless named; 0 where it is not there, which is told when it is read."""
    try:
        return card.path.with_name(file or card.file).stat().st_size
    except OSError:
        return 0
