"""Look at an ONNX file that nobody knows yet, and make what its card says. Runs in a process of its own (`child`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from onnx import ModelProto
from pydantic import ValidationError

from cvpipe.errors import InvalidModel, ModelUnrecognised
from cvpipe.inference.captioning import Captioner
from cvpipe.inference.cards import Extra, InputSpec, ModelCard, nearest
from cvpipe.inference.fusing import with_pixels_in, with_places_out
from cvpipe.inference.graphs import card_input, image_input, read_graph
from cvpipe.inference.labels import VOC
from cvpipe.inference.networks import OnnxNetwork
from cvpipe.inference.trials import (
    Declared,
    Outcome,
    Port,
    Trial,
    declared,
    fixed_size,
    freed_batch,
    pictures,
    same,
)
from cvpipe.modelfiles.facts import WHOLE, Facts, Proposal, class_names, usual_input
from cvpipe.modelfiles.found import Found
from cvpipe.modelfiles.proposals import proposals
from cvpipe.modelfiles.wish import Wish
from cvpipe.models import MapFamily, discover, family, options_of

_EXTRA_NAMES: Final[Mapping[str, Extra]] = {
    "orig_target_sizes": "size_wh", "target_sizes": "size_hw", "im_shape": "size_hw", "image_shape": "size_hw",
    "scale_factor": "scale_hw", "pixel_mask": "one",
}  # fmt: skip
_USUAL_SIZE: Final = (640, 640)
_LINE_HEIGHTS: Final = (32, 48)
_LINE_WIDTH: Final = 320
_WITHOUT_BACKGROUND: Final = ("detection", "instance-segmentation")
_CLASSIFIED_WITHOUT: Final = frozenset({"embedding", "depth", "text", "captioning"})


def examine(raw: bytes, wish: Wish, name: str) -> tuple[Found, bytes]:
    """What the card of this file says, and the file as it is to be kept: as it came, or edited.

    Raises: InvalidModel and those below it.
    """
    model = read_graph(raw)
    said = declared(model)
    spec, notes = _first_spec(model, said, wish)
    trial = Trial(raw, model, spec)
    outcome = trial.outcome()
    facts = _facts(said, outcome, spec, wish)
    card, chosen, others = _choose(facts, wish, name, spec, notes)
    notes += _told_input(card.input, wish, said)
    batch = outcome.batch
    edited: ModelProto | None = None
    if not wish.free_batch:
        notes.append("batch: left as it is")
    elif not outcome.rows:
        notes.append("batch: outputs have no row for each picture; pictures run one at a time")
    else:
        edited, words = freed_batch(raw, model, card.input)
        notes.append(f"batch: {words}")
        batch = None if edited is not None else batch
    if wish.fuse:
        edited, plain = _fused(raw, model, edited, card.input)
        card = card.model_copy(update={"input": plain})
        notes.append("pixels: normalisation and layout are in the graph; same answers, bit for bit")
    if outcome.rows:
        edited, card, told = _telling_places(raw, model, edited, card, outcome.shapes)
        notes += told
    if wish.fix_size:
        made, words = fixed_size(*_so_far(raw, model, edited), card.input)
        edited, card = made or edited, card.model_copy(update={"rectangular": False})
        notes.append(f"size: {words}")
    kept = raw
    if edited is not None:
        kept = edited.SerializeToString(deterministic=True)
        # Told apart from the file that was tried above: what is written is what ran.
        outcome = Trial(kept, read_graph(kept), card.input).outcome()
    document = card.model_dump(mode="json", exclude={"version", "file", "sha256", "made_from"})
    found = Found(
        card=document,
        why=chosen.why,
        others=others,
        notes=[note[:1000] for note in notes],
        shapes=[list(shape) for shape in outcome.shapes],
        milliseconds=round(outcome.seconds * 1000, 3),
        edited=edited is not None,
        batch=batch,
    )
    return found, kept


def check(raw: bytes, card: ModelCard) -> list[tuple[str, bool, str]]:
    """What is right and wrong with a card and its file: (what, is it, why), up to the first thing that is wrong."""
    done: list[tuple[str, bool, str]] = []

    def step(what: str, words: str) -> None:
        done.append((what, True, words))

    what = "sha256"
    try:
        actual = hashlib.sha256(raw).hexdigest()
        if actual != card.sha256:
            raise InvalidModel(f"the card says {card.sha256}, the file has {actual}")
        step(what, actual)
        what = "graph"
        model = read_graph(raw)
        said = declared(model)
        card_input(model, card.input)
        step(what, f"{said.nodes} nodes, input {_shown(said.inputs)}, output {_shown(said.outputs)}")
        what = "trial run"
        outcome = Trial(raw, model, card.input).outcome()
        batch = "any batch" if outcome.batch is None else f"batches of {outcome.batch}"
        step(what, f"{outcome.seconds * 1000:.1f} ms for one call with one thread, {batch}")
        what = "family"
        family(card).check(outcome.shapes, card)
        step(what, f"{card.family} reads outputs {[list(shape) for shape in outcome.shapes]}")
    except InvalidModel as error:
        done.append((what, False, f"{error.code}: {error.message}"))
    return done


def say_two_words(card: ModelCard) -> None:
    """Have a captioning card's networks say two words. Raises: InvalidModel and those below it."""
    for role, spec in {"file": card.file, **{role: spec.file for role, spec in card.files.items()}}.items():
        if spec.endswith(".onnx"):
            try:
                read_graph(card.read() if role == "file" else card.read_file(role))
            except InvalidModel as error:
                raise type(error)(
                    f"{role}: {error.message}", field=role if role == "file" else f"files.{role}"
                ) from error
    Captioner(OnnxNetwork(card, device="cpu"), device="cpu")


