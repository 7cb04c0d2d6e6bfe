"""Captioning: a picture goes through an encoder, and a decoder says a sentence about it, token by token.

The files are those that exporters of transformers' models write: ViT-GPT2 and its like (encoder, decoder, decoder with
past), BLIP (vision encoder, text decoder), and Florence-2 (vision encoder, embedding of tokens, encoder, decoder,
decoder with past); see `docs/models.md`. The card's `file` is the encoder of pictures, the others are its `files`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from cvpipe.errors import InvalidModel
from cvpipe.frames import Image, View
from cvpipe.inference.batcher import CPU_CALLS, GPU_CALLS, Batcher
from cvpipe.inference.cards import ModelCard, read_options
from cvpipe.inference.decoding import Decoder, Graph, embedded
from cvpipe.inference.devices import Device, is_gpu
from cvpipe.inference.generation import CaptionOptions, Search, Sentence
from cvpipe.inference.meters import Meters
from cvpipe.network import Network

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SAYS: Final = ":decoder"
"""What is put behind a card's name where the meters count what its decoder does."""

_TRIAL_SECONDS = 60.0
_GPU_PICTURES = 8
_MAX_TOKENIZER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Caption:
    """What is said of a picture.

    score: geometric mean of the probabilities of its tokens, 0 to 1. tokens: after the start and the prompt.
    """

    text: str
    score: float
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    """A picture to say something about. hidden: (cells, depth), what the encoder made of it.

    shape: what those of one call have in common.
    """

    hidden: Floats
    words: str
    options: CaptionOptions
    shape: tuple[Any, ...]


