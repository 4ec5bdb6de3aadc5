"""Weights are learned where they help, are never below the best leg, and belong to the scores they were learned on."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mercat.errors import ArtifactError, ConfigError, DataError, FingerprintError, UnknownName
from mercat.evaluation.ranking import ndcg
from mercat.jobs import evaluate_recipe, train_recipe
from mercat.retrieval.fusion import Table
from mercat.retrieval.learned import Learned
from mercat.training.base import Run
from mercat.training.fusing.fusion import Fusion
from mercat.training.fusing.weights import Asked, fit_weights
from mercat.training.progress import silent
from mercat.training.report import load_report
from mercat.values import Document, Example, Hit
from mercat.workspace import Workspace

CONFIG = """
[mercat]
folder = "workspace"

[encoders.small]
use = "hashing"
dimensions = 32

[encoders.other]
use = "hashing"
dimensions = 64

[indexes.help]
use = "exact"

[retrievers.help]
use = "hybrid"
encoder = "small"
index = "help"
collection = "help"
artifact = "weights"

[recipes.weights]
use = "fusion"
retriever = "help"
collection = "questions"
"""


def asked(seed, *, quality, questions=60, ids=40):
    """Questions with one right row; `quality` says how far each leg lifts it above the noise."""
    draw, found = np.random.default_rng(seed), []
    for _ in range(questions):
        right, legs = str(draw.integers(ids)), []
        for lift in quality:
            scores = {str(key): draw.normal() + lift * (str(key) == right) for key in range(ids)}
            legs.append([Hit(key, score) for key, score in sorted(scores.items(), key=lambda one: -one[1])][:20])
        ids_of = [[hit.id for hit in leg] for leg in legs]
        found.append(Asked(Table.of(legs, asked=20), frozenset([right]), ids_of))
    return found


def mean(questions, gains):
    return np.mean(ndcg(gains, [[1.0]] * len(questions), k=10))


@pytest.mark.parametrize("quality", [(2.0, 0.0), (0.0, 2.0), (1.5, 1.5), (0.3, 0.2), (1.0, 2.0, 0.5)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_never_below_the_best_leg_on_what_was_learned_from(quality, seed):
    questions = asked(seed, quality=quality)
    weights = fit_weights(questions, k=10)
    assert sum(weights) == pytest.approx(1)
    legs = [mean(questions, [one.leg_gains(leg) for one in questions]) for leg in range(len(quality))]
    assert mean(questions, [one.gains(weights) for one in questions]) >= max(legs) - 1e-12


def test_the_better_leg_counts_more_and_both_together_are_better_on_new_questions():
    weights = fit_weights(asked(0, quality=(2.5, 1.5), questions=200), k=10)
    assert weights[0] > weights[1] > 0.1
    fresh = asked(1, quality=(2.5, 1.5), questions=200)
    best = max(mean(fresh, [one.leg_gains(leg) for one in fresh]) for leg in (0, 1))
    assert mean(fresh, [one.gains(weights) for one in fresh]) > best + 0.02


def test_where_nothing_is_found_nothing_breaks():
    nothing = Asked(Table.of([[], []], asked=20), frozenset(["x"]), [[], []])
    assert sum(fit_weights([nothing], k=10)) == pytest.approx(1)


@pytest.fixture
def workspace(tmp_path):
    draw = np.random.default_rng(7)
    words = [
        f"{a}{b}" for a in ("ba", "ke", "lo", "mi", "nu", "ra") for b in ("dor", "fin", "gal", "hem", "sut", "vax")
    ]
    texts = {f"d{n}": " ".join(draw.choice(words, size=12)) for n in range(120)}
    (tmp_path / "mercat.toml").write_text(CONFIG)
    with Workspace.open(tmp_path / "mercat.toml") as opened:
        opened.store.upsert([Document(key, text) for key, text in texts.items()], collection="help")
        questions = [
            Example(f"q{n}", " ".join(draw.permutation(texts[f"d{n}"].split())[:4]), f"d{n}") for n in range(120)
        ]
        opened.store.upsert(questions, collection="questions")
        opened.get("retrievers", "help").refresh()
        yield opened


def test_a_hybrid_answers_with_the_weights_of_its_artifact(workspace):
    retriever = workspace.get("retrievers", "help")
    with pytest.raises(UnknownName, match="mercat train weights"):
        retriever.search("badoor")
    made = train_recipe(workspace, "weights")
    report, weights = load_report(made.folder), Learned.load(made.folder).weights
    assert made.kind == "fusion"
    beside = report.details["train"]
    assert beside["learned"] >= max(beside["dense"], beside["bm25"])
    assert report.metrics["ndcg@10"].n == report.counts["validation"] == 24
    text = next(iter(workspace.store.rows("examples", "questions"))).text
    dense, bm25 = retriever.legs_many([text], k=100)[0]
    table = Table.of([dense, bm25], asked=100)
    assert [(hit.id, hit.score) for hit in retriever.search(text, k=5)] == table.order(weights)[:5]
    assert not retriever.reload()
    train_recipe(workspace, "weights", seed=1)
    assert retriever.reload()


def test_an_evaluation_names_the_best_leg_and_asks_new_questions(workspace):
    train_recipe(workspace, "weights")
    found = evaluate_recipe(workspace, "weights")
    assert found.baseline in ("dense alone", "bm25 alone")
    assert found.counts["questions"] == 24
    difference = found.metrics["ndcg@10"].value - found.baseline_metrics["ndcg@10"].value
    assert found.differences["ndcg@10"].value == pytest.approx(difference)


def test_too_few_questions_are_refused(workspace):
    with pytest.raises(DataError, match=r"need 500 questions.*Its train part has 72"):
        train_recipe(workspace, "weights", parameters={"least": 500})


def test_weights_of_other_scores_are_refused(workspace, tmp_path):
    train_recipe(workspace, "weights")
    other = Workspace.open(tmp_path / "mercat.toml", overrides=["retrievers.help.stems=false"])
    with other:
        retriever = other.get("retrievers", "help")
        retriever.refresh()
        with pytest.raises(FingerprintError, match="mercat train weights"):
            retriever.search("badoor")


def test_what_is_no_hybrid_or_no_fusion_is_refused(workspace, tmp_path):
    with (
        pytest.raises(ConfigError, match="Dense has one ranking alone"),
        Workspace.open(
            tmp_path / "mercat.toml",
            overrides=[
                "retrievers.plain.use=dense",
                "retrievers.plain.encoder=small",
                "retrievers.plain.index=help",
                "retrievers.plain.collection=help",
                "recipes.weights.retriever=plain",
            ],
        ) as other,
    ):
        train_recipe(other, "weights")
    with workspace.artifacts.create("weights", kind="classifier", recipe="linear") as writer:
        (writer.folder / "x").write_text("x")
    with pytest.raises(ArtifactError, match="of kind 'classifier'"):
        workspace.get("retrievers", "help").search("badoor")


def test_a_split_by_time_parts_no_question_from_its_right_rows(workspace, tmp_path):
    """A question's second answer may be much later than its first."""
    day, rows = datetime(2026, 1, 1, tzinfo=UTC), []
    for number in range(200):
        for answer, later in (("first", 0), ("second", 60)):
            at = day + timedelta(days=number + later)
            rows.append(Example(f"{number} {answer}", f"question {number}", f"{answer} of {number}", at=at))
    workspace.store.upsert(rows, collection="dated")
    recipe = Fusion(workspace.get("retrievers", "help"), collection="dated")
    parts = recipe.rows(Run("weights", workspace.store, tmp_path / "scratch", seed=0, progress=silent))
    counts = Counter(row.text for row in parts.train)
    assert set(counts.values()) == {2}
    assert len(parts.train) + len(parts.validation) + len(parts.test) == len(rows)
    assert max(row.at for row in parts.train) <= min(row.at for row in parts.test)