def _first_spec(model: ModelProto, said: Declared, wish: Wish) -> tuple[InputSpec, list[str]]:
    """Enough of the input to run it: layout, size, further inputs. Normalisation follows the family."""
    notes: list[str] = []
    extra = dict(wish.extra)
    pictures = []
    for port in said.inputs:
        if port.name in extra:
            continue
        if port.name in _EXTRA_NAMES:
            extra[port.name] = _EXTRA_NAMES[port.name]
            notes.append(f"input {port.name}: is fed {extra[port.name]}, as its name says")
        else:
            pictures.append(port)
    if len(pictures) != 1:
        names = ", ".join(port.name for port in pictures) or "none"
        raise ModelUnrecognised(
            f"wanted one input for pictures, got {names}; say what others are fed with `extra`", field="extra"
        )
    layout = _layout(pictures[0])
    image = image_input(model, layout, extra)
    asked = (wish.width, wish.height)
    width, height = image.width or wish.width, image.height or wish.height
    for side, got, wanted in (("width", image.width, wish.width), ("height", image.height, wish.height)):
        if got is not None and wanted is not None and got != wanted:
            raise InvalidModel(f"the network's {side} is {got}; it can't be {wanted}", field="input_size")
    if width is None or height is None:
        square = width or height
        guess = (square, square) if square else _USUAL_SIZE
        if height in _LINE_HEIGHTS and width is None:
            guess = (_LINE_WIDTH, height)  # a line of text
        if asked == (None, None):
            notes.append(f"size: the file leaves it open; {guess[0]}x{guess[1]} is taken (input-size says otherwise)")
        width, height = width or guess[0], height or guess[1]
    try:
        return InputSpec(width=width, height=height, layout=layout, extra=extra), notes
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ModelUnrecognised(
            f"the network's input is {width}x{height}: {first['msg']}", field="input_size"
        ) from error


def _layout(port: Port) -> Any:
    dims = port.dims[1:] if len(port.dims) == 4 else port.dims
    if len(dims) != 3:
        raise ModelUnrecognised(f"wanted an input of pictures, with four dimensions; {port.name} has {list(port.dims)}")
    if dims[0] == 3:
        return "nchw"
    if dims[2] == 3:
        return "nhwc"
    if isinstance(dims[0], str | None) and not isinstance(dims[2], int):
        return "nchw"
    raise ModelUnrecognised(f"wanted an input of pictures, with three channels; {port.name} has {list(port.dims)}")


def _facts(said: Declared, outcome: Outcome, spec: InputSpec, wish: Wish) -> Facts:
    dtype = next((port.dtype for port in said.inputs if port.name not in spec.extra), "float")
    return Facts(
        inputs=tuple(port.name for port in said.inputs),
        outputs=tuple(port.name for port in said.outputs),
        shapes=outcome.shapes,
        width=spec.width,
        height=spec.height,
        layout=spec.layout,
        dtype=dtype,
        rows=outcome.rows,
        low=outcome.low,
        high=outcome.high,
        metadata=said.metadata,
        normalises=said.normalises,
        reverses=said.reverses,
        last=said.last_operators,
        integers=outcome.integers,
        labels=None if wish.labels is None else len(wish.labels),
        keypoints=None if wish.keypoints is None else len(wish.keypoints),
        task=wish.task,
    )


