"""Explanations of functions whose answer is known, and which of them is to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mercat.audit.base import Scored
from mercat.audit.explain import Masked, local_linear, occlusion, pieces, shapley, without
from mercat.audit.faithful import RANDOM, area, curves, explain
from mercat.training.classifying.classifier import Scorer
from mercat.values import Example

WEIGHTS = np.array([0.5, -0.2, 0.0, 0.1])


def additive(masks: np.ndarray) -> np.ndarray:
    return 0.3 + masks @ WEIGHTS


def both(masks: np.ndarray) -> np.ndarray:
    """Only the first two pieces together say anything."""
    return (masks[:, 0] & masks[:, 1]).astype(float)


def test_of_a_sum_every_method_finds_the_terms() -> None:
    assert occlusion(additive, 4) == pytest.approx(WEIGHTS)
    assert shapley(additive, 4, orders=3) == pytest.approx(WEIGHTS)
    assert local_linear(additive, 4, samples=300) == pytest.approx(WEIGHTS, abs=0.02)


def test_of_two_pieces_that_need_each_other_shapley_gives_each_a_half() -> None:
    assert occlusion(both, 3) == pytest.approx([1.0, 1.0, 0.0])
    assert shapley(both, 3, orders=2) == pytest.approx([0.5, 0.5, 0.0])  # antithetic pairs are exact here
    found = shapley(both, 3, orders=5, seed=4)
    assert found.sum() == pytest.approx(1.0)
    assert local_linear(both, 3, seed=1) == pytest.approx(local_linear(both, 3, seed=1))


def test_pieces_are_words_and_of_long_texts_runs_of_words() -> None:
    text = "I can't pay, 我的卡!"
    assert [text[start:end] for start, end in pieces(text)][:3] == ["I", "can't", "pay"]
    long = " ".join(f"w{at}" for at in range(100))
    runs = [long[start:end] for start, end in pieces(long, most=40)]
    assert len(runs) == 40
    assert " ".join(runs) == long


def test_words_are_cut_out_and_the_rest_stays() -> None:
    text = "I can't pay, why?"
    assert without(text, pieces(text), [True, False, True, False]) == "I pay, ?"
    assert without("卡被盗", [(0, 1), (1, 3)], [False, True]) == "被盗"


def test_a_subset_is_asked_about_once() -> None:
    asked: list[str] = []

    def score(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[0.0, len(text) / 10] for text in texts], dtype=np.float32)

    value = Masked(score, "a bb", [(0, 1), (2, 4)], label=1)
    masks = np.array([[True, True], [True, False], [True, True]])
    assert value(masks) == pytest.approx([0.4, 0.1, 0.4])
    assert value(masks[:1]) == pytest.approx([0.4])
    assert asked == ["a bb", "a"]


def test_deletion_insertion_and_eraser_by_hand() -> None:
    """Ten pieces, the first of which is everything: out at the first step, in at the first step."""

    def first(masks: np.ndarray) -> np.ndarray:
        return masks[:, 0].astype(float)

    good = curves(first, np.array([1.0] + [0.0] * 9))
    assert (area(good.deletion), area(good.insertion)) == (pytest.approx(0.05), pytest.approx(0.95))
    assert (good.comprehensiveness, good.sufficiency) == (1.0, 0.0)
    bad = curves(first, np.array([-1.0] + [0.0] * 9))
    assert (area(bad.deletion), area(bad.insertion)) == (pytest.approx(0.95), pytest.approx(0.05))
    assert (bad.comprehensiveness, bad.sufficiency, bad.lead) == (0.0, 1.0, pytest.approx(-0.9))


def test_the_words_that_decide_are_found_and_trusted_over_chance() -> None:
    def score(texts: Sequence[str]) -> np.ndarray:
        found = np.array([0.9 if "card" in text else 0.1 for text in texts])
        return np.column_stack([found, 1 - found]).astype(np.float32)

    rows = [Example(str(at), f"please tell me where my card is now {at}", "card") for at in range(8)]
    rows.append(Example("short", "card", "card"))
    scored = Scored(rows, ("card", "other"), score([row.text for row in rows]))
    found = explain(Scorer(("card", "other"), score), scored, seed=1)
    assert found is not None
    assert len(found.texts) == 8  # a text of one word has nothing to compare
    for each in found.texts:
        start, end = each.spans[int(np.argmax(each.weights[found.trusted]))]
        assert each.text[start:end] == "card"
    assert found.over_random.low > 0
    assert found.faithfulness[-1].method == RANDOM
    assert np.isnan(found.gap)
    assert explain(Scorer(("card", "other"), score), scored.at([8])) is None


@pytest.mark.usefixtures("no_bfloat16")
def test_integrated_gradients_sum_to_the_change_of_the_probability(tiny_bert: Path) -> None:
    from mercat.audit.gradients import IntegratedGradients
    from mercat.encoders.transformer import Transformer
    from mercat.heads import LinearHead

    encoder = Transformer.from_folder(tiny_bert)
    rng = np.random.default_rng(0)
    head = LinearHead(
        labels=("a", "b", "c"),
        weights=rng.normal(size=(3, 32)).astype(np.float32) * 3,
        bias=np.zeros(3, dtype=np.float32),
        fingerprint=encoder.fingerprint,
        temperature=1.5,
    )
    text = "  卡被盗了 a b c"
    spans = [(2, 3), (3, 5), (5, 6), (7, 8), (9, 10), (11, 12)]
    served = head.scores(encoder.encode([text], role="query"))[0]
    label = int(served.argmax())
    coarse = IntegratedGradients(encoder, head, steps=4)(text, spans, label=label)
    fine = IntegratedGradients(encoder, head, steps=64)(text, spans, label=label)
    assert fine.gap < 1e-3
    assert fine.gap <= coarse.gap + 1e-6
    assert sum(fine.weights) == pytest.approx(fine.change, abs=2e-3)  # every token belongs to a piece
    assert all(weight != 0 for weight in fine.weights)
    probability = IntegratedGradients(encoder, head)
    module, _ = probability._load()
    import torch

    ids = torch.tensor([probability._load()[1].encode(text.strip()).ids])
    again = probability._probability(module, module.get_input_embeddings()(ids), label)
    assert float(again[0]) == pytest.approx(float(served[label]), abs=1e-4)  # what serving says
