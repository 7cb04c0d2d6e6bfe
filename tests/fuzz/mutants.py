"""Make a broken copy of one of several good files: always the same one from the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.fuzz.structure import Block, blocks

_TELLING = (0, 1, 2, 7, 8, 15, 16, 127, 128, 255, 256, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 9, 2**32 - 1)
"""Numbers at which programs that count go wrong."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken file. source: name of the good one; done: names of what was done to it, in order."""

    seed: int
    source: str
    done: tuple[str, ...]
    data: bytes


class Corpus:
    """Good files by name, with what their blocks are."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(sorted(files.items()))
        self.blocks = {name: blocks(data) for name, data in self.files.items()}

    def mutant(self, seed: int) -> Mutant:
        """The mutant of a seed: one to three changes to one of the files."""
        dice = random.Random(seed)
        source = dice.choice(list(self.files))
        data = bytearray(self.files[source])
        found = self.blocks[source]
        done = []
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            name = dice.choice(list(_WAYS))
            _WAYS[name](dice, data, found, list(self.files.values()))
            done.append(name)
        return Mutant(seed, source, tuple(done), bytes(data))


def _place(dice: random.Random, data: bytearray) -> int:
    """Anywhere; often near the beginning or the end, where headers and tables are."""
    if not data:
        return 0
    near = min(len(data), 2048)
    return dice.choice((dice.randrange(len(data)), dice.randrange(near), len(data) - 1 - dice.randrange(near)))


def _flip_bits(dice: random.Random, data: bytearray, _blocks: object, _others: object) -> None:
    for _ in range(dice.choice((1, 2, 8, 64, 500))):
        if data:
            data[_place(dice, data)] ^= 1 << dice.randrange(8)


def _overwrite(dice: random.Random, data: bytearray, _blocks: object, _others: object) -> None:
    at, length = _place(dice, data), dice.choice((1, 4, 32, 256, 4096))
    length = min(length, len(data) - at)
    data[at : at + length] = dice.choice((bytes(length), b"\xff" * length, dice.randbytes(length)))


def _truncate(dice: random.Random, data: bytearray, _blocks: object, _others: object) -> None:
    del data[_place(dice, data) :]


def _cut_out(dice: random.Random, data: bytearray, _blocks: object, _others: object) -> None:
    at = _place(dice, data)
    del data[at : at + dice.choice((1, 2, 4, 16, 188, 1000, 20000))]


def _insert(dice: random.Random, data: bytearray, _blocks: object, _others: object) -> None:
    at = _place(dice, data)
    data[at:at] = dice.randbytes(dice.choice((1, 2, 4, 188, 3000)))


def _splice(dice: random.Random, data: bytearray, _blocks: object, others: Sequence[bytes]) -> None:
    """The head of one file and the tail of another."""
    other = dice.choice(others)
    data[_place(dice, data) :] = other[dice.randrange(len(other)) :]


def _transplant(dice: random.Random, data: bytearray, _blocks: object, others: Sequence[bytes]) -> None:
    """A piece of another file written over a piece of this one."""
    other = dice.choice(others)
    begin = dice.randrange(len(other))
    piece = other[begin : begin + dice.choice((16, 256, 4096))]
    at = _place(dice, data)
    data[at : at + len(piece)] = piece


def _lie_about_length(dice: random.Random, data: bytearray, found: Sequence[Block], _others: object) -> None:
    if not found:
        return
    block = dice.choice(found)
    if block.field + block.width > len(data):
        return
    size = block.stop - block.start
    value = dice.choice((*_TELLING, size - 1, size + 1, size * 2, size // 2, dice.getrandbits(8 * block.width)))
    value %= 1 << 8 * block.width
    data[block.field : block.field + block.width] = value.to_bytes(block.width, "big" if block.big else "little")


def _lie_in_table(dice: random.Random, data: bytearray, found: Sequence[Block], _others: object) -> None:
    """A telling number somewhere within a block that is not the pictures."""
    small = [block for block in found if 16 < block.stop - block.start < 4096]
    if not small:
        return
    block = dice.choice(small)
    for _ in range(dice.choice((1, 1, 4))):
        at = dice.randrange(block.start + 8, block.stop)
        width = dice.choice((1, 2, 4, 8))
        if at + width <= len(data):
            value = dice.choice(_TELLING) % (1 << 8 * width)
            data[at : at + width] = value.to_bytes(width, dice.choice(("big", "little")))


def _repeat_block(dice: random.Random, data: bytearray, found: Sequence[Block], _others: object) -> None:
    if found:
        block = dice.choice(found)
        piece = data[block.start : min(block.stop, block.start + 100_000)]
        data[block.stop : block.stop] = piece * dice.choice((1, 2, 20))


def _swap_blocks(dice: random.Random, data: bytearray, found: Sequence[Block], _others: object) -> None:
    if len(found) < 2:
        return
    one, other = sorted(dice.sample(list(found), 2), key=lambda block: block.start)
    if one.stop <= other.start:
        first, between, second = (
            data[one.start : one.stop],
            data[one.stop : other.start],
            data[other.start : other.stop],
        )
        data[one.start : other.stop] = second + between + first


def _drop_block(dice: random.Random, data: bytearray, found: Sequence[Block], _others: object) -> None:
    if found:
        block = dice.choice(found)
        del data[block.start : block.stop]


_Way = Callable[[random.Random, bytearray, Sequence[Block], Sequence[bytes]], None]
_WAYS: dict[str, _Way] = {
    "flip bits": _flip_bits,
    "overwrite": _overwrite,
    "truncate": _truncate,
    "cut out": _cut_out,
    "insert": _insert,
    "splice": _splice,
    "transplant": _transplant,
    "lie about length": _lie_about_length,
    "lie in table": _lie_in_table,
    "repeat block": _repeat_block,
    "swap blocks": _swap_blocks,
    "drop block": _drop_block,
}