def _choose(
    facts: Facts, wish: Wish, name: str, spec: InputSpec, notes: list[str]
) -> tuple[ModelCard, Proposal, list[str]]:
    """The surest family that reads these outputs, its card, and which others would."""
    found = proposals(facts, discover())
    if wish.family is not None:
        found = [p for p in found if p.family == wish.family] or [_plain(wish, facts)]
    elif wish.task is not None:
        found = [p for p in found if wish.task in discover()[p.family].tasks]
    refused: list[tuple[Proposal, InvalidModel]] = []
    fitting: list[tuple[ModelCard, Proposal, list[str]]] = []
    for proposal in found:
        own: list[str] = []
        try:
            card = _card(proposal, facts, wish, name, spec=spec, notes=own)
            family(card).check(facts.shapes, card)
        except InvalidModel as error:
            refused.append((proposal, error))
            if wish.family is not None:
                _blame_labels(facts, wish, name, spec)
                raise
            if not fitting and error.field == "labels" and wish.labels is None and proposal.classes is None:
                raise InvalidModel(f"as {proposal.family}, {error.message}: say which", field="labels") from error
            continue
        fitting.append((card, proposal, own))
    if not fitting:
        _blame_labels(facts, wish, name, spec)
        if refused and getattr(wish, (refused[0][1].field or "").partition(".")[0], None):  # the user's own word
            raise refused[0][1]
        shapes = ", ".join(f"{o} {list(s)}" for o, s in zip(facts.outputs, facts.shapes, strict=False))
        told = "; ".join(f"{p.family}: {error.message.removeprefix(f'model {name}@1: ')}" for p, error in refused)
        reasons = f" ({told[:500]})" if told else ""
        raise ModelUnrecognised(
            f"no family reads these outputs: {shapes[:500]}{reasons}. Name one with `family`; there is "
            f"{', '.join(sorted(discover()))}",
            field="family",
        )
    card, proposal, own = fitting[0]
    notes += own
    return card, proposal, [f"{p.family}: {p.why}" for _, p, _ in fitting[1:]]


def _blame_labels(facts: Facts, wish: Wish, name: str, spec: InputSpec) -> None:
    """Raises: InvalidModel where a family would read the outputs with another number of labels."""
    if wish.labels is None:
        return
    try:
        without = wish.model_copy(update={"labels": None})
        card, _, _ = _choose(replace(facts, labels=None), without, name, spec, [])
    except InvalidModel:
        return
    there_are = f"{len(card.labels)} classes" if len(card.labels) > 1 else "one class"
    came = f"{len(wish.labels)} labels" if len(wish.labels) > 1 else f"one label ({wish.labels[0]!r})"
    raise InvalidModel(f"as {card.family}, this network tells {there_are} apart, and {came} came", field="labels")


def _plain(wish: Wish, facts: Facts) -> Proposal:
    """A family that the user names and that no rule proposes."""
    families = discover()
    name = str(wish.family)
    if name not in families:
        raise InvalidModel(f"there is no family {name!r}{nearest(name, families)}", field="family")
    task = wish.task or families[name].tasks[0]
    return Proposal(name, task, "as asked for", 1.0, input=usual_input(facts, task))


