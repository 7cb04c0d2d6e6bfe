"""Decoders of sentences: the logits of the next token, with keys and values kept from step to step.

Read by the names that exporters give: `input_ids` or `inputs_embeds`, `encoder_hidden_states`, masks, and, where keys
and values are kept, `past_key_values.*` in and `present.*` out. Three layouts are known: a graph for the first step and
one for the later ones; one graph with `use_cache_branch`, or one that takes an empty past; one graph without a past,
which sees the whole sentence at each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cvpipe.errors import InvalidModel
from cvpipe.inference.devices import Device
from cvpipe.inference.sessions import LoadableSession, run_session

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_PAST = "past_key_values."
_DTYPES: dict[str, type[Any]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
_IDS = ("input_ids", "decoder_input_ids")
_EMBEDS = ("inputs_embeds", "decoder_inputs_embeds")
_MASKS = ("attention_mask", "decoder_attention_mask")
_KNOWN = frozenset(
    (*_IDS, *_EMBEDS, *_MASKS, "encoder_hidden_states", "encoder_attention_mask", "position_ids", "cache_position",
     "use_cache_branch")
)  # fmt: skip


class Graph(LoadableSession):
    """A session that is fed and read by names. Safe to call from several threads."""

    def __init__(self, read: Callable[[], bytes], *, role: str, device: Device) -> None:
        """read: the ONNX file's bytes. role: what it is for, for messages. Raises: InvalidModel."""
        self.role = role
        try:
            super().__init__(read, device=device)
        except InvalidModel as error:
            raise self._told(error) from error
        self.shapes: dict[str, Sequence[Any]] = {}
        self._dtypes: dict[str, type[Any]] = {}
        for wanted in self.session.get_inputs():
            if wanted.type not in _DTYPES:
                raise InvalidModel(f"{role}: {wanted.name} is of type {wanted.type}; known are {', '.join(_DTYPES)}")
            self.shapes[wanted.name], self._dtypes[wanted.name] = wanted.shape, _DTYPES[wanted.type]
        self.outputs = tuple(output.name for output in self.session.get_outputs())

    @property
    def past(self) -> frozenset[str]:
        """Names of the inputs for keys and values of earlier tokens."""
        return frozenset(name for name in self.shapes if name.startswith(_PAST))

    def run(self, given: Mapping[str, Array], options: Any = None) -> dict[str, Array]:
        """All outputs by name. Raises: InvalidModel."""
        feed = {name: given[name].astype(self._dtypes[name], copy=False) for name in self.shapes}
        try:
            return dict(zip(self.outputs, run_session(self.session, feed, options), strict=True))
        except InvalidModel as error:
            raise self._told(error) from error

    def _told(self, error: InvalidModel) -> InvalidModel:
        return type(error)(f"{self.role}: {error.message}", field=error.field or f"files.{self.role}")


@dataclass(slots=True)
class Memory:
    """What is kept of some sentences, each a row.

    hidden: (rows, cells, depth), what the encoder made of the picture of each. past: keys and values of their tokens by
    name, (rows, ...). seen: of the pictures, which don't change. length: tokens so far.
    """

    hidden: Floats
    length: int = 0
    past: dict[str, Array] = field(default_factory=dict)
    seen: dict[str, Array] = field(default_factory=dict)

    def take(self, parents: Ints) -> None:
        """Go on with these rows. Rows of one picture stay together, so what is of pictures moves only once."""
        if not np.array_equal(parents, np.arange(len(self.hidden))):
            self.past = {name: array[parents] for name, array in self.past.items()}
        if len(parents) != len(self.hidden):
            self.hidden = self.hidden[parents]
            self.seen = {name: array[parents] for name, array in self.seen.items()}


