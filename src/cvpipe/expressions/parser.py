"""Parser: a text becomes an expression, or an error that says where and what.

either  := all ("or" all)*
all     := no ("and" no)*
no      := "not" no | compare
compare := value (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") value)?
value   := NUMBER | DURATION | STRING | LIST | "true" | "false" | "null" | NAME ("." NAME)* | "(" either ")"
         | ("any" | "count") "(" either ")"

The last of these is about the objects of a frame, where a whole frame is asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cvpipe.errors import InvalidExpression
from cvpipe.expressions.syntax import (
    ORDERED,
    All,
    Compare,
    Constant,
    Counted,
    Either,
    Kind,
    Lookup,
    Name,
    Node,
    Not,
    Path,
    Within,
    is_true,
)
from cvpipe.expressions.tokens import Token, place, tokens_of

MAX_LENGTH: Final = 1000
"""Characters."""
MAX_DEPTH: Final = 16
"""Brackets and `not` inside one another."""
MAX_PARTS: Final = 200
"""Names, constants and comparisons."""

_WORDS: Final = ("and", "or", "not", "in", "true", "false", "null")
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_OVER_OBJECTS: Final = ("any", "count")
_SIGNS: Final = ("==", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was read and checked."""

    text: str
    root: Node

    def holds(self, look: Lookup) -> bool:
        """Whether it is true for the values that `look` finds. Never raises."""
        return is_true(self.root.value(look))

    def stages(self) -> Mapping[str, int]:
        """Stages whose values it names, with the place of the first mention, from 0."""
        found: dict[str, int] = {}
        for node in self.root.walk():
            if isinstance(node, Name) and len(node.path) > 1 and not node.path[0].startswith("@"):
                found.setdefault(node.path[0], node.at)
        return found


def parse_expression(
    text: str,
    fields: Mapping[str, Kind],
    *,
    elsewhere: Mapping[str, str] | None = None,
    of_objects: Mapping[str, Kind] | None = None,
) -> Expression:
    """The expression that a text is.

    fields: names that may stand by themselves, and what they are; a name with a dot is a value of a stage.
    elsewhere: names that mean nothing here, and what to say of each. of_objects: names that may stand in `any(...)` and
    `count(...)`; None: there is neither.
    Raises: InvalidExpression, with the place counted from 1.
    """
    return Expression(text, Parser(text, fields, elsewhere=elsewhere, of_objects=of_objects).parse())


