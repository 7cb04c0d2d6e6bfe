"""Tools: what is heavy, handed to stages instead of being imported by them."""

from __future__ import annotations

from typing import Any, Final, Protocol

from cvpipe.network import Network

PACKAGED: Final = "rapidocr:"
"""What names of networks without a card begin with; the rest is what they are for: `detector`, `recogniser`."""


class Tools(Protocol):
    """What stages get handed instead of importing it: opened once per worker process, shared by its threads."""

    @property
    def cv2(self) -> Any:
        """OpenCV."""
        ...

    @property
    def linear_sum_assignment(self) -> Any:
        """SciPy's optimal assignment: cost (n, m) -> (rows, columns)."""
        ...

    def network(self, model: str) -> Network:
        """The network of the model card `name` or `name@version`, loaded once and shared.

        Raises: NotFound, InvalidModel.
        """
        ...

    def card(self, model: str) -> Any:
        """The model card `name` or `name@version` (`cvpipe.inference.cards.ModelCard`).

        Raises: NotFound, InvalidModel.
        """
        ...

    def captioner(self, model: str) -> Any:
        """The captioning networks of a model card (`cvpipe.inference.captioning.Captioner`), loaded once and shared.

        Raises: NotFound, InvalidModel.
        """
        ...

    def used_models(self) -> dict[str, str]:
        """sha256 of the file of every network loaded so far, by `name@version`."""
        ...

    def ocr(self, *, detector: str | None = None, recogniser: str | None = None, angle: str | None = None) -> Any:
        """Reads text (`cvpipe.inference.ocr.TextReader`), with the networks of these model cards or with its own.

        Raises: NotFound, InvalidModel.
        """
        ...
