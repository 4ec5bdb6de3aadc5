"""Labels by their descriptions: with labelled rows to check on, and without any."""

from __future__ import annotations

import numpy as np
import pytest

from mercat.artifacts import Artifacts
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.hashing import Hashing
from mercat.errors import ConfigError
from mercat.heads import load_head
from mercat.store import Store
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.classifying.zero_shot import ZeroShot
from mercat.training.report import load_report
from mercat.values import Example

LABELS = {
    "card": ["card plastic chip pin", "blocked stolen wallet contactless"],
    "fee": "fee cost charge price",
    "loan": "loan credit mortgage interest",
}


def labels_of_topics() -> dict[str, str | list[str]]:
    """Describe each topic of the made-up rows by the words that they are made of."""
    from mercat.testing.training import _TOPICS

    return {label: " ".join(words) for label, words in _TOPICS.items()}


def recipe(**changes) -> ZeroShot:
    return ZeroShot(Hashing(), **{"collection": "intents", "labels": labels_of_topics(), **changes})


class TestZeroShotKeepsTheContract(RecipeContract):
    def recipe(self):
        return recipe()

    def fill(self, store):
        store.upsert(topic_examples(90), collection="intents")

    def test_an_empty_collection_is_refused_in_three_parts(self, tmp_path):
        """Not this one: it needs no rows. What it cannot do without is labels."""
        with Store.open(f"sqlite:///{tmp_path}/empty.db") as store:
            assert train_in(tmp_path, self.recipe(), store=store).details["counts"]["labels"] == 3


def test_descriptions_alone_tell_labels_apart(store, tmp_path):
    store.upsert(topic_examples(90), collection="intents")
    report = load_report(train_in(tmp_path, recipe(), store=store).folder)
    assert report.metrics["accuracy"].value > 0.8
    assert report.counts["trainable_parameters"] == 0
    assert report.counts["validation"] + report.counts["test"] == 90


def test_without_a_single_label_it_answers_and_says_that_nothing_was_checked(store, tmp_path):
    store.upsert([Example("a", "somebody stole my card", "")], collection="intents")
    artifact = train_in(tmp_path, recipe(labels=LABELS), store=store)
    report = load_report(artifact.folder)
    assert any("neither the confidence nor the result has been checked" in note for note in report.notes)
    assert report.metrics == {}
    classifier = TrainedClassifier(Artifacts(tmp_path / "artifacts"), artifact="intents", encoder=Hashing())
    (found,) = classifier.predict_many(["my card with the chip was stolen"])
    assert found.label == "card"
    assert 1 / 3 < found.confidence < 1


def test_what_all_descriptions_share_does_not_count(store, tmp_path):
    """A template of many words would otherwise drown what is told of the labels."""
    store.upsert(topic_examples(90), collection="intents")
    words = "the following is a question that a customer of a bank has about {}"
    plain = load_report(train_in(tmp_path / "a", recipe(), store=store).folder).metrics["accuracy"].value
    framed = load_report(train_in(tmp_path / "b", recipe(template=words), store=store).folder).metrics["accuracy"].value
    assert framed > plain - 0.1


def test_a_label_is_the_mean_of_its_descriptions(store, tmp_path):
    head = load_head(train_in(tmp_path, recipe(labels=LABELS), store=store).folder / "head")
    encoder = Hashing()
    means = []
    for texts in LABELS.values():
        mean = encoder.encode([texts] if isinstance(texts, str) else texts, role="query").mean(axis=0)
        means.append(mean / np.linalg.norm(mean))
    centred = np.stack(means) - np.mean(means, axis=0)
    expected = 20 * centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(head.weights, expected, atol=1e-4)


def test_rows_of_other_labels_count_as_errors_and_are_told(store, tmp_path):
    store.upsert(topic_examples(60), collection="intents")
    store.upsert([Example(f"odd{n}", f"weather report {n}", "weather") for n in range(20)], collection="intents")
    report = load_report(train_in(tmp_path, recipe(), store=store).folder)
    assert any("weather" in note for note in report.notes)
    assert report.metrics["accuracy"].value < 0.9


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"one": "a"}}, "labels of 'zero-shot'"),
        ({"labels": {"one": "a", "two": " "}}, "labels.two"),
        ({"labels": {"one": "a", "two": []}}, "labels.two"),
        ({"template": "about"}, "template"),
    ],
)
def test_impossible_settings_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        recipe(**changes)
