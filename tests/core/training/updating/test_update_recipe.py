from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mercat.artifacts import Artifacts, load_arrays
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.hashing import Hashing
from mercat.errors import ArtifactError, ConfigError, DataError, FingerprintError
from mercat.heads import MemoryHead, load_head
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.base import Run
from mercat.training.classifying.classifier import Scorer
from mercat.training.classifying.linear import Linear
from mercat.training.data import row_hashes, unseen
from mercat.training.progress import silent
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.training.updating.gate import Gate, Standing, best_of, compared, holders
from mercat.training.updating.update import Update
from mercat.values import Example

LOST = [
    "lost luggage suitcase airport",
    "my luggage never came",
    "suitcase missing at the airport",
    "where is my luggage",
]


def linear():
    return Linear(Hashing(), collection="intents", strength=10.0)


def update(folder, **options):
    return Update(Hashing(), Artifacts(folder / "artifacts"), **{"collection": "intents", "strength": 10.0, **options})


def travel(rows=40, *, prefix="travel"):
    """Return rows of a label that the first version has never heard of."""
    return [Example(f"{prefix}-{at:03d}", f"{LOST[at % 4]} number {at}", "luggage") for at in range(rows)]


class TestUpdateKeepsTheContract(RecipeContract):
    def recipe(self):
        return update(type(self)._folder)

    def fill(self, store):
        store.upsert(topic_examples(240), collection="intents")

    def train(self, folder, *, seed=0):
        from mercat.store import Store

        type(self)._folder = folder
        with Store.open(f"sqlite:///{folder}/mercat.db") as store:
            self.fill(store)
            train_in(folder, linear(), store=store)
            store.upsert(topic_examples(120, seed=4), collection="intents")
            return train_in(folder, update(folder), store=store, seed=seed)

    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path):
        if "_folder" not in vars(type(self)):
            type(self)._folder = tmp_path


@pytest.fixture
def first(store, tmp_path):
    """A store with 300 rows that a first version has learned from."""
    store.upsert(topic_examples(300), collection="intents")
    return train_in(tmp_path, linear(), store=store)


def parts_of(recipe, store, folder):
    return recipe.parts(Run("intents", store, folder, 0, silent))


def ids(rows):
    return {row.id for row in rows}


def test_rows_keep_their_parts_and_new_ones_are_parted(store, tmp_path, first):
    before = parts_of(linear(), store, tmp_path)
    store.upsert(topic_examples(200, seed=9), collection="intents")
    whole = parts_of(update(tmp_path), store, tmp_path)
    for name in ("train", "validation", "test"):
        old = {each for each in ids(getattr(whole, name)) if each.startswith("row-0")}
        assert old == ids(getattr(before, name)), name
        assert len(getattr(whole, name)) > len(old), name
    made = train_in(tmp_path, update(tmp_path), store=store)
    assert ids(unseen(made.folder, [*whole.train, *whole.validation, *whole.test])) == ids(whole.test)
    again = parts_of(update(tmp_path), store, tmp_path)
    assert again.digest == whole.digest == made.data_digest


def test_a_new_row_with_the_text_of_a_test_row_is_not_learned(store, tmp_path, first):
    tested = parts_of(linear(), store, tmp_path).test[:5]
    store.upsert([replace(row, id=f"copy-{row.id}") for row in tested], collection="intents")
    store.upsert(topic_examples(30, seed=9), collection="intents")
    whole = parts_of(update(tmp_path), store, tmp_path)
    assert {f"copy-{row.id}" for row in tested} <= ids(whole.test)


def test_a_new_label_is_learned_served_and_said(store, tmp_path, first):
    store.upsert(travel(), collection="intents")
    made = train_in(tmp_path, update(tmp_path), store=store)
    report = load_report(made.folder)
    assert report.counts["new"] == 40
    assert report.details["update"]["new_labels"] == ["luggage"]
    assert any("Learned for the first time: luggage" in note for note in report.notes)
    new = report.details["update"]["compared"]["new rows"]
    assert new["before"]["accuracy"]["value"] == 0.0
    assert new["now"]["accuracy"]["value"] == 1.0
    assert new["differences"]["accuracy"]["low"] > 0
    artifacts = Artifacts(tmp_path / "artifacts")
    assert artifacts.current("intents") == made.version == "0002"
    served = TrainedClassifier(artifacts, artifact="intents", encoder=Hashing())
    assert served.predict_many(["my suitcase and luggage at the airport"])[0].label == "luggage"
    assert artifacts.rollback("intents") == "0001"


