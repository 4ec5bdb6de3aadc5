"""The losses of sentence-transformers: its own values on the same vectors, the rows that they need, what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mercat.errors import ConfigError, DataError, MissingExtra  # noqa: E402
from mercat.training.contrast import losses  # noqa: E402
from mercat.training.contrast.embedder import Embedder  # noqa: E402
from mercat.training.contrast.grouped import Texts  # noqa: E402
from mercat.training.contrast.losses import check_loss, library_loss, require_rows  # noqa: E402
from mercat.training.contrast.ranked import grouped_by  # noqa: E402
from mercat.training.contrast.scored import Scored, Side, scored_pairs_of  # noqa: E402
from mercat.training.contrast.search import Search  # noqa: E402
from mercat.training.data import Parts  # noqa: E402
from mercat.values import Example  # noqa: E402

PLAIN = {"margin": 0.5, "hard_negatives": 0, "positive_label": ""}
BOTH = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}


class Table(Embedder):
    """Has a vector for each token id; a text is one token."""

    def __init__(self, rows, seed=0):
        super().__init__(None, pooling="mean", pad_id=0)
        found = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
        self.weight = torch.nn.Parameter(torch.from_numpy(found))

    def forward(self, rows):
        return torch.nn.functional.normalize(self.weight[[row[0] for row in rows]], dim=1)

    def arrays(self, rows):
        return self(rows).detach().numpy()

    def of(self, *numbers):
        return self([[number] for number in numbers]).detach()


class Given(torch.nn.Module):
    """A model of sentence-transformers that gives back the vectors that it is asked with."""

    def forward(self, features):
        return features


@pytest.fixture(scope="session")
def library():
    """sentence-transformers takes seconds to import: the whole session does it once, here."""
    return pytest.importorskip("sentence_transformers.sentence_transformer.losses")


def value_of(library, kind, columns, known=None, **options):
    """Return the value of a loss as sentence-transformers computes it in its own training."""
    loss = getattr(library, kind)(Given(), **options)
    return float(loss([{"sentence_embedding": column} for column in columns], known))


def grouped(loss, groups, *, anchors, partners):
    texts = Texts([[number] for number in range(len(groups))], np.array(groups))
    search = Search(texts.ids, texts.groups, texts.ids, texts.groups, itself=True)
    numbers = {"anchors": np.array(anchors), "partners": np.array(partners)}
    return grouped_by(loss, texts, temperature=0.05, margin=0.5, search=search, **numbers)


def gradient_of(table, step):
    table.weight.grad = None
    torch.autograd.backward(step.loss)
    assert torch.isfinite(table.weight.grad).all()
    return table.weight.grad.abs().sum(dim=1).numpy()


@pytest.mark.parametrize(("loss", "options"), [("multiple-negatives", {}), ("multiple-negatives-symmetric", BOTH)])
def test_partners_are_ranked_as_sentence_transformers_does(library, loss, options):
    table = Table(9)
    objective = grouped(loss, [0, 1, 2, 0, 1, 2, 7, 8, 9], anchors=[0, 1, 2], partners=[3, 4, 5])
    step = objective.step(table, np.array([0, 1, 2]))
    columns = [table.of(0, 1, 2), table.of(3, 4, 5)]
    kind = "MultipleNegativesRankingLoss"
    assert float(step.loss) == pytest.approx(value_of(library, kind, columns, scale=20.0, **options), rel=1e-5)
    assert (gradient_of(table, step)[:6] > 0).all()
    objective.mined = np.array([[6, 7], [4, -1], [7, -1]])  # the second is another's partner: it is there already
    step = objective.step(table, np.array([0, 1, 2]))
    columns.append(table.of(6, 7))
    assert float(step.loss) == pytest.approx(value_of(library, kind, columns, scale=20.0, **options), rel=1e-5)
    assert gradient_of(table, step).astype(bool).tolist() == [True] * 8 + [False]


def test_of_anchors_that_belong_together_one_counts(library):
    table = Table(5)
    objective = grouped("multiple-negatives", [0, 0, 1, 0, 1], anchors=[0, 1, 2], partners=[3, 4])
    step = objective.step(table, np.array([0, 1, 2]))
    expected = value_of(library, "MultipleNegativesRankingLoss", [table.of(0, 2), table.of(3, 4)], scale=20.0)
    assert float(step.loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "kind", "options"),
    [
        ("batch-hard-triplet", "BatchHardTripletLoss", {"margin": 0.5}),
        ("batch-hard-soft-margin-triplet", "BatchHardSoftMarginTripletLoss", {}),
        ("batch-semi-hard-triplet", "BatchSemiHardTripletLoss", {"margin": 0.5}),
        ("batch-all-triplet", "BatchAllTripletLoss", {"margin": 0.5}),
    ],
)
def test_batches_are_compared_as_sentence_transformers_does(library, loss, kind, options):
    table, groups = Table(8), [0, 0, 1, 1, 2, 2, 0, 1]
    objective = grouped(loss, groups, anchors=range(8), partners=range(8))
    step = objective.step(table, np.arange(8))
    expected = value_of(library, kind, [table.of(*range(8))], torch.tensor(groups), **options)
    assert float(step.loss) == pytest.approx(expected, rel=1e-5)
    assert gradient_of(table, step).any()
    alone = objective.step(table, np.array([0, 1]))
    assert float(alone.loss) == 0.0
    assert not gradient_of(table, alone).any()


def test_triplets_have_the_nearest_mined_or_any_other_text(library):
    table = Table(7)
    objective = grouped("triplet", [0, 0, 1, 1, 2, 2, 3], anchors=range(7), partners=range(7))
    objective.mined = np.array([[2, 4], [3, -1], [0, -1], [1, -1], [0, -1], [3, -1], [0, -1]])
    step = objective.step(table, np.arange(7))  # the last one has no partner
    columns = [table.of(0, 1, 2, 3, 4, 5), table.of(1, 0, 3, 2, 5, 4), table.of(2, 3, 0, 1, 0, 3)]
    expected = value_of(library, "TripletLoss", columns, triplet_margin=0.5)
    assert float(step.loss) == pytest.approx(expected, rel=1e-5)
    assert gradient_of(table, step)[:6].any()
    assert float(objective.step(table, np.array([6])).loss) == 0.0
    objective.mined = np.full((7, 0), -1)
    drawn = {tuple(objective._others(np.array([0, 4]))) for _ in range(60)}
    assert {first for first, _ in drawn} == {2, 3, 4, 5, 6}
    assert {second for _, second in drawn} == {0, 1, 2, 3, 6}


@pytest.mark.parametrize(
    ("loss", "kind", "options", "targets"),
    [
        ("cosent", "CoSENTLoss", {"scale": 20.0}, [0, 3, 1, 2, 2]),
        ("angle", "AnglELoss", {"scale": 20.0}, [0, 3, 1, 2, 2]),
        ("cosine", "CosineSimilarityLoss", {}, [0.1, 0.9, 0.4, -0.2, 0.4]),
        ("contrastive", "ContrastiveLoss", {"margin": 0.5}, [0, 1, 1, 0, 0]),
        ("online-contrastive", "OnlineContrastiveLoss", {"margin": 0.5}, [0, 1, 1, 0, 0]),
    ],
)
def test_pairs_are_scored_as_sentence_transformers_does(library, loss, kind, options, targets):
    table, numbers = Table(10), np.array(targets, dtype=np.float32)
    side = Side([[at] for at in range(5)], [[at] for at in range(5, 10)], numbers)
    figure = "auroc" if "contrastive" in loss else "spearman"
    computed = library_loss(loss, temperature=0.05, margin=0.5)
    objective = Scored(side, side, computed=computed, figure=figure, divisible=False)
    rows = np.array([3, 1, 0, 4])
    step = objective.step(table, rows)
    columns, known = [table.of(*rows), table.of(*rows + 5)], torch.from_numpy(numbers[rows])
    assert float(step.loss) == pytest.approx(value_of(library, kind, columns, known, **options), rel=1e-5)
    assert gradient_of(table, step).any()
    found = objective.validate(table)
    whole = value_of(library, kind, [table.of(*range(5)), table.of(*range(5, 10))], torch.tensor(numbers), **options)
    assert found["loss"] == pytest.approx(whole, rel=1e-5)
    cosines = (table.of(*range(5)) * table.of(*range(5, 10))).sum(dim=1).numpy()
    if figure == "auroc":
        wins = [float(a > b) for a in cosines[numbers > 0] for b in cosines[numbers == 0]]
        assert found["auroc"] == pytest.approx(np.mean(wins))
    else:
        from scipy.stats import spearmanr

        assert found["spearman"] == pytest.approx(spearmanr(numbers, cosines).statistic)


def parts_of(labels):
    rows = [Example(f"{at}", f"q{at}", label, text_pair=f"p{at}") for at, label in enumerate(labels)]
    return Parts(rows, rows[:1], rows[-1:], tuple(sorted(set(labels))), "", {}, ())


def test_numbers_stay_as_they_are_unless_cosines_shall_equal_them():
    rated, within = parts_of(["1", "5", "3"]), parts_of(["-0.5", "1", "0"])
    of = lambda parts, loss: scored_pairs_of(parts, "c", loss=loss, positive_label="")  # noqa: E731
    assert of(rated, "cosent").targets["train"].tolist() == [1, 5, 3]
    assert of(rated, "cosine").targets["train"].tolist() == [0, 1, 0.5]
    assert of(rated, "cosine").targets["test"].tolist() == [0.5]
    assert of(within, "cosine").targets["train"].tolist() == [-0.5, 1, 0]
    assert of(rated, "cosent").pairs["train"][0] == (("query", "q0"), ("document", "p0"))


def test_labels_are_the_positive_one_or_not():
    of = lambda parts, label: scored_pairs_of(parts, "c", loss="contrastive", positive_label=label)  # noqa: E731
    assert of(parts_of(["yes", "no", "maybe"]), "").targets["train"].tolist() == [1, 0, 0]
    assert of(parts_of(["yes", "no", "maybe"]), "maybe").targets["train"].tolist() == [0, 0, 1]
    assert of(parts_of(["a", "b"]), "").figure == "auroc"
    with pytest.raises(ConfigError, match="positive_label = 'a'"):
        of(parts_of(["a", "b", "c"]), "")


@pytest.mark.parametrize(
    ("loss", "labels", "said"), [("angle", "xy", "have to be numbers"), ("cosent", "33", "differ")]
)
def test_numbers_that_are_none_or_all_the_same_are_refused(loss, labels, said):
    with pytest.raises(DataError, match=said):
        scored_pairs_of(parts_of(labels), "c", loss=loss, positive_label="")


PAIR, SINGLE = Example("a", "q", "1", text_pair="p"), Example("b", "q", "x")


@pytest.mark.parametrize(
    ("loss", "rows", "found", "cure"),
    [
        ("multiple-negatives", [SINGLE, SINGLE], "0 of 2 rows are pairs", "batch-hard-triplet"),
        ("batch-all-triplet", [PAIR], "1 of 1 rows are pairs", "online-contrastive"),
        ("cosent", [PAIR, SINGLE], "1 of 2 rows are pairs", "grouped"),
        ("contrastive", [SINGLE], "0 of 1 rows are pairs", "grouped"),
    ],
)
def test_other_rows_are_refused_in_three_parts(loss, rows, found, cure):
    with pytest.raises(DataError) as caught:
        require_rows(loss, rows, "mine")
    assert f"loss = '{loss}' learns from" in caught.value.asked
    assert "'mine'" in caught.value.asked
    assert caught.value.found == found
    assert cure in caught.value.next


def test_rows_that_fit_are_taken():
    for loss, row in (
        ("grouped", PAIR),
        ("triplet", SINGLE),
        ("multiple-negatives", PAIR),
        ("batch-all-triplet", SINGLE),
    ):
        require_rows(loss, [row], "mine")


@pytest.mark.parametrize(
    ("loss", "more", "said"),
    [
        ("cosnt", {}, "cosent, angle"),
        ("cosent", {"hard_negatives": 1}, "searches for no others"),
        ("angle", {"positive_label": "yes"}, "no positive label"),
        ("triplet", {"margin": 0.0}, "above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(loss, more, said):
    with pytest.raises(ConfigError, match=said) as caught:
        check_loss(loss, **{**PLAIN, **more})
    assert caught.value.next


def test_without_the_library_only_its_losses_are_refused(monkeypatch):
    monkeypatch.setattr(losses, "find_spec", lambda name: None)
    check_loss("grouped", **PLAIN)
    with pytest.raises(MissingExtra, match=r"mercat\[train\]"):
        check_loss("cosent", **PLAIN)

    def broken(name):
        raise ImportError("no", name="pyarrow")

    monkeypatch.setattr(losses.importlib, "import_module", broken)
    with pytest.raises(MissingExtra, match="pyarrow"):
        library_loss("cosent", temperature=0.05, margin=0.5)