class Captioner:
    """A captioning card's networks and its tokenizer, ready to run. Safe to call from several threads.

    A sentence does not depend, on a CPU, on the pictures that come along: there they are looked at one by one, on a GPU
    always so many at once, those of all threads and jobs that ask for the same. Memory: the keys and values of
    `num_beams` sentences for each of them. What it holds of the device's memory can be given back (`unload`), but for
    the encoder of pictures, which does so by itself.
    """

    def __init__(
        self, encoder: Network, *, device: Device, wait_seconds: float = 0.005, meters: Meters | None = None
    ) -> None:
        """encoder: the network of the card's `file`. wait_seconds: how long a picture waits at most for others.

        meters: told what the decoder does. Raises: InvalidModel.
        """
        self.card: ModelCard = encoder.card
        self._encoder = encoder
        pictures, calls = (_GPU_PICTURES, GPU_CALLS) if is_gpu(device) else (1, CPU_CALLS)
        self._batcher: Batcher[Caption] = Batcher(
            self._say_together,
            batch=pictures,
            calls=calls,
            is_padded=True,
            wait_seconds=wait_seconds,
            on_use=None if meters is None else partial(meters.add, f"{self.card.ref}{SAYS}"),
        )
        try:
            self.options = read_options(self.card, CaptionOptions)
            self._which = _cells(encoder.output_shapes)
            self._tokenizer = _tokenizer(self.card.read_file("tokenizer"))
            graphs = {
                role: Graph(partial(self.card.read_file, role), role=role, device=device)
                for role in ("decoder", "decoder_with_past", "embed_tokens", "encoder")
                if role in self.card.files
            }
            if "decoder" not in graphs:
                raise InvalidModel("a captioning card must name a file `decoder`", field="files")
            self._graphs = tuple(graphs.values())
            self._embed, self._mixer = graphs.get("embed_tokens"), graphs.get("encoder")
            if self._mixer is not None and self._embed is None:
                raise InvalidModel("an `encoder` needs a file `embed_tokens`", field="files")
            self._decoder = Decoder(graphs["decoder"], graphs.get("decoder_with_past"), self._embed)
            self._try()
        except InvalidModel as error:
            raise type(error)(f"model {self.card.ref}: {error.message}", field=error.field) from error

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory of the device."""
        return any(graph.is_loaded for graph in self._graphs)

    def load(self) -> None:
        """Have it in the device's memory. Raises: InvalidModel, GpuOutOfMemory."""
        for graph in self._graphs:
            graph.load()

    def unload(self) -> None:
        """Give the device's memory back, once the calls that run have ended."""
        for graph in self._graphs:
            graph.unload()

    @property
    def batch(self) -> int:
        """How many pictures to hand over in one call for best use of the device; 1 on a CPU."""
        return max(self._encoder.batch, self._batcher.batch)

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs of the encoder of pictures, for one."""
        return self._encoder.output_shapes

    @property
    def is_cached(self) -> bool:
        """Whether keys and values are kept from token to token."""
        return self._decoder.is_cached

    def input_view(self, upstream: View) -> View:
        """The view that the encoder wants of a frame."""
        return self._encoder.input_view(upstream)

    def run(
        self,
        images: Sequence[Image],
        *,
        prompt: str | None = None,
        beams: int | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Caption]:
        """A sentence about each picture, (height, width, 3), all of the shape of one `input_view`.

        prompt, beams, max_new_tokens: where not as the card says. prompt: words, or a short name of the card's.
        Raises: InvalidModel where the networks don't run.
        """
        hidden = [outputs[self._which].astype(np.float32, copy=False) for outputs in self._encoder.run(images)]
        words, options = self._wish(prompt, beams, max_new_tokens)
        asked = options.model_dump_json()
        return self._batcher.ask([_Wish(one, words, options, (*one.shape, words, asked)) for one in hidden])

    def _say_together(self, wishes: Sequence[_Wish]) -> list[Caption]:
        """What is said of pictures of which the same is asked, as many as a call takes at most; copies fill it up."""
        first = wishes[0]
        missing = self._batcher.batch - len(wishes)  # below 0 where another call has just run out of memory
        hidden = np.stack([wish.hidden for wish in wishes] + [first.hidden] * missing)
        return self._say(hidden, first.words, first.options)[: len(wishes)]

    def _wish(self, prompt: str | None, beams: int | None, max_new_tokens: int | None) -> tuple[str, CaptionOptions]:
        """The words to begin with or to ask, and the card's options with what is wished instead."""
        wished = {"num_beams": beams, "max_new_tokens": max_new_tokens}
        options = self.options.model_copy(update={key: value for key, value in wished.items() if value is not None})
        words = options.prompt if prompt is None else prompt
        return options.prompts.get(words, words), options

    def _say(self, hidden: Floats, words: str, options: CaptionOptions, run_options: Any = None) -> list[Caption]:
        start: tuple[int, ...] = (options.start,)
        if self._mixer is not None:
            hidden = self._mixed(hidden, words)
        elif words:
            start += tuple(self._tokenizer.encode(words, add_special_tokens=False).ids)
        sentences = _search(self._decoder, hidden, start, options, run_options)
        return [self._caption(start, sentence) for sentence in sentences]

    def _mixed(self, hidden: Floats, words: str) -> Floats:
        """What the encoder makes of pictures with the words that ask for something: (rows, cells, depth)."""
        assert self._mixer is not None
        assert self._embed is not None
        ids = np.array([self._tokenizer.encode(words).ids], np.int64)
        asked = np.repeat(embedded(self._embed, ids), len(hidden), axis=0).astype(np.float32, copy=False)
        both = np.concatenate((hidden, asked), axis=1)
        mask = np.ones(both.shape[:2], np.int64)
        found = self._mixer.run({"inputs_embeds": both, "attention_mask": mask})
        return next(iter(found.values())).astype(np.float32, copy=False)

    def _caption(self, start: tuple[int, ...], sentence: Sentence) -> Caption:
        text = self._tokenizer.decode([*start, *sentence.tokens], skip_special_tokens=True)
        return Caption(" ".join(text.split()), sentence.likelihood, sentence.tokens)

    def _try(self) -> None:
        """Say two words about an encoder's answer of zeros, with a time limit."""
        shape = self._encoder.output_shapes[self._which]
        options = onnxruntime.RunOptions()
        timer = threading.Timer(_TRIAL_SECONDS, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            self._say(np.zeros((self._batcher.batch, *shape), np.float32), *self._wish(None, None, 2), options)
        except (ValueError, KeyError, IndexError) as error:
            raise InvalidModel(f"the networks do not fit together: {error}") from error
        finally:
            timer.cancel()


def _search(
    decoder: Decoder, hidden: Floats, start: tuple[int, ...], options: CaptionOptions, run_options: Any = None
) -> list[Sentence]:
    """The best sentence about each picture, all searched for in step. hidden: (pictures, cells, depth)."""
    pictures, beams = len(hidden), options.num_beams
    logits, memory = decoder.begin(hidden, np.array(start, np.int64), run_options)
    if max(options.all_tokens) >= logits.shape[1]:
        raise InvalidModel(
            f"options name the token {max(options.all_tokens)}, the decoder knows {logits.shape[1]}", field="options"
        )
    searches = [Search(options, start) for _ in range(pictures)]
    logits = logits.repeat(beams, axis=0)
    at = np.arange(pictures).repeat(beams)  # the first step was made once for all beams of a picture
    while True:
        parents = []
        for picture, search in enumerate(searches):
            rows = slice(picture * beams, (picture + 1) * beams)
            parents.append(at[rows] if search.is_done else at[rows][search.step(logits[rows])])
        if all(search.is_done for search in searches):
            return [search.best() for search in searches]
        longest = max(search.sentences.shape[1] for search in searches)
        sentences = np.concatenate([_padded(search.sentences, longest) for search in searches])
        logits = decoder.go_on(memory, np.concatenate(parents), sentences, run_options)
        at = np.arange(pictures * beams)


def _padded(sentences: Ints, length: int) -> Ints:
    """Those of a search that is over are as long as the others; nobody reads what follows them."""
    missing = length - sentences.shape[1]
    return np.pad(sentences, ((0, 0), (0, missing)), mode="edge") if missing else sentences


def _cells(shapes: Sequence[tuple[int, ...]]) -> int:
    """Which output of the encoder holds a vector for each part of the picture: (cells, depth)."""
    for place, shape in enumerate(shapes):
        if len(shape) == 2 and shape[0] > 0:
            return place
    raise InvalidModel(f"wanted an encoder with an output (pictures, cells, depth), got {list(shapes)}", field="file")


def _tokenizer(raw: bytes) -> Tokenizer:
    if len(raw) > _MAX_TOKENIZER_BYTES:
        raise InvalidModel(f"the tokenizer has {len(raw)} bytes; at most {_MAX_TOKENIZER_BYTES} are read")
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except Exception as error:  # the package raises plain Exception
        raise InvalidModel(f"the tokenizer can't be read: {error}", field="files.tokenizer") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
