"""Labels that a pipeline asks for, compared with those that its stages can find, as far as options and cards tell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from cvpipe.errors import InvalidPipeline
from cvpipe.expressions.rules import WITH, WITHOUT
from cvpipe.expressions.syntax import Compare, Constant, Name, Node, Within
from cvpipe.inference.cards import ModelCard, nearest
from cvpipe.pipeline.spec import place
from cvpipe.stages import CropStage, FrameStage, Stage

_OF_OBJECTS: Final = ("labels", "owners", "between")  # options that are labels of the objects that a stage looks at

Labels = frozenset[str] | None
"""Those that objects of a stage may have; None: nobody knows before they are found."""


def check_labels(stages: Sequence[Stage[Any]], cards: Mapping[str, ModelCard], *, field: str = "") -> None:
    """See whether conditions, rules and options ask for labels that there can be.

    stages: of a pipeline. cards: of its models, by the names it has for them. field: path of the pipeline in what the
    caller sent.
    Raises: InvalidPipeline with the nearest label that there is.
    """
    found: dict[str, Labels] = {}
    for number, stage in enumerate(stages):
        every = _together(found, found)
        looked_at = _together(found, _referred(stage) or found)
        for option, label, is_of_any in _asked(stage):
            known = every if is_of_any else looked_at
            if known is not None and label not in known:
                raise InvalidPipeline(
                    f"{place(number, stage.options)}: {option}: nothing is called {label!r}"
                    f"{nearest(label, sorted(known))}",
                    field=".".join(part for part in (field, f"stages.{number}", option) if part),
                )
        if stage.finds_objects:
            found[stage.name] = _labels_of(stage, cards, found)


def _labels_of(stage: Stage[Any], cards: Mapping[str, ModelCard], found: Mapping[str, Labels]) -> Labels:
    if isinstance(stage, CropStage):
        return _together(found, stage.references())
    if not isinstance(stage, FrameStage) or stage.references():
        return None
    if isinstance(label := getattr(stage.options, "label", None), str):
        return frozenset((label,))
    if hasattr(stage.options, "classes") and len(stage.models()) == 1:
        labels = stage.options.classes or cards[stage.models()[0]].labels
        return frozenset(labels) or None
    return None


def _referred(stage: Stage[Any]) -> tuple[str, ...]:
    """Whose objects its conditions are about."""
    of = getattr(stage.options, "of", None)
    return (of,) if isinstance(of, str) else stage.references()


def _together(found: Mapping[str, Labels], names: Collection[str]) -> Labels:
    some = [found.get(name) for name in names]
    known = [labels for labels in some if labels is not None]
    return frozenset().union(*known) if known and len(known) == len(some) else None


def _asked(stage: Stage[Any]) -> Iterator[tuple[str, str, bool]]:
    """Path of an option, a label in it, and whether anything found on the frame may have it."""
    for option in _OF_OBJECTS:
        for n, label in enumerate(getattr(stage.options, option, None) or ()):
            yield f"{option}.{n}", label, False
    for option, expression in stage.expressions():
        for node in expression.root.walk():
            for label, is_of_any in _named(node):
                yield option, label, is_of_any


def _named(node: Node) -> Iterator[tuple[str, bool]]:
    """Labels that a part of an expression names."""
    if isinstance(node, Name) and node.path[0] in (WITH, WITHOUT):
        yield node.path[1], True
    elif isinstance(node, Compare) and node.sign in ("==", "!="):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if _is(one, "label"):
                yield from ((label, False) for label in _texts(other))
    elif isinstance(node, Within) and _is(node.item, "label") and node.whole.kind == "list":
        yield from ((label, False) for label in _texts(node.whole))
    elif isinstance(node, Within) and _is(node.whole, "labels"):
        yield from ((label, True) for label in _texts(node.item))


def _is(node: Node, name: str) -> bool:
    return isinstance(node, Name) and node.path == (name,)


def _texts(node: Node) -> Iterator[str]:
    """The texts that a constant is, or a list of constants."""
    value = node.constant if isinstance(node, Constant) else None
    for one in value if isinstance(value, list | tuple) else (value,):
        if isinstance(one, str):
            yield one