class Parser:
    """Reads one text. Time and memory: proportional to its length, which is bounded."""

    def __init__(
        self,
        text: str,
        fields: Mapping[str, Kind],
        *,
        elsewhere: Mapping[str, str] | None = None,
        of_objects: Mapping[str, Kind] | None = None,
    ) -> None:
        """Raises: InvalidExpression."""
        if len(text) > MAX_LENGTH:
            raise InvalidExpression(f"{len(text)} characters are too many; {MAX_LENGTH} are allowed")
        self._text, self._fields, self._elsewhere = text, fields, elsewhere or {}
        self._of_objects = of_objects
        self._tokens = tokens_of(text)
        self._at = 0
        self._depth = 0
        self._parts = 0

    def parse(self) -> Node:
        """All of the text. Raises: InvalidExpression."""
        if self.is_over():
            raise InvalidExpression('is empty; wanted a condition such as label == "car"')
        node = self.either()
        if not self.is_over():
            raise self.wrong(self._expected_after())
        return node

    def either(self) -> Node:
        """`a or b`."""
        parts = [self.all()]
        while self.takes("or"):
            parts.append(self.all())
        return parts[0] if len(parts) == 1 else self.made(Either(tuple(parts)))

    def all(self) -> Node:
        """`a and b`."""
        parts = [self.no()]
        while self.takes("and"):
            parts.append(self.no())
        return parts[0] if len(parts) == 1 else self.made(All(tuple(parts)))

    def no(self) -> Node:
        """`not a`."""
        if not self.takes("not"):
            return self.compare()
        self.enter()
        part = self.no()
        self._depth -= 1
        return self.made(Not(part))

    def compare(self) -> Node:
        """`a < b`, `a in b`, or a value by itself."""
        left = self.value()
        sign = self.next
        if sign.kind == "sign" and sign.text in _SIGNS:
            self.advance()
            right = self.value()
            self._check_alike(sign, left, right)
            node: Node = Compare(sign.text, left, right)
        elif self.takes("in"):
            node = Within(left, self._whole(left))
        elif self.is_word("not") and self._tokens[self._at + 1].text == "in":
            self.advance()
            self.advance()
            node = Not(Within(left, self._whole(left)))
        else:
            return left
        if (self.next.kind == "sign" and self.next.text in _SIGNS) or self.is_word("in"):
            raise self.wrong("compares what is a comparison already; join two with `and`")
        return self.made(node)

    def value(self) -> Node:
        """A constant, a name, or an expression in brackets."""
        token = self.next
        if token.kind in ("number", "duration", "string"):
            self.advance()
            return self.made(Constant(token.value))
        if token.kind == "sign" and token.text == "[":
            return self.made(self._list())
        if token.kind == "sign" and token.text == "(":
            self.enter()
            self.advance()
            inside = self.either()
            self.wants(")")
            self._depth -= 1
            return inside
        if token.kind == "name" and token.text in _CONSTANTS:
            self.advance()
            return self.made(Constant(_CONSTANTS[token.text]))
        if self._of_objects is not None and token.text in _OVER_OBJECTS and self._tokens[self._at + 1].text == "(":
            return self.made(self._counted(self._of_objects))
        if token.kind == "name" and token.text not in _WORDS:
            self.advance()
            return self.made(self._name(token))
        raise self.wrong("wanted a field, a number, a text or a list")

    @property
    def next(self) -> Token:
        """The token that is read next."""
        return self._tokens[self._at]

    def is_over(self) -> bool:
        """Whether all was read."""
        return self.next.kind == "end"

    def advance(self) -> Token:
        """Go behind the next token; returns it."""
        token = self.next
        self._at += token.kind != "end"
        return token

    def is_word(self, word: str) -> bool:
        """Whether the next token is this word."""
        return self.next.kind == "name" and self.next.text == word

    def takes(self, word: str) -> bool:
        """Go behind the next token where it is this word."""
        if self.is_word(word):
            self._at += 1
            return True
        return False

    def wants(self, sign: str) -> None:
        """Go behind the next token, which must be this sign. Raises: InvalidExpression."""
        if self.next.kind != "sign" or self.next.text != sign:
            raise self.wrong(f"wanted `{sign}`")
        self._at += 1

    def enter(self) -> None:
        """One deeper. Raises: InvalidExpression."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidExpression(f"{self.where}: more than {MAX_DEPTH} brackets inside one another")

    def made(self, node: Node) -> Node:
        """One part more. Raises: InvalidExpression."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidExpression(f"{self.where}: more than {MAX_PARTS} parts; split it")
        return node

    @property
    def where(self) -> str:
        """The place of the next token, for messages."""
        return place(self._text, self.next.at)

    def wrong(self, what: str, token: Token | None = None) -> InvalidExpression:
        """An error at a token, by default the next one."""
        token = token or self.next
        got = "" if token.kind == "end" else f", got {token.text[:40]}"
        return InvalidExpression(f"{place(self._text, token.at)}: {what}{got}")

    def _expected_after(self) -> str:
        return "wanted `and`, `or` or a comparison"

    def _list(self) -> Constant:
        self.wants("[")
        items: list[object] = []
        while not (self.next.kind == "sign" and self.next.text == "]"):
            token = self.next
            if token.kind in ("number", "duration", "string"):
                items.append(token.value)
            elif token.kind == "name" and token.text in _CONSTANTS:
                items.append(_CONSTANTS[token.text])
            elif token.kind == "end":
                raise self.wrong("the list has no end; wanted `]`")
            elif token.kind == "name" and token.text not in _WORDS:
                raise InvalidExpression(
                    f'{self.where}: wanted a number or a text in the list; write "{token.text[:40]}"'
                )
            else:
                raise self.wrong("wanted a number or a text in the list")
            self.advance()
            self.made(Constant(token.value))
            if self.next.kind == "sign" and self.next.text == ",":
                self.advance()
            elif not (self.next.kind == "sign" and self.next.text == "]"):
                raise self.wrong("wanted `,` or `]`" if self.next.kind != "end" else "the list has no end; wanted `]`")
        self.advance()
        return Constant(tuple(items))

    def _counted(self, fields: Mapping[str, Kind]) -> Counted:
        is_any = self.advance().text == "any"
        self.enter()
        self.wants("(")
        whole = self._fields, self._elsewhere, self._of_objects
        self._fields, self._elsewhere, self._of_objects = fields, {}, None
        part = self.either()
        self._fields, self._elsewhere, self._of_objects = whole
        self.wants(")")
        self._depth -= 1
        return Counted(part, is_any)

    def _name(self, token: Token) -> Name:
        path: Path = tuple(token.text.split("."))
        if len(path) > 1:
            return Name(path, "any", token.at)
        if token.text in self._fields:
            return Name(path, self._fields[token.text], token.at)
        where = place(self._text, token.at)
        if token.text in self._elsewhere:
            raise InvalidExpression(f"{where}: {self._elsewhere[token.text]}")
        near = difflib.get_close_matches(token.text, self._fields, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"there is: {', '.join(sorted(self._fields))}, and STAGE.VALUE"
        raise InvalidExpression(
            f'{where}: there is no field {token.text[:40]} ({hint}); a text is written in quotes, "{token.text[:40]}"'
        )

    def _whole(self, item: Node) -> Node:
        token = self.next
        whole = self.value()
        if whole.kind not in ("list", "text", "any"):
            raise self.wrong("wanted a list or a text behind `in`", token)
        if whole.kind == "text" and item.kind not in ("text", "any"):
            raise self.wrong("only a text is in a text", token)
        return whole

    def _check_alike(self, sign: Token, left: Node, right: Node) -> None:
        kinds = {left.kind, right.kind} - {"any"}
        if len(kinds) > 1:
            raise InvalidExpression(f"{place(self._text, sign.at)}: a {left.kind} and a {right.kind} can't be compared")
        if sign.text not in ("==", "!=") and kinds and not kinds & set(ORDERED):
            raise InvalidExpression(
                f"{place(self._text, sign.at)}: a {kinds.pop()} is neither more nor less than another"
            )
