"""Rules: conditions on somebody that is followed, with a memory: zones, lines, events, and what they have about them.

Besides all that an expression may be, a rule has

    clause  := (WHO? "in" "zone" TEXT | WHO? "crossed" "line" TEXT ("in" | "out")? | "with" WHAT | "event" TEXT) within?
             | WHO? "in" "zone" TEXT for? | "no" WHAT for?
    for     := "for" (">" | ">=")? DURATION
    within  := "within" DURATION
    WHO, WHAT: a label, as a word or a text

`person in zone "gate" for > 10 s and no "badge"`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cvpipe.errors import InvalidExpression
from cvpipe.expressions.parser import Expression, Parser
from cvpipe.expressions.syntax import All, Compare, Constant, Kind, Name, Node, Not, Path

ZONE: Final = "@zone"
"""Below it, by the zone's name: for how many seconds somebody has been there; null where they are not."""
LINE: Final = "@line"
"""Below it, by the line's name and `in`, `out` or `any`: how many seconds ago it was crossed; null: never."""
EVENT: Final = "@event"
"""Below it, by the kind: how many seconds ago somebody took part in such an event; null: never."""
WITH: Final = "@with"
"""Below it, by the label: how many seconds ago such a thing was on somebody; null: never."""
WITHOUT: Final = "@without"
"""Below it, by the label: for how many seconds no such thing has been on somebody."""


@dataclass(frozen=True, slots=True)
class Mention:
    """What a rule names: `what` is one of the paths' heads. at: place of its first character, from 0."""

    what: str
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was read and checked."""

    expression: Expression

    def mentions(self) -> Iterator[Mention]:
        """All that it names, in order."""
        for node in self.expression.root.walk():
            if isinstance(node, Name) and node.path[0].startswith("@"):
                yield Mention(node.path[0], node.path[1], node.at)


def parse_rule(text: str, fields: Mapping[str, Kind], *, elsewhere: Mapping[str, str] | None = None) -> Rule:
    """The rule that a text is. Raises: InvalidExpression, with the place counted from 1."""
    return Rule(Expression(text, _RuleParser(text, fields, elsewhere=elsewhere).parse()))


class _RuleParser(Parser):
    """Reads clauses where an expression has comparisons."""

    def compare(self) -> Node:
        """A clause, or what an expression has."""
        if self.is_word("in") or self.is_word("crossed"):
            return self._about_place(None)
        following = self._tokens[self._at + 1]
        if self.next.kind in ("name", "string") and following.kind == "name":
            behind = self._tokens[min(self._at + 2, len(self._tokens) - 1)]
            if following.text == "crossed" or (following.text == "in" and behind.text == "zone"):
                return self._about_place(self._label())
        if self.takes("no"):
            return self._without()
        if self.takes("with"):
            at, label = self._named('what is on somebody, such as "badge"', is_label=True)
            return self._within((WITH, label), at)
        if self.takes("event"):
            at, kind = self._named("a kind of event in quotes")
            return self._within((EVENT, kind), at)
        return super().compare()

    def _about_place(self, who: Node | None) -> Node:
        if self.takes("crossed"):
            self._word("line")
            at, line = self._named("a line's name in quotes")
            direction = "in" if self.takes("in") else "out" if self.takes("out") else "any"
            clause = self._within((LINE, line, direction), at)
        else:
            self._word("in")
            self._word("zone")
            at, zone = self._named("a zone's name in quotes")
            inside = self.made(Name((ZONE, zone), "number", at))
            clause = self._for(inside) or self.made(Compare("!=", inside, Constant(None)))
        return clause if who is None else self.made(All((who, clause)))

    def _without(self) -> Node:
        at, label = self._named('what is not on somebody, such as "badge"', is_label=True)
        lasting = self._for(Name((WITHOUT, label), "number", at))
        if lasting is not None:
            return self.made(lasting)
        return self.made(Compare("==", Name((WITH, label), "any", at), Constant(None)))

    def _label(self) -> Node:
        token = self.advance()
        return self.made(Compare("==", Name(("label",), "text", token.at), Constant(token.value)))

    def _within(self, path: Path, at: int) -> Node:
        since = Name(path, "number", at)
        if not self.takes("within"):
            return self.made(Not(Compare("==", since, Constant(None))))
        return self.made(Compare("<=", since, Constant(self._duration())))

    def _for(self, lasting: Node) -> Node | None:
        if not self.takes("for"):
            return None
        sign = ">="
        if self.next.kind == "sign" and self.next.text in (">", ">="):
            sign = self.advance().text
        return Compare(sign, lasting, Constant(self._duration()))

    def _duration(self) -> float:
        if self.next.kind != "duration":
            raise self.wrong("wanted a duration such as `10 s`")
        return float(self.advance().value)

    def _word(self, word: str) -> None:
        if not self.takes(word):
            raise self.wrong(f"wanted `{word}`")

    def _named(self, wanted: str, *, is_label: bool = False) -> tuple[int, str]:
        token = self.next
        if token.kind != "string" and not (
            is_label and token.kind == "name" and token.text not in ("and", "or", "not")
        ):
            raise self.wrong(f"wanted {wanted}")
        self.advance()
        if not token.value:
            raise InvalidExpression(f"{self.where}: a name is empty")
        return token.at, str(token.value)
