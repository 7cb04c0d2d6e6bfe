"""Votes: what crops say together, on ballots whose result can be worked out."""

from __future__ import annotations

import numpy as np
import pytest

from cvpipe.embeddings import from_value, to_value
from cvpipe.votes import Ballot, Verdict, vote_equal, vote_labels, vote_parts, vote_texts, vote_vectors


def texts(*said: tuple[float, str | None]) -> list[Ballot]:
    return [Ballot(weight, None if text is None else {"text": text}) for weight, text in said]


def test_the_text_that_most_crops_read_wins_and_near_ones_stand_behind_it() -> None:
    verdict = vote_texts(texts((1, "KA 4729"), (1, "KA 4729"), (1, "KA 472"), (1, "XB")))
    # KA 472 lacks one of seven characters; XB has none of them in place but may stand for two.
    assert verdict.value == {"text": "KA 4729"}
    assert verdict.confidence == pytest.approx((2 + 6 / 7 + 0) / 4, abs=1e-4)
    assert verdict.agree == (0, 1)


def test_a_text_between_all_others_beats_a_heavier_one_that_is_like_none() -> None:
    verdict = vote_texts(texts((1.2, "ZZZZZZZ"), (1, "BV 3975"), (1, "BV 3970"), (1, "EV 3975")))
    assert verdict.value == {"text": "BV 3975"}
    assert verdict.confidence == pytest.approx((1 + 6 / 7 + 6 / 7) / 4.2, abs=1e-4)


def test_a_crop_without_text_lowers_the_confidence() -> None:
    assert vote_texts(texts((3, "A 1"), (1, None))) == Verdict({"text": "A 1"}, 0.75, (0,))
    assert vote_texts(texts((1, None), (1, "  "))) == Verdict({"text": None}, 0.0, ())


def test_weight_decides_between_two_that_are_equally_near() -> None:
    assert vote_texts(texts((1, "AB"), (2, "AC"))).value == {"text": "AC"}
    assert vote_texts(texts((2, "AB"), (1, "AC"))).value == {"text": "AB"}


def test_sentences_are_compared_word_by_word() -> None:
    verdict = vote_texts(
        texts((1, "a man on a bike"), (1, "a man on a horse"), (1, "a man on a bike"), (1, "snow")), by_word=True
    )
    assert verdict == Verdict({"text": "a man on a bike"}, round((2 + 4 / 5) / 4, 4), (0, 2))


def test_labels_add_up_their_scores_by_quality() -> None:
    ballots = [
        Ballot(1.0, {"top": [{"label": "red", "score": 0.9}, {"label": "blue", "score": 0.1}]}),
        Ballot(0.5, {"top": [{"label": "blue", "score": 1.0}]}),
        Ballot(0.5, {"top": []}),
    ]
    assert vote_labels(ballots) == Verdict({"label": "red"}, 0.45, (0,))
    assert vote_labels(ballots[2:]) == Verdict({"label": None}, 0.0, ())


def test_vectors_have_a_mean_direction() -> None:
    one, other = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    verdict = vote_vectors([Ballot(1.0, to_value(one)), Ballot(1.0, to_value(other)), Ballot(1.0)])
    assert from_value(verdict.value) == pytest.approx([0.5**0.5, 0.5**0.5], abs=1e-3)
    assert verdict.confidence == pytest.approx(2 * 0.5**0.5 / 3, abs=1e-3)
    assert verdict.agree == (0, 1)
    assert vote_vectors([Ballot(1.0), Ballot(1.0, {"vector": "no"})]) == Verdict({}, 0.0, ())


def test_parts_that_most_of_the_weight_shows_are_there() -> None:
    def parts(**areas: float) -> dict[str, object]:
        return {"parts": [{"label": label, "area": area, "mask": {}} for label, area in areas.items()]}

    verdict = vote_parts([Ballot(2, parts(coat=0.2, hair=0.05)), Ballot(1, parts(coat=0.5)), Ballot(1, parts(hat=0.1))])
    assert verdict.value == {
        "parts": [{"label": "coat", "area": 0.3, "share": 0.75}, {"label": "hair", "area": 0.05, "share": 0.5}]
    }
    assert verdict.confidence == pytest.approx((0.5 + 0 + 0.5) / 3, abs=1e-4)


def test_what_can_only_be_equal_goes_by_weight() -> None:
    assert vote_equal([Ballot(1, [1, 2]), Ballot(3, "x"), Ballot(1, [1, 2])]) == Verdict({"value": "x"}, 0.6, (1,))
    assert vote_equal([Ballot(1), Ballot(1)]) == Verdict({"value": None}, 0.0, ())
