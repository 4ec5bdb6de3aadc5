"""The loss, the search and the mining that recipes by contrast share."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mercat.encoders.transformer import Transformer  # noqa: E402
from mercat.errors import DataError  # noqa: E402
from mercat.training.classifying.model import token_ids  # noqa: E402
from mercat.training.contrast.embedder import Embedder  # noqa: E402
from mercat.training.contrast.grouped import Grouped, Texts, contrast  # noqa: E402
from mercat.training.contrast.material import material_of, read_parts_for_contrast  # noqa: E402
from mercat.training.contrast.mining import Mining  # noqa: E402
from mercat.training.contrast.search import Search, figures_of, figures_per_query, nearest_others  # noqa: E402
from mercat.values import Example  # noqa: E402

SHARES = {"validation_share": 0.2, "test_share": 0.2, "split": "auto", "positive_label": ""}


def unit(rows, dimensions=6, seed=0):
    found = np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_loss_is_that_of_the_paper_written_out():
    vectors, groups = unit(5), np.array([0, 0, 1, 1, 2])
    expected = []
    for i in range(4):  # the fifth has no partner
        others = [j for j in range(5) if j != i]
        total = sum(np.exp(vectors[i] @ vectors[j] / 0.1) for j in others)
        partners = [j for j in others if groups[j] == groups[i]]
        expected.append(-np.mean([np.log(np.exp(vectors[i] @ vectors[j] / 0.1) / total) for j in partners]))
    step = contrast(torch.from_numpy(vectors), torch.from_numpy(groups), temperature=0.1)
    assert float(step.loss) == pytest.approx(np.mean(expected), rel=1e-4)


def test_the_gradient_is_finite_and_a_batch_without_partners_costs_nothing():
    vectors = torch.from_numpy(unit(4)).requires_grad_(True)
    for groups, free in (([0, 0, 1, 1], False), ([0, 1, 2, 3], True)):
        vectors.grad = None
        step = contrast(vectors, torch.tensor(groups), temperature=0.05)
        torch.autograd.backward(step.loss)
        assert torch.isfinite(vectors.grad).all()
        assert (float(step.loss) == 0.0) is free


def test_ranks_count_what_is_nearer_and_ties_against_the_query():
    found = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6], [0, 1]], dtype=np.float32)
    groups = np.array([0, 1, 2, 3])
    queries = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], dtype=np.float32)
    search = Search([0] * 4, np.array([0, 1, 3, 9]), [0] * 4, groups)
    places = search.ranks(queries, found)
    assert places.tolist() == [1, 3, 4, np.inf]
    assert figures_per_query(places)["mrr@10"].tolist() == pytest.approx([1, 1 / 3, 1 / 4, 0])
    assert figures_per_query(places)["recall@1"].tolist() == [1, 0, 0, 0]


def test_no_query_finds_itself():
    vectors = unit(6, seed=3)
    groups = np.array([0, 0, 1, 1, 2, 2])
    search = Search(list(range(6)), groups, list(range(6)), groups, itself=True)
    found = figures_of(search, lambda rows: vectors[list(rows)], temperature=0.1)
    cosines = vectors @ vectors.T - 9 * np.eye(6)
    right = [groups[row.argmax()] == group for row, group in zip(cosines, groups, strict=True)]
    assert found["recall@1"] == pytest.approx(np.mean(right))
    assert found["loss"] > 0


def test_hard_negatives_are_the_nearest_of_other_groups_below_the_ceiling():
    queries = np.array([[1, 0]], dtype=np.float32)
    found = np.array([[0.9, 0.436], [0.99, 0.141], [0.8, 0.6], [0.5, 0.866]], dtype=np.float32)
    search = Search([0], np.array([0]), [0] * 4, np.array([0, 1, 2, 3]))
    assert nearest_others(search, queries, found, count=2, ceiling=9.0).tolist() == [[1, 2]]
    assert nearest_others(search, queries, found, count=2, ceiling=0.95).tolist() == [[2, 3]]
    assert nearest_others(search, queries, found, count=3, ceiling=0.7).tolist() == [[3, -1, -1]]
    assert nearest_others(search, queries, found, count=6, ceiling=0.7).shape == (1, 6)


@pytest.fixture
def embedder(tiny_bert):
    base = Transformer(str(tiny_bert), dtype="float32")
    body, tokenizer = base.load_for_training()
    model = Embedder(body, pooling=base.pooling, pad_id=base.checkpoint.pad_id)
    return base, model, lambda texts: token_ids(base, tokenizer, texts, role="query")


def test_the_embedder_gives_what_serving_gives_in_any_order_of_lengths(embedder):
    base, model, ids = embedder
    texts = [" ".join([["card", "refund", "iban"][at % 3]] * (1 + at * 7 % 23)) for at in range(40)]
    served = base.encode(texts, role="query")
    np.testing.assert_allclose(model.arrays(ids(texts)), served, atol=1e-4)
    with torch.inference_mode():
        np.testing.assert_allclose(model.eval()(ids(texts)).numpy(), served, atol=1e-4)


def objective_of(ids, texts, groups, **more):
    encoded = Texts(ids(texts), np.array(groups))
    rows = np.arange(len(texts))
    search = Search(encoded.ids, encoded.groups, encoded.ids, encoded.groups, itself=True)
    return Grouped(encoded, anchors=rows, partners=rows, search=search, temperature=0.1, **more)


def test_a_batch_has_a_partner_for_each_anchor_and_what_was_mined(embedder):
    _, model, ids = embedder
    seen = []
    texts = ["card chip", "card pin", "refund money", "refund back", "iban wire", "iban sent"]
    objective = objective_of(ids, texts, [0, 0, 1, 1, 2, 2], always=np.array([-1, -1, 5]))
    model.forward = lambda rows: seen.append(len(rows)) or torch.from_numpy(unit(len(rows))).requires_grad_(True)
    objective.step(model, np.array([0]))  # itself and its partner
    objective.step(model, np.array([0, 1]))  # each other's partner: no text is there twice
    objective.mined = np.full((6, 1), -1)
    objective.mined[0] = 2
    objective.step(model, np.array([0]))
    objective.step(model, np.array([4]))  # its partner comes along always
    assert seen == [2, 2, 3, 2]


def test_mining_finds_again_what_it_found_and_keeps_it_with_checkpoints(embedder):
    _, model, ids = embedder
    texts = ["card chip", "card pin", "refund money", "refund back", "iban wire", "iban sent"]
    first, second = (objective_of(ids, texts, [0, 0, 1, 1, 2, 2]) for _ in range(2))
    mining = Mining(first, model, count=2, ceiling=9.0, every=3)
    mining.mine()
    vectors = model.arrays(ids(texts))
    expected = np.where(first.texts.groups[:, None] == first.texts.groups, -9, vectors @ vectors.T).argmax(axis=1)
    assert first.mined[:, 0].tolist() == expected.tolist()
    Mining(second, model, count=2, ceiling=9.0, every=3).restore(mining.state())
    assert second.mined.tolist() == first.mined.tolist()
    first.mined = np.zeros((6, 0), dtype=np.int64)
    mining.stepped(2)
    assert first.mined.shape == (6, 0)
    mining.stepped(3)
    assert first.mined.tolist() == second.mined.tolist()


def test_pairs_that_share_a_text_are_one_group(store):
    rows = [
        Example("a", "how to pay", "", text_pair="by card"),
        Example("b", "ways to pay", "", text_pair="by card"),
        Example("c", "ways to pay", "", text_pair="by wire"),
        Example("d", "opening hours", "", text_pair="nine to five"),
        *(Example(f"e{at}", f"question {at}", "", text_pair=f"answer {at}") for at in range(20)),
    ]
    store.upsert(
        [Example(**{**vars_of(row), "split": "train"}) if row.id in "abcd" else row for row in rows], collection="faq"
    )
    material = material_of(read_parts_for_contrast(store, "faq", **SHARES), "faq")
    group = {text: material.groups[at] for at, text in enumerate(material.texts)}
    linked = {
        group["query", "how to pay"],
        group["query", "ways to pay"],
        group["document", "by card"],
        group["document", "by wire"],
    }
    assert len(linked) == 1
    assert group["query", "opening hours"] == group["document", "nine to five"] not in linked
    search = material.search("validation")
    assert {role for role, _ in search.queries} == {"query"}
    assert {role for role, _ in search.candidates} == {"document"}
    assert set(search.query_groups) <= set(search.candidate_groups)


def vars_of(row):
    return {name: getattr(row, name) for name in ("id", "text", "label", "text_pair")}


def test_a_text_with_two_labels_does_not_join_them(store):
    rows = [
        Example(f"{label}-{at}", text, label)
        for label in ("a", "b")
        for at, text in enumerate(["both", *(f"{label} {number}" for number in range(9))])
    ]
    store.upsert(rows, collection="labels")
    material = material_of(read_parts_for_contrast(store, "labels", **SHARES), "labels")
    assert len(set(material.groups.tolist())) == 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([Example("a", "q", "", text_pair="p"), Example("b", "q", "x")], "are not"),
        ([Example("a", "q", "0", text_pair="p")], "No pair has the label 'yes'"),
        ([Example(f"{at}", f"q{at}", "yes", text_pair="the same") for at in range(20)], "hang together"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(store, rows, said):
    store.upsert(rows, collection="odd")
    with pytest.raises(DataError, match=said):
        material_of(read_parts_for_contrast(store, "odd", **{**SHARES, "positive_label": "yes"}), "odd")
