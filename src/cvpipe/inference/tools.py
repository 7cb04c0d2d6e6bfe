"""The heavy tools that stages are handed: OpenCV, SciPy's assignment, networks and the text reader."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cvpipe.errors import ExtraMissing
from cvpipe.inference.cards import ModelCard, find_card

if TYPE_CHECKING:
    from cvpipe.inference.captioning import Captioner
    from cvpipe.inference.networks import OnnxNetwork
    from cvpipe.inference.ocr import TextReader

T = TypeVar("T")


class OnnxTools:
    """`cvpipe.stages.Tools` on ONNX Runtime. One for each worker process, shared by its threads.

    Each tool is made when first asked for, so that a pipeline without networks loads none.
    """

    def __init__(self, models_path: Path, device: str = "auto") -> None:
        """models_path: folder of model cards. device: what networks run on; `auto` takes CUDA where it works.

        Raises: DeviceUnavailable where CUDA is asked for by name and is not there; ExtraMissing without ONNX Runtime.
        """
        try:
            from cvpipe.inference import devices
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        self.device: str = devices.choose(device)
        self._models_path = models_path
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

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
        from cvpipe.inference.networks import OnnxNetwork

        card = find_card(self._models_path, model)
        # A card that was changed on disk is another network.
        key = f"network {card.ref} {card.model_dump_json()}"
        return self._once(key, lambda: OnnxNetwork(card, device=self.device))

    def card(self, model: str) -> ModelCard:
        """The model card `name` or `name@version`. Raises: NotFound, InvalidModel."""
        return find_card(self._models_path, model)

    def captioner(self, model: str) -> Captioner:
        """The captioning networks of the model card `name` or `name@version`, loaded once and shared.

        Raises: NotFound, InvalidModel.
        """
        encoder = self.network(model)
        return self._once(f"captioner {encoder.card.model_dump_json()}", lambda: _open_captioner(encoder, self.device))

    def used_models(self) -> dict[str, str]:
        """sha256 of the file (`ModelCard.digest`) of every network loaded so far, by `name@version`."""
        networks = [made for made in list(self._made.values()) if hasattr(made, "card")]
        return {network.card.ref: network.card.digest for network in networks}

    def ocr(self) -> TextReader:
        """The text detector and recogniser of the package `rapidocr`, loaded once and shared. Raises: ExtraMissing."""
        from cvpipe.inference.ocr import TextReader

        return self._once("ocr", lambda: TextReader(self.cv2, device=self.device))

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


def _open_captioner(encoder: OnnxNetwork, device: str) -> Captioner:
    from cvpipe.inference.captioning import Captioner

    return Captioner(encoder, device=device)


def _open_cv2() -> Any:
    import cv2

    cv2.setNumThreads(1)  # the cores belong to the chunks
    return cv2


def _open_assignment() -> Any:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment


def _missing(error: ModuleNotFoundError) -> ExtraMissing:
    return ExtraMissing(f"the package {error.name!r} is not installed; install cvpipe with the extra `cpu` or `gpu`")