class Decoder:
    """Says what may come next in a sentence. Safe to call from several threads."""

    def __init__(self, first: Graph, later: Graph | None = None, embed: Graph | None = None) -> None:
        """later: for the steps after the first. embed: makes `inputs_embeds` from tokens. Raises: InvalidModel."""
        self._first, self._embed = first, embed
        self._later = first if first.past else later
        for graph in (first, self._later):
            if graph is not None:
                self._check(graph)
        if self._later is not None:
            kept = {past_name(output) for output in first.outputs}
            missing = sorted(self._later.past - kept)
            if missing or not self._later.past:
                what = f"takes {missing[0]}, which {first.role} does not give" if missing else "takes no past"
                raise InvalidModel(f"{self._later.role} {what}", field=f"files.{self._later.role}")

    @property
    def is_cached(self) -> bool:
        """Whether keys and values are kept; else each step sees the whole sentence again."""
        return self._later is not None

    def begin(self, hidden: Floats, prompt: Ints, options: Any = None) -> tuple[Floats, Memory]:
        """The logits after the prompt, (rows, words), and what is kept.

        hidden: (rows, cells, depth), what the encoder made of each picture. prompt: (length,), the same for all.
        """
        memory = Memory(hidden)
        ids = np.broadcast_to(prompt, (len(hidden), len(prompt)))
        return self._step(self._first, ids, memory, options), memory

    def go_on(self, memory: Memory, parents: Ints, sentences: Ints, options: Any = None) -> Floats:
        """The logits after one more token, (rows, words).

        parents: which row of the memory each row goes on from. sentences: (rows, length), all tokens of each.
        """
        memory.take(parents)
        if self._later is None:
            memory.length = 0
            return self._step(self._first, sentences, memory, options)
        return self._step(self._later, sentences[:, -1:], memory, options)

    def _check(self, graph: Graph) -> None:
        unknown = sorted(set(graph.shapes) - _KNOWN - graph.past)
        if unknown:
            raise InvalidModel(f"{graph.role} has an input {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
        if "logits" not in graph.outputs:
            raise InvalidModel(f"{graph.role} has no output `logits`, only {', '.join(graph.outputs)[:200]}")
        if self._embed is None and any(name in graph.shapes for name in _EMBEDS):
            raise InvalidModel(f"{graph.role} takes embedded tokens: the card must name a file `embed_tokens`")

    def _step(self, graph: Graph, ids: Ints, memory: Memory, options: Any) -> Floats:
        is_first = memory.length == 0
        memory.length += ids.shape[1]
        found = graph.run(self._feed(graph, ids, memory, is_first=is_first), options)
        for name, array in found.items():
            kept = past_name(name)
            if self._later is None or kept not in self._later.past:
                continue
            if ".encoder." not in kept:
                memory.past[kept] = array
            elif is_first:
                memory.seen[kept] = array
        logits = found["logits"]
        if logits.ndim != 3 or len(logits) != len(ids):
            raise InvalidModel(f"{graph.role}: wanted logits (rows, tokens, words), got {logits.shape}")
        return logits[:, -1].astype(np.float32, copy=False)

    def _feed(self, graph: Graph, ids: Ints, memory: Memory, *, is_first: bool) -> dict[str, Array]:
        rows, count = ids.shape
        places = np.arange(memory.length - count, memory.length)
        given: dict[str, Array] = {
            "encoder_hidden_states": memory.hidden,
            "encoder_attention_mask": np.ones(memory.hidden.shape[:2], np.int64),
            "position_ids": np.broadcast_to(places, (rows, count)),
            "cache_position": places,
            "use_cache_branch": np.array([not is_first]),
            **dict.fromkeys(_IDS, ids),
            **dict.fromkeys(_MASKS, np.ones((rows, memory.length), np.int64)),
            **memory.past,
            **memory.seen,
        }
        if self._embed is not None and any(name in graph.shapes for name in _EMBEDS):
            given |= dict.fromkeys(_EMBEDS, embedded(self._embed, ids))
        if is_first:
            given |= {name: _empty(graph.shapes[name], rows) for name in graph.past}
        return given


def embedded(graph: Graph, ids: Ints) -> Array:
    """(rows, length, depth) of tokens (rows, length). Raises: InvalidModel."""
    if set(graph.shapes) != {"input_ids"}:
        raise InvalidModel(f"{graph.role}: wanted one input `input_ids`, got {', '.join(graph.shapes)}")
    return next(iter(graph.run({"input_ids": ids}).values()))


def past_name(output: str) -> str:
    """What the input is called that takes an output's keys or values: `present.0.key` is `past_key_values.0.key`."""
    head, _, rest = output.partition(".")
    return f"{_PAST}{rest}" if head.startswith("present") else ""


def _empty(shape: Sequence[Any], rows: int) -> Floats:
    """Keys or values of no tokens: (rows, heads, 0, depth)."""
    heads, depth = (size if isinstance(size, int) else 1 for size in (shape[1], shape[3]))
    return np.zeros((rows, heads, 0, depth), np.float32)
