"""Syntax: what an expression consists of, and what each part is worth for given values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["number", "text", "truth", "list", "any"]
"""What a value is, as far as is known when it is written; `any`: only when it is looked at."""

Path = tuple[str, ...]
"""A name and what lies below it: `("plate", "top", "0", "label")`."""

Lookup = Callable[[Path], Any]
"""The value at a path; None where there is none. Never raises."""

OBJECTS: Final[Path] = ("@objects",)
"""Here lie the lookups of all objects of a frame."""


class Node(ABC):
    """A part of an expression."""

    @property
    def kind(self) -> Kind:
        """What its value is."""
        return "truth"

    @abstractmethod
    def value(self, look: Lookup) -> Any:
        """What it is worth. Never raises."""

    def parts(self) -> tuple[Node, ...]:
        """The parts below it."""
        return ()

    def walk(self) -> Iterator[Node]:
        """It, and all that is below it."""
        yield self
        for part in self.parts():
            yield from part.walk()


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A number, a text, true, false, null, or a list of those."""

    constant: Any

    @property
    def kind(self) -> Kind:
        """What was written."""
        return kind_of(self.constant)

    def value(self, look: Lookup) -> Any:  # noqa: ARG002 - it is the same everywhere
        """What was written."""
        return self.constant


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A field, or a value of a stage. at: place of its first character."""

    path: Path
    known_kind: Kind
    at: int

    @property
    def kind(self) -> Kind:
        """As the vocabulary says."""
        return self.known_kind

    def value(self, look: Lookup) -> Any:
        """What is there; None for nothing."""
        return look(self.path)


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """Two values side by side: ==, !=, <, <=, >, >=. Between values of different kinds only != holds."""

    sign: str
    left: Node
    right: Node

    def parts(self) -> tuple[Node, ...]:
        """Both sides."""
        return self.left, self.right

    def value(self, look: Lookup) -> bool:
        """Whether it holds."""
        left, right = self.left.value(look), self.right.value(look)
        alike = kind_of(left) == kind_of(right)
        if self.sign in ("==", "!="):
            return (alike and _are_equal(left, right)) == (self.sign == "==")
        if not alike or kind_of(left) not in ORDERED:
            return False
        return bool(_ORDER[self.sign](left, right))


@dataclass(frozen=True, slots=True)
class Within(Node):
    """Whether something is in a list, or a text in a text."""

    item: Node
    whole: Node

    def parts(self) -> tuple[Node, ...]:
        """Both sides."""
        return self.item, self.whole

    def value(self, look: Lookup) -> bool:
        """Whether it holds."""
        item, whole = self.item.value(look), self.whole.value(look)
        if isinstance(whole, str):
            return isinstance(item, str) and item in whole
        if isinstance(whole, list | tuple):
            return any(kind_of(item) == kind_of(one) and _are_equal(item, one) for one in whole)
        return False


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The opposite."""

    part: Node

    def parts(self) -> tuple[Node, ...]:
        """What is denied."""
        return (self.part,)

    def value(self, look: Lookup) -> bool:
        """Whether the part does not hold."""
        return not is_true(self.part.value(look))


@dataclass(frozen=True, slots=True)
class All(Node):
    """`and`: every part holds."""

    all_parts: tuple[Node, ...]

    def parts(self) -> tuple[Node, ...]:
        """What has to hold."""
        return self.all_parts

    def value(self, look: Lookup) -> bool:
        """Whether all hold; looked at from the left up to the first that does not."""
        return all(is_true(part.value(look)) for part in self.all_parts)


@dataclass(frozen=True, slots=True)
class Either(Node):
    """`or`: at least one part holds."""

    any_parts: tuple[Node, ...]

    def parts(self) -> tuple[Node, ...]:
        """Of which one has to hold."""
        return self.any_parts

    def value(self, look: Lookup) -> bool:
        """Whether one holds; looked at from the left up to the first that does."""
        return any(is_true(part.value(look)) for part in self.any_parts)


@dataclass(frozen=True, slots=True)
class Counted(Node):
    """`count(CONDITION)`: for how many objects of a frame a condition holds; `any(CONDITION)`: whether for one."""

    part: Node
    is_any: bool

    @property
    def kind(self) -> Kind:
        """A number of objects, or whether there are any."""
        return "truth" if self.is_any else "number"

    def parts(self) -> tuple[Node, ...]:
        """The condition, which is about an object."""
        return (self.part,)

    def value(self, look: Lookup) -> bool | int:
        """How many objects it holds for; looked at up to the first where one is enough."""
        held = (True for one in look(OBJECTS) or () if is_true(self.part.value(one)))
        return next(held, False) if self.is_any else sum(held)


ORDERED: Final = ("number", "text")
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def kind_of(value: Any) -> Kind:
    """What a value is; `any` for null and for mappings."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list | tuple) else "any"


def is_true(value: Any) -> bool:
    """Whether a value by itself holds: it is there, and is neither false nor 0 nor empty."""
    return bool(value)


def _are_equal(one: Any, other: Any) -> bool:
    """Of values of one kind; a list is written as a tuple here, and as a list in results."""
    return bool(list(one) == list(other) if isinstance(one, list | tuple) else one == other)
