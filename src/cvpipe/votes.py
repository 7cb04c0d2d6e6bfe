"""Votes: what the crops of one track say together.

Each crop has a ballot, what a stage said of it, weighted with the crop's quality. A crop of which the stage said
nothing votes for nothing, and lowers the confidence of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cvpipe.embeddings import from_value, to_value

_MOST_TEXTS: Final = 64
"""Distinct texts that are compared with each other: the heaviest."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a stage said of one crop.

    weight: the crop's quality, above 0. value: what the stage told under its own name, None for nothing.
    """

    weight: float
    value: Any = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the crops of a track say together.

    value: plain JSON values. confidence: 0 to 1, the share of the weight that stands behind it. agree: places of the
    ballots that say exactly this, the heaviest first.
    """

    value: dict[str, Any]
    confidence: float
    agree: tuple[int, ...]


def vote_texts(ballots: Sequence[Ballot], *, by_word: bool = False) -> Verdict:
    """The text that is most like all others, from values `{"text"}`, as one: by edit distance of characters or words.

    So two crops that read `KA 4729` outvote one that reads `KA 47`, which still adds to their confidence.
    confidence: the mean likeness of all ballots to it, 0 for those without a text.
    """
    said = [_clean(ballot.value) for ballot in ballots]
    weights: dict[str, float] = {}
    for text, ballot in zip(said, ballots, strict=True):
        if text:
            weights[text] = weights.get(text, 0.0) + ballot.weight
    if not weights:
        return Verdict({"text": None}, 0.0, ())
    known = sorted(weights, key=lambda text: (-weights[text], text))[:_MOST_TEXTS]
    units = {text: tuple(text.split()) if by_word else tuple(text) for text in known}
    support = {text: sum(weights[other] * _likeness(units[text], units[other]) for other in known) for text in known}
    best = max(known, key=lambda text: (support[text], weights[text]))
    total = sum(ballot.weight for ballot in ballots)
    return Verdict({"text": best}, _share(support[best], total), _behind(ballots, [text == best for text in said]))


def vote_labels(ballots: Sequence[Ballot]) -> Verdict:
    """The label with most of the scores, from values `{"top": [{"label", "score"}, ...]}`, as `{"label"}`."""
    sums: dict[str, float] = {}
    likeliest: list[str | None] = []
    for ballot in ballots:
        top = ballot.value["top"] if isinstance(ballot.value, Mapping) else []
        for row in top:
            sums[row["label"]] = sums.get(row["label"], 0.0) + ballot.weight * row["score"]
        likeliest.append(top[0]["label"] if top else None)
    if not sums:
        return Verdict({"label": None}, 0.0, ())
    best = max(sorted(sums), key=lambda label: sums[label])
    total = sum(ballot.weight for ballot in ballots)
    return Verdict({"label": best}, _share(sums[best], total), _behind(ballots, [one == best for one in likeliest]))


def vote_vectors(ballots: Sequence[Ballot]) -> Verdict:
    """The mean direction of embeddings; confidence: the mean cosine of the crops to it."""
    vectors = [from_value(ballot.value) for ballot in ballots]
    sizes = {len(vector) for vector in vectors if vector is not None}
    if len(sizes) != 1:
        return Verdict({}, 0.0, ())
    pairs = [(ballot.weight, vector) for ballot, vector in zip(ballots, vectors, strict=True) if vector is not None]
    mean = np.sum([weight * vector.astype(np.float64) for weight, vector in pairs], axis=0)
    length = float(np.linalg.norm(mean))
    if not length:
        return Verdict({}, 0.0, ())
    mean /= length
    likeness = sum(weight * float(vector @ mean) for weight, vector in pairs)
    total = sum(ballot.weight for ballot in ballots)
    there = [vector is not None for vector in vectors]
    return Verdict(to_value(mean.astype(np.float32)), _share(likeness, total), _behind(ballots, there))


def vote_parts(ballots: Sequence[Ballot]) -> Verdict:
    """The parts that most of the crops show, from `{"parts": [{"label", "area", ...}]}`: `{"parts": [...]}`.

    Each with its mean share of the frame (`area`), and how much of the weight shows it (`share`), the largest first.
    confidence: the mean of how far each part's share is from one half, 1 where all crops agree.
    """
    total = sum(ballot.weight for ballot in ballots)
    seen: dict[str, list[tuple[float, float]]] = {}
    there = [isinstance(ballot.value, Mapping) for ballot in ballots]
    for ballot, is_there in zip(ballots, there, strict=True):
        for row in ballot.value["parts"] if is_there else ():
            seen.setdefault(row["label"], []).append((ballot.weight, row["area"]))
    if not seen:
        return Verdict({"parts": []}, 0.0, ())
    shares = {label: sum(weight for weight, _ in rows) / total for label, rows in seen.items()}
    rows: list[dict[str, Any]] = [
        {
            "label": label,
            "area": round(sum(w * area for w, area in seen[label]) / sum(w for w, _ in seen[label]), 6),
            "share": round(share, 4),
        }
        for label, share in shares.items()
        if share >= 0.5
    ]
    rows.sort(key=lambda row: (-row["area"], row["label"]))
    sure = sum(abs(2 * share - 1) for share in shares.values()) / len(shares)
    return Verdict({"parts": rows}, _share(sure, 1.0), _behind(ballots, there))


def vote_equal(ballots: Sequence[Ballot]) -> Verdict:
    """The value that has most of the weight, as `{"value"}`: for what can only be equal or not."""
    keys = [None if b.value is None else json.dumps(b.value, sort_keys=True) for b in ballots]
    weights: dict[str, float] = {}
    for key, ballot in zip(keys, ballots, strict=True):
        if key is not None:
            weights[key] = weights.get(key, 0.0) + ballot.weight
    if not weights:
        return Verdict({"value": None}, 0.0, ())
    best = max(sorted(weights), key=lambda key: weights[key])
    total = sum(ballot.weight for ballot in ballots)
    agree = _behind(ballots, [key == best for key in keys])
    return Verdict({"value": json.loads(best)}, _share(weights[best], total), agree)


def _clean(value: Any) -> str | None:
    text = value.get("text") if isinstance(value, Mapping) else None
    return " ".join(text.split()) or None if isinstance(text, str) else None


def _behind(ballots: Sequence[Ballot], says_so: Sequence[bool]) -> tuple[int, ...]:
    places = [place for place, so in enumerate(says_so) if so]
    return tuple(sorted(places, key=lambda place: (-ballots[place].weight, place)))


def _share(part: float, total: float) -> float:
    return round(min(1.0, max(0.0, part / total)), 4) if total > 0 else 0.0


def _likeness(one: Sequence[str], other: Sequence[str]) -> float:
    """1 for equal ones, 0 for those with nothing in common: 1 - Levenshtein's distance over the longer length."""
    if one == other:
        return 1.0
    before = list(range(len(other) + 1))
    for row, unit in enumerate(one, 1):
        line = [row]
        for column, against in enumerate(other, 1):
            line.append(min(before[column] + 1, line[-1] + 1, before[column - 1] + (unit != against)))
        before = line
    return 1 - before[-1] / max(len(one), len(other))
