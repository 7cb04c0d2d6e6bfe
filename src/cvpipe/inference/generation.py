"""Searching for a sentence: which token comes next, greedily or with several beams, step by step.

Knows nothing of networks: it gets logits and says which tokens, after which of the sentences so far, to try next.
Options are called, and do, what they do in a `generation_config.json` of the package transformers; tests hold the
tokens against those of its `generate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Token = Annotated[int, Field(ge=0)]

_NEVER = np.float32(-np.inf)
_UNBORN = np.float32(-1e9)


class GenerationOptions(BaseModel):
    """How sentences are made; the names are those of `generation_config.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decoder_start_token_id: Token | None = Field(
        default=None, description="What every sentence starts with. Default: `bos_token_id`."
    )
    bos_token_id: Token | None = Field(default=None, description="What a sentence starts with.")
    eos_token_id: tuple[Token, ...] = Field(min_length=1, description="What ends a sentence; one or several.")
    max_new_tokens: int = Field(default=20, ge=1, le=1024, description="A sentence has at most so many tokens.")
    min_new_tokens: int = Field(default=0, ge=0, le=1024, description="It does not end before it has so many.")
    num_beams: int = Field(default=1, ge=1, le=16, description="Sentences kept in mind while searching; 1 is greedy.")
    length_penalty: float = Field(
        default=1.0, ge=-10, le=10, description="Of beams: above 0 favours long sentences, below 0 short ones."
    )
    early_stopping: bool | Literal["never"] = Field(
        default=False,
        description="Of beams: true stops once there are as many whole sentences as beams; false once a better one is "
        "unlikely; never once it is impossible.",
    )
    no_repeat_ngram_size: int = Field(
        default=0, ge=0, le=64, description="So many tokens in a row come only once; 0: no limit."
    )
    repetition_penalty: float = Field(
        default=1.0, gt=0, le=10, description="Above 1: tokens said before are less likely."
    )
    forced_bos_token_id: Token | None = Field(default=None, description="The token right after the start.")
    forced_eos_token_id: Token | None = Field(default=None, description="The token where a sentence gets too long.")
    suppress_tokens: tuple[Token, ...] = Field(default=(), max_length=4096, description="Never said.")
    begin_suppress_tokens: tuple[Token, ...] = Field(default=(), max_length=4096, description="Never said first.")

    @field_validator("eos_token_id", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _can_start(self) -> GenerationOptions:
        if self.decoder_start_token_id is None and self.bos_token_id is None:
            raise ValueError("a sentence needs a `decoder_start_token_id` or a `bos_token_id`")
        return self

    @property
    def start(self) -> int:
        """The token that every sentence starts with."""
        return self.bos_token_id if self.decoder_start_token_id is None else self.decoder_start_token_id  # type: ignore[return-value]  # one is there: _can_start


class CaptionOptions(GenerationOptions):
    """What a captioning card says besides: what the network is asked."""

    prompt: str = Field(
        default="", max_length=2000, description="Words that a sentence begins with; of Florence: what it is asked."
    )
    prompts: dict[str, Annotated[str, Field(max_length=2000)]] = Field(
        default_factory=dict, max_length=64, description="Short names of prompts, `<CAPTION>` for one."
    )

    @property
    def all_tokens(self) -> tuple[int, ...]:
        """Every token that the options name."""
        named = (self.start, self.forced_bos_token_id, self.forced_eos_token_id, *self.eos_token_id)
        lists = (*self.suppress_tokens, *self.begin_suppress_tokens)
        return tuple(token for token in (*named, *lists) if token is not None)


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a search came to.

    tokens: after the start and the prompt, with the token that ended it. likelihood: geometric mean of the
    probabilities that the network gave to these tokens, 0 to 1.
    """

    tokens: tuple[int, ...]
    likelihood: float


class Search:
    """The search for one sentence.

    It keeps `rows` sentences in mind. `step` takes the logits that follow each of them and says which rows go on, and
    with which token; once `is_done`, `best` is the result.
    """

    def __init__(self, options: GenerationOptions, prompt: tuple[int, ...]) -> None:
        """prompt: tokens that the sentence begins with, its start among them."""
        self.rows = options.num_beams
        self.is_done = False
        self._options = options
        self._before = len(prompt)
        self._rows: list[tuple[int, ...]] = [prompt] * self.rows
        # All beams begin alike: only the first counts, or they would all stay alike.
        self._scores = np.full(self.rows, _UNBORN, np.float32)
        self._scores[0] = 0
        self._logs = np.zeros(self.rows, np.float64)
        self._ended: list[tuple[np.float32, tuple[int, ...], float]] = []

    @property
    def tokens(self) -> Ints:
        """The last token of each row, (rows,)."""
        return np.array([row[-1] for row in self._rows], np.int64)

    @property
    def sentences(self) -> Ints:
        """All tokens of each row, (rows, length)."""
        return np.array(self._rows, np.int64)

    def step(self, logits: Floats) -> list[int]:
        """Take the logits of the next token, (rows, words), of each row; returns which row each new one comes from."""
        plain = _log_softmax(logits.astype(np.float32, copy=False))
        return self._greedily(logits, plain) if self.rows == 1 else self._with_beams(plain)

    def best(self) -> Sentence:
        """The best sentence found."""
        _, tokens, log = max(self._ended, key=lambda ended: ended[0])
        said = tokens[self._before :]
        return Sentence(said, float(np.exp(log / len(said))))

    def _greedily(self, logits: Floats, plain: Floats) -> list[int]:
        (row,) = self._rows
        token = int(self._ruled(row, logits[0].astype(np.float32)).argmax())
        self._logs[0] += self._log(plain[0, token], token, row)
        self._rows = [(*row, token)]
        if token in self._options.eos_token_id or self._is_full(self._rows[0]):
            self._ended.append((np.float32(0), self._rows[0], float(self._logs[0])))
            self.is_done = True
        return [0]

    def _with_beams(self, plain: Floats) -> list[int]:
        options, beams = self._options, self.rows
        ruled = np.stack([self._ruled(row, line.copy()) for row, line in zip(self._rows, plain, strict=True)])
        words = ruled.shape[1]
        chances = (ruled + self._scores[:, None]).reshape(-1)
        # As many as may end now and still leave all beams something to go on with.
        order = _largest(chances, max(2, 1 + len(options.eos_token_id)) * beams)
        going: list[tuple[np.float32, int, tuple[int, ...], float]] = []
        for place, at in enumerate(order.tolist()):
            parent, token = divmod(at, words)
            row, score = (*self._rows[parent], token), chances[at]
            log = float(self._logs[parent]) + self._log(plain[parent, token], token, self._rows[parent])
            if token not in options.eos_token_id and not self._is_full(row):
                going.append((score, parent, row, log))
            elif place < beams and score > _UNBORN / 2:
                self._ended.append((score / self._penalty(len(row)), row, log))
        self._ended = sorted(self._ended, key=lambda ended: -ended[0])[:beams]
        if not going:
            self.is_done = True
            return list(range(beams))
        going = (going * beams)[:beams]
        self._scores = np.array([score for score, *_ in going], np.float32)
        self._rows = [row for _, _, row, _ in going]
        self._logs = np.array([log for *_, log in going])
        self.is_done = self._is_hopeless()
        return [parent for _, parent, _, _ in going]

    def _is_hopeless(self) -> bool:
        """Whether the beams need not be followed any further."""
        if len(self._ended) < self.rows:
            return False
        if self._options.early_stopping is True:
            return True
        length = len(self._rows[0])
        if self._options.early_stopping == "never" and self._options.length_penalty > 0:
            length = self._before + self._options.max_new_tokens
        return not self._scores[0] / self._penalty(length) > self._ended[-1][0]

    def _penalty(self, length: int) -> np.float32:
        return np.float32((length - self._before) ** self._options.length_penalty)

    def _is_full(self, row: tuple[int, ...]) -> bool:
        return len(row) - self._before >= self._options.max_new_tokens

    def _log(self, log: np.float32, token: int, row: tuple[int, ...]) -> float:
        """A token's own log-probability; what is forced counts for nothing."""
        return 0.0 if self._forced(row) == token else float(log)

    def _forced(self, row: tuple[int, ...]) -> int | None:
        options = self._options
        if len(row) == 1 and options.forced_bos_token_id is not None:
            return options.forced_bos_token_id
        if len(row) == self._before + options.max_new_tokens - 1:
            return options.forced_eos_token_id
        return None

    def _ruled(self, row: tuple[int, ...], scores: Floats) -> Floats:
        """The scores of the words after a row, as the options will have them; changed in place."""
        options = self._options
        if options.repetition_penalty != 1:
            said = np.unique(np.array(row))
            scores[said] *= np.where(scores[said] < 0, options.repetition_penalty, 1 / options.repetition_penalty)
        if options.no_repeat_ngram_size:
            scores[_repeats(row, options.no_repeat_ngram_size)] = _NEVER
        if len(row) - self._before < options.min_new_tokens:
            scores[list(options.eos_token_id)] = _NEVER
        forced = self._forced(row)
        if forced is not None:
            scores[:] = _NEVER
            scores[forced] = 0
        scores[list(options.suppress_tokens)] = _NEVER
        first = 2 if self._before == 1 and options.forced_bos_token_id is not None else self._before
        if len(row) == first:
            scores[list(options.begin_suppress_tokens)] = _NEVER
        return scores


def _repeats(row: tuple[int, ...], size: int) -> list[int]:
    """The tokens that would make the last `size` tokens of a row come a second time."""
    if len(row) + 1 < size:
        return []
    end = row[len(row) - size + 1 :]
    return [row[at + size - 1] for at in range(len(row) - size + 1) if row[at : at + size - 1] == end]


def _largest(values: Floats, count: int) -> Ints:
    """Places of the largest values, the largest first; of equal ones the first."""
    count = min(count, len(values))
    edge = np.partition(values, len(values) - count)[len(values) - count]
    places = np.flatnonzero(values >= edge)
    return places[np.argsort(-values[places], kind="stable")][:count]


def _log_softmax(logits: Floats) -> Floats:
    """Over the last axis, float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs
