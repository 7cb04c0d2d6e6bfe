"""Make an int8 version of a model, and keep it only where it finds what the original finds."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvpipe.errors import InvalidModel, InvalidRequest, ModelLosesTooMuch
from cvpipe.inference.cards import CARD_FILE, ModelCard, find_card
from cvpipe.modelfiles.folder import card_text, check_keepable, keep_as
from cvpipe.tuning.agreement import Agreement, agreement_of
from cvpipe.tuning.looking import OnStep, input_view, pictures, pipeline_for, records_of, spread
from cvpipe.video import Decoders, Limits

if TYPE_CHECKING:
    from cvpipe.inference.feeds import Feed
    from cvpipe.settings import Settings


@dataclass(frozen=True, slots=True)
class Try:
    """One way of quantising. loss: one less the agreement; None where it did not run, and `why` says so."""

    recipe: str
    loss: float | None
    agreement: Agreement | None = None
    why: str = ""

    def __str__(self) -> str:
        return f"{self.recipe}: " + (self.why if self.loss is None else f"loses {self.loss:.3f} ({self.agreement})")


@dataclass(frozen=True, slots=True)
class Quantised:
    """A version that was kept. new: it was not there before. tries: the last one is the one that was kept."""

    card: ModelCard
    new: bool
    tries: tuple[Try, ...]


def quantise(
    model: str,
    video: Path,
    *,
    settings: Settings,
    frames: int = 64,
    max_loss: float = 0.02,
    on_step: OnStep | None = None,
) -> Quantised:
    """Quantise `name` or `name@version` with frames of a video, and keep it as `VERSION-int8`.

    frames: for the ranges of activations, half of the video at most; as many others are compared. max_loss: how much
    less than 1 the agreement with the original may be. on_step: told how far it is.
    Raises: ModelLosesTooMuch with all figures; InvalidRequest, InvalidModel, NotFound, VideoError; Conflict,
    Unavailable where nothing can be kept.
    """
    from cvpipe.inference import OnnxTools
    from cvpipe.inference.quantising import Quantiser

    card = _plain(find_card(settings.models_path, model), settings.models_path)
    pipeline_for(card)  # of a task that can be compared
    check_keepable(settings.models_path, card)
    tell = on_step or (lambda _what, _done, _total: None)
    with tempfile.TemporaryDirectory(prefix="cvpipe-quantise-") as temporary, Decoders(limits=Limits.of(settings)) as d:
        models = Path(temporary)
        place_card(models, card)
        index = d.index(video)
        tools = OnnxTools(models, device="cpu")
        network = tools.network(card.ref)
        view = input_view(network, index)
        count = min(frames, len(index) // 2)
        numbers = spread(index, count, offset=0.25)
        others = np.setdiff1d(spread(index, count, offset=0.75), numbers)
        if not len(others):
            raise InvalidRequest("the video has one frame: none is left to compare on", field="video")
        tell("comparing", 0, len(others))
        wanted = records_of(card, tools, decoders=d, video=video, index=index, numbers=others)
        if agreement_of(wanted, wanted).score is None:
            raise InvalidRequest(
                f"{card.ref} finds nothing on {len(others)} frames of this video: take one that shows what it finds",
                field="video",
            )

        def feeds() -> Iterator[Feed]:
            for done, (_, image) in enumerate(pictures(d, video, index, numbers, view)):
                tell("ranges", done + 1, len(numbers))
                yield network.feed([image])

        quantiser = Quantiser(network.graph(), feeds())
        try:
            recipes, tries = quantiser.recipes(), []
            for done, recipe in enumerate(recipes):
                tell(f"quantising {recipe.name}", done, len(recipes))
                raw = quantiser.quantised(recipe)
                made = _card_for(card, raw)
                place_card(models, made, raw=raw)
                try:
                    there = find_card(models, made.ref)
                    records = records_of(
                        there, OnnxTools(models, device="cpu"), decoders=d, video=video, index=index, numbers=others
                    )
                except InvalidModel as error:
                    tries.append(Try(recipe.name, None, why=error.message[:300]))
                    continue
                agreement = agreement_of(wanted, records)
                loss = 1 - (agreement.score or 0.0)
                tries.append(Try(recipe.name, loss, agreement))
                if loss <= max_loss:
                    kept, new = keep_as(settings.models_path, made, raw)
                    return Quantised(kept, new, tuple(tries))
        finally:
            quantiser.close()
    raise _refused(card, tries, max_loss)


def place_card(models_path: Path, card: ModelCard, *, raw: bytes | None = None) -> Path:
    """Put a card, without its profile, and its files into another folder of models; returns its folder."""
    folder = models_path / card.name / card.version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD_FILE).write_text(card_text(card.model_copy(update={"profile": None})), encoding="utf-8")
    if raw is None:
        for name in (card.file, *(spec.file for spec in card.files.values())):
            (folder / name).symlink_to((card.path.parent / name).resolve())
    else:
        (folder / card.file).write_bytes(raw)
    return folder


def _plain(card: ModelCard, models_path: Path) -> ModelCard:
    """The card that is quantised: of a version that a profile has chosen, the one that it was made from."""
    if card.files:
        raise InvalidModel(f"{card.ref} has several files; only models of one file can be quantised", field="model")
    return find_card(models_path, f"{card.name}@{card.quantised_from}") if card.quantised_from else card


def _card_for(card: ModelCard, raw: bytes) -> ModelCard:
    changes: dict[str, Any] = {
        "version": f"{card.version[:26]}-int8",
        "sha256": hashlib.sha256(raw).hexdigest(),
        "made_from": card.sha256,
        "quantised_from": card.version,
        "precision": "int8",
        "profile": None,
    }
    return ModelCard.model_validate({**card.model_dump(), **changes})


def _refused(card: ModelCard, tries: Sequence[Try], max_loss: float) -> ModelLosesTooMuch:
    told = "; ".join(str(one) for one in tries)
    return ModelLosesTooMuch(
        f"nothing was saved: quantised, {card.ref} loses more than {max_loss:g} in every way that was tried: {told}. "
        "Take more frames, or frames like those of your jobs, or allow more with --max-loss.",
        field="--max-loss",
    )