def test_a_version_that_forgets_is_kept_and_not_promoted(store, tmp_path, first):
    """Rows whose labels are swapped came in: the old rows are answered worse, however many were learned again."""
    swap = {"card": "refund", "refund": "card", "transfer": "transfer"}
    wrong = [replace(row, label=swap[row.label]) for row in topic_examples(1500, seed=5)]
    store.upsert(wrong, collection="intents")
    made = train_in(tmp_path, update(tmp_path), store=store)
    artifacts = Artifacts(tmp_path / "artifacts")
    assert artifacts.versions("intents") == ["0001", "0002"]
    assert artifacts.current("intents") == "0001"
    told = made.details["withheld"]
    assert "Accuracy on the regression set" in told
    assert "95 % interval" in told
    assert "Of 'card' it finds" in told
    assert "Of 'transfer'" not in told
    report = load_report(made.folder)
    assert report.details["update"]["withheld"]
    assert any("Accuracy on the regression set" in note for note in report.notes)
    free = train_in(tmp_path, update(tmp_path, max_drop=1.0, max_label_drop=1.0), store=store)
    assert artifacts.current("intents") == free.version == "0003"


def test_small_falls_do_not_add_up(store, tmp_path, first):
    """The bar is the best promoted version, not the last one."""
    store.upsert(topic_examples(60, seed=9), collection="intents")
    second = train_in(tmp_path, update(tmp_path, max_drop=1.0, max_label_drop=1.0), store=store)
    bar = second.details["regression"]["accuracy"]
    before = load_report(second.folder).details["update"]["compared"]["regression set"]["before"]["accuracy"]["value"]
    assert bar >= before
    store.upsert(topic_examples(60, seed=10), collection="intents")
    third = train_in(tmp_path, update(tmp_path, max_drop=1.0, max_label_drop=1.0), store=store)
    assert third.details["regression"]["accuracy"] >= bar
    assert third.details["regression"]["rows"] == second.details["regression"]["rows"]


def standing(accuracy, **labels):
    return Standing(accuracy, labels)


def test_a_slow_slide_of_one_label_is_stopped_though_no_step_is_deep():
    """Ten rows of 'card': each version finds one fewer than the last, and the accuracy stays where it is."""
    true = ["card"] * 10 + ["refund"] * 30
    rows = [Example(f"r{at}", f"text {at}", label) for at, label in enumerate(true)]

    def version(missed):
        """Misses so many of 'card' and, so that accuracy stays, the fewer of 'refund'."""
        wrong = {*range(missed), *range(10, 14 - missed)}
        labels = ("card", "refund")

        def scores(texts):
            found = [int(text.split()[1]) for text in texts]
            right = np.array([labels.index(true[at]) for at in found])
            return np.eye(2)[[1 - each if at in wrong else each for at, each in zip(found, right, strict=True)]]

        return Scorer(labels, scores)

    gate, versions = Gate(0.01, 0.1), {}
    for number in range(3):
        found = compared(rows, version(number), version(number + 1))
        versions[f"{number}"] = standing(
            found.before["accuracy"].value, **{each.label: each.before for each in found.labels}
        )
        reasons = gate.reasons(found, best=best_of(versions.values()), lost=())
        assert bool(reasons) is (number > 0), "two rows of ten below the best one"
        assert gate.reasons(found, best=best_of([versions[f"{number}"]]), lost=()) == [], "the last one alone says yes"
    assert reasons == [
        "Of 'card' it finds 0.70, the best version 1.00, the last version 0.80 (10 rows); 0.1 less is allowed"
    ]


def test_what_is_the_best_in_nothing_is_not_kept():
    versions = {"1": standing(0.9, card=1.0, wire=0.5), "2": standing(0.8, card=0.9, wire=0.7), "3": standing(0.7)}
    assert holders(versions).keys() == {"1", "2"}
    assert best_of(versions.values()) == standing(0.9, card=1.0, wire=0.7)


def test_a_version_that_is_gone_is_no_bar(store, tmp_path, first):
    """A better first version on record counts while its folder is there."""
    free = {"max_drop": 1.0, "max_label_drop": 1.0}
    store.upsert(topic_examples(60, seed=9), collection="intents")
    second = train_in(tmp_path, update(tmp_path, **free), store=store)
    assert second.details["regression"]["versions"].keys() == {"0001"}
    file = second.folder / "artifact.json"
    said = json.loads(file.read_text())
    said["details"]["regression"]["versions"]["0001"] = {"accuracy": 1.0, "labels": {"card": 2.0}}
    file.write_text(json.dumps(said))
    store.upsert(topic_examples(60, seed=10), collection="intents")
    third = train_in(tmp_path, update(tmp_path, max_drop=1.0), store=store)
    assert "Of 'card' it finds" in third.details["withheld"]
    assert "the best version 2.00" in third.details["withheld"]
    Artifacts(tmp_path / "artifacts").promote("intents", "0002")
    shutil.rmtree(first.folder)
    fourth = train_in(tmp_path, update(tmp_path, max_drop=1.0, max_label_drop=0.99), store=store)
    assert "withheld" not in fourth.details
    assert fourth.details["regression"]["versions"].keys() == {"0002"}