def _card(proposal: Proposal, facts: Facts, wish: Wish, name: str, *, spec: InputSpec, notes: list[str]) -> ModelCard:
    task = wish.task or proposal.task
    labels = wish.labels if wish.labels is not None else proposal.labels
    if labels == VOC and task in _WITHOUT_BACKGROUND and proposal.classes == len(VOC) - 1:
        labels = VOC[1:]
    if not labels and task not in _CLASSIFIED_WITHOUT and proposal.classes != 0:
        count = proposal.classes or len(facts.names)
        if count:
            labels, origin = class_names(count, facts, task)
            notes.append(f"labels: {count}, {origin}")
    said = {
        key: value
        for key in ("color", "mean", "scale", "resize", "anchor", "pad")
        if (value := getattr(wish, key)) is not None
    }
    content: dict[str, Any] = {
        "name": name, "task": task, "family": proposal.family, "file": f"{name}.onnx", "sha256": "0" * 64,
        "input": {**spec.model_dump(), **proposal.input, **said},
        "labels": labels, "keypoints": wish.keypoints or proposal.keypoints, "skeleton": proposal.skeleton,
        "options": {**proposal.options, **wish.options}, "licence": wish.licence, "source": wish.source,
    }  # fmt: skip
    if wish.keypoints is not None and len(wish.keypoints) != len(proposal.keypoints):
        content["skeleton"] = ()
    score = proposal.score_threshold if wish.score_threshold is None else wish.score_threshold
    thresholds = {"score_threshold": score, "iou_threshold": wish.iou_threshold}
    content |= {key: value for key, value in thresholds.items() if value is not None}
    try:
        card = ModelCard.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidModel(first["msg"].removeprefix("Value error, "), field=where) from error
    if facts.dtype in WHOLE and (any(card.input.mean) or any(scale != 1 for scale in card.input.scale)):
        which = "mean" if any(card.input.mean) else "scale"
        raise InvalidModel(f"the network takes pixels as they are ({facts.dtype}): leave out {which}", field=which)
    options_of(discover()[proposal.family], card)
    return card


def _told_input(spec: InputSpec, wish: Wish, said: Declared) -> list[str]:
    """What of the input is taken from habit, unless the user said."""
    taken = [
        f"{key} {shown}"
        for key, shown in (("color", spec.color), ("mean", _brief(spec.mean)), ("scale", _brief(spec.scale)))
        if getattr(wish, key) is None
    ]
    notes = []
    if taken:
        why = "the graph scales its input itself" if said.normalises else "the usual ones, for no graph tells them"
        if said.normalises and said.reverses:
            why += ", after turning its channels round"
        notes.append(f"input: {', '.join(taken)}: {why}")
    if wish.resize is None:
        notes.append(f"input: resize {spec.resize}: the usual way, for no graph tells it")
    return notes


def _brief(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else ",".join(f"{value:g}" for value in values)


def _so_far(raw: bytes, model: ModelProto, edited: ModelProto | None) -> tuple[bytes, ModelProto]:
    """The file and its graph, as earlier steps have left them."""
    return (raw, model) if edited is None else (edited.SerializeToString(deterministic=True), edited)


def _fused(raw: bytes, model: ModelProto, edited: ModelProto | None, spec: InputSpec) -> tuple[ModelProto, InputSpec]:
    before, source = _so_far(raw, model, edited)
    fused, plain = with_pixels_in(source, spec)
    after = Trial(fused.SerializeToString(deterministic=True), fused, plain)
    if not same(Trial(before, source, spec), after):
        raise InvalidModel(
            "with normalisation in the graph it gives other answers; add it without `fuse`", field="fuse"
        )
    return fused, plain


def _telling_places(
    raw: bytes, model: ModelProto, edited: ModelProto | None, card: ModelCard, shapes: Sequence[tuple[int, ...]]
) -> tuple[ModelProto | None, ModelCard, list[str]]:
    """The graph, made to tell the label of each cell by itself where only that is read, its card, and what to say."""
    reads = family(card)
    winners = reads.winners(shapes, card) if isinstance(reads, MapFamily) else None
    if winners is None:
        return edited, card, []
    before, source = _so_far(raw, model, edited)
    count = shapes[winners.output][winners.axis]
    try:
        made = with_places_out(source, output=winners.output, axis=winners.axis, count=count)
        alone = Trial(before, source, card.input)
        told = Trial(made.SerializeToString(deterministic=True), made, card.input)
        for picture in pictures(card.input, 2):
            images = [picture] * (alone.image.batch or 1)
            values, (places,) = alone.run(images)[winners.output], told.run(images)
            if not np.array_equal(values.argmax(axis=winners.axis + 1), places):
                raise InvalidModel("the graph tells others than the highest values")
    except InvalidModel as error:
        return (
            edited,
            card,
            [f"labels: the highest of {count} values is looked for outside of the graph: {error.message}"],
        )
    card = card.model_copy(update={"options": {**card.options, **winners.options}})
    return (
        made,
        card,
        [f"labels: the graph tells the highest of {count} values for each cell by itself; the same labels"],
    )


def _shown(ports: Sequence[Port]) -> str:
    return ", ".join(f"{port.name} {[dim if dim is not None else '?' for dim in port.dims]}" for port in ports[:8])
