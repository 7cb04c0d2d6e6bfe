"""Tokens: the words of an expression, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from cvpipe.errors import InvalidExpression

TokenKind = Literal["name", "number", "duration", "string", "sign", "end"]

SECONDS_IN: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>-?(?:\d+\.\d+|\d+)(?:[eE][+-]?\d+)?) (?:\s*(?P<unit>ms|s|min|h)(?![\w.-]))? (?![\w.])
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
  | (?P<name>[A-Za-z_][\w-]*(?:\.[\w-]+)*)
  | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression.

    text: as written. value: what it stands for; seconds for a duration. at: place of its first character, from 0.
    """

    kind: TokenKind
    text: str
    value: Any
    at: int


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text, and one that is its end. Raises: InvalidExpression."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidExpression(f"{place(text, at)}: {_what_is_wrong(text, at)}")
        if match["number"] is not None:
            found.append(_number(match, at, text))
        elif match["string"] is not None:
            found.append(Token("string", match["string"], _unquoted(match["string"], at, text), at))
        elif match["name"] is not None:
            found.append(Token("name", match["name"], match["name"], at))
        elif match["sign"] is not None:
            found.append(Token("sign", match["sign"], match["sign"], at))
        at = match.end()
    found.append(Token("end", "", None, len(text)))
    return found


def place(text: str, at: int) -> str:
    """How messages name a place: `at character 7`, counted from 1, or `at the end`."""
    return "at the end" if at >= len(text) else f"at character {at + 1}"


def _number(match: re.Match[str], at: int, text: str) -> Token:
    value = float(match["number"])
    if abs(value) > 1e15:
        raise InvalidExpression(f"{place(text, at)}: {match['number'][:20]} is too large a number")
    if match["unit"] is not None:
        return Token("duration", match[0], value * SECONDS_IN[match["unit"]], at)
    return Token("number", match["number"], int(value) if match["number"].lstrip("-").isdigit() else value, at)


def _unquoted(quoted: str, at: int, text: str) -> str:
    def character(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise InvalidExpression(
                rf"{place(text, at + 1 + escape.start())}: there is no \{escape[1]}; a \ itself is \\"
            )
        return _ESCAPES[escape[1]]

    return _ESCAPE.sub(character, quoted[1:-1])


def _what_is_wrong(text: str, at: int) -> str:
    if text[at] in "\"'":
        return f"this text has no end; close it with {text[at]}"
    if text[at] == "=":
        return "wanted `==`, got `=`"
    if text[at] in "&|!":
        return f"wanted `and`, `or`, `not`, got {text[at]!r}"
    if text[at].isdigit() or text[at] == "-":
        word = re.match(r"[^\s,)\]]+", text[at:])
        return f"{(word[0] if word else text[at])[:20]!r} is no number; units are {', '.join(SECONDS_IN)}"
    return f"{text[at]!r} means nothing here"