def test_the_regression_set_stays_frozen_and_chooses_nothing(store, tmp_path, first):
    validation = parts_of(linear(), store, tmp_path).validation
    store.upsert(topic_examples(200, seed=9), collection="intents")
    second = train_in(tmp_path, update(tmp_path), store=store)
    frozen = load_arrays(second.folder / "regression.safetensors")["ids"]
    assert set(frozen) < set(row_hashes(validation))
    report = load_report(second.folder)
    assert report.counts["regression"] == len(frozen)
    whole = parts_of(update(tmp_path), store, tmp_path)
    assert report.counts["validation"] == len(whole.validation) - len(frozen)
    store.upsert(topic_examples(100, seed=10), collection="intents")
    third = train_in(tmp_path, update(tmp_path), store=store)
    np.testing.assert_array_equal(load_arrays(third.folder / "regression.safetensors")["ids"], frozen)


def test_a_collection_can_be_the_regression_set(store, tmp_path, first):
    store.upsert(topic_examples(90, seed=21), collection="must-hold")
    store.upsert([*topic_examples(60, seed=9), *topic_examples(90, seed=21)[:20]], collection="intents")
    made = train_in(tmp_path, update(tmp_path, regression="must-hold"), store=store)
    report = load_report(made.folder)
    assert report.details["update"]["compared"]["regression set"]["rows"] == 90
    assert any("have a text that is in 'train'" in note for note in report.notes), "it is said that the set leaks"
    assert not (made.folder / "regression.safetensors").exists()


def test_a_corrected_label_is_learned_again(store, tmp_path, first):
    learned = parts_of(linear(), store, tmp_path).train
    store.upsert([replace(row, label="stolen") for row in learned if "stolen" in row.text], collection="intents")
    report = load_report(train_in(tmp_path, update(tmp_path), store=store).folder)
    assert report.counts["new"] == 0
    assert report.counts["corrected"] > 10
    assert report.details["update"]["new_labels"] == ["stolen"]


def test_a_memory_beside_the_head_is_renewed(store, tmp_path):
    store.upsert(topic_examples(200), collection="intents")
    train_in(tmp_path, Linear(Hashing(), collection="intents", strength=10.0, memory=0.3, neighbours=7), store=store)
    store.upsert(travel(), collection="intents")
    made = train_in(tmp_path, update(tmp_path), store=store)
    head = load_head(made.folder / "head")
    assert isinstance(head, MemoryHead)
    assert (head.share, head.neighbours) == (0.3, 7)
    assert len(head.vectors) == load_report(made.folder).counts["train"]


def test_a_label_without_rows_is_not_forgotten_in_silence(store, tmp_path, first):
    gone = [row.id for row in topic_examples(300) if row.label == "card"]
    with store.transaction() as transaction:
        transaction.delete("examples", gone, collection="intents")
    store.upsert([row for row in topic_examples(60, seed=9) if row.label != "card"], collection="intents")
    made = train_in(tmp_path, update(tmp_path), store=store)
    assert "It no longer knows card" in made.details["withheld"]
    assert Artifacts(tmp_path / "artifacts").current("intents") == "0001"


def test_without_new_rows_nothing_is_made(store, tmp_path, first):
    with pytest.raises(DataError) as caught:
        train_in(tmp_path, update(tmp_path), store=store)
    assert "rows that came in since" in caught.value.asked
    assert "none to learn from is new or corrected" in caught.value.found
    assert caught.value.next == "mercat ingest"
    assert Artifacts(tmp_path / "artifacts").versions("intents") == ["0001"]


def test_evaluation_never_reads_a_row_that_some_version_saw(store, tmp_path, first):
    store.upsert(topic_examples(200, seed=9), collection="intents")
    made = train_in(tmp_path, update(tmp_path), store=store)
    recipe = update(tmp_path)
    found = evaluate(recipe, artifact=made, store=store, scratch_root=tmp_path / "scratch")
    whole = parts_of(recipe, store, tmp_path)
    assert found.counts["test"] == len(whole.test)
    assert not ids(whole.test) & (ids(whole.train) | ids(whole.validation))


def test_what_cannot_be_updated_is_refused_in_three_parts(store, tmp_path, first):
    store.upsert(topic_examples(60, seed=9), collection="intents")
    artifacts = Artifacts(tmp_path / "artifacts")
    other = Update(Hashing(dimensions=64), artifacts, collection="intents")
    with pytest.raises(FingerprintError):
        train_in(tmp_path, other, store=store)
    (first.folder / "rows.safetensors").unlink()
    with artifacts.create("intents", kind="classifier", recipe="linear") as writer:
        (writer.folder / "head").mkdir()
        (writer.folder / "head" / "head.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"rows\.safetensors does not say it"):
        train_in(tmp_path, update(tmp_path), store=store)
    with artifacts.create("intents", kind="ranker", recipe="towers"):
        pass
    with pytest.raises(ConfigError, match="of kind 'ranker', made by 'towers'"):
        train_in(tmp_path, update(tmp_path), store=store)


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_drop", -0.1), ("max_drop", float("nan")), ("max_label_drop", 2), ("replay", -1), ("regression", "intents")],
)
def test_settings_that_cannot_be_are_refused(tmp_path, key, value):
    with pytest.raises(ConfigError, match=f"{key} = ") as caught:
        update(tmp_path, **{key: value})
    assert caught.value.found
    assert caught.value.next
