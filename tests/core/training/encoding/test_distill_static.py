from __future__ import annotations

import numpy as np
import pytest

from mercat.artifacts import Artifacts
from mercat.encoders.cache import Cached
from mercat.encoders.hashing import Hashing
from mercat.encoders.static import Static
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.encoding.distill_static import DistillStatic
from mercat.training.encoding.token_tables import marks, own_vocabulary, project, sif, zipf
from mercat.training.report import load_report
from mercat.values import Document

TEXTS = ["my card is blocked", "refund from the merchant", "transfer to iban pending"]


class TestDistillStaticKeepsTheContract(RecipeContract):
    """From an encoder that has no tokenizer: its vocabulary are the words of the collection."""

    def recipe(self):
        return DistillStatic(Hashing(dimensions=64), collection="intents", dimensions=16)

    def fill(self, store):
        store.upsert(topic_examples(300), collection="intents")


@pytest.fixture
def store(store):
    store.upsert(topic_examples(300), collection="intents")
    return store


@pytest.fixture
def teacher(tiny_bert):
    return Transformer(str(tiny_bert), device="cpu", dtype="float32")


def test_the_student_of_a_transformer_is_loaded_by_name_and_by_model2vec(store, tmp_path, teacher):
    artifact = train_in(tmp_path, DistillStatic(Cached(teacher), collection="intents", dimensions=16), store=store)
    student = Static(artifact="intents", artifacts=Artifacts(tmp_path / "artifacts"))
    found = student.encode(TEXTS)
    assert found.shape == (3, 16)
    assert artifact.kind == "encoder"
    assert artifact.encoder_fingerprint == student.fingerprint
    assert artifact.details["teacher"] == teacher.fingerprint
    assert "tokenizer" in load_report(artifact.folder).notes[0]
    model2vec = pytest.importorskip("model2vec", reason="model2vec is not installed")
    peer = model2vec.StaticModel.from_pretrained(artifact.folder / "encoder")
    np.testing.assert_allclose(found, peer.encode(TEXTS).astype(np.float32), atol=2e-3)


def test_the_student_resembles_its_teacher_more_than_chance(store, tmp_path):
    artifact = train_in(tmp_path, DistillStatic(Hashing(), collection="intents", dimensions=38), store=store)
    assert artifact.metrics["similarity"]["low"] > 0.5
    assert artifact.metrics["neighbours"]["low"] > 0.5  # by chance: 10 of 29
    assert load_report(artifact.folder).counts["compared"] == 30


def test_each_token_is_what_the_body_makes_of_it_alone(teacher):
    vocabulary = own_vocabulary(teacher)
    tokens = [vocabulary.tokens[at] for at in np.flatnonzero(vocabulary.meant)]
    assert {"card", "a"} < set(tokens)
    assert not {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} & set(tokens)
    # whole words reach the body by their text as well
    np.testing.assert_allclose(
        vocabulary.teacher.encode(["card", "refund"]), teacher.encode(["card", "refund"]), atol=1e-5
    )


def test_the_weights_are_those_of_the_paper():
    probable = zipf(1000)
    assert probable.sum() == pytest.approx(1)
    assert probable[0] / probable[8] == pytest.approx(10 / 2)
    weights = sif(probable, 1e-4)
    np.testing.assert_allclose(weights, 1e-4 / (1e-4 + probable))
    assert np.all(np.diff(weights) > 0)


def test_frequent_words_count_less_by_counts_too(store, tmp_path, teacher):
    options = {"collection": "intents", "dimensions": 8, "dtype": "float32", "frequencies": "collection"}
    artifact = train_in(tmp_path, DistillStatic(teacher, **options), store=store)
    model2vec = pytest.importorskip("model2vec", reason="model2vec is not installed")
    peer = model2vec.StaticModel.from_pretrained(artifact.folder / "encoder")
    lengths = dict(zip(peer.tokens, np.linalg.norm(peer.embedding, axis=1), strict=True))
    assert lengths["please"] < lengths["z"]  # z never occurs
    assert lengths["[PAD]"] == 0


def test_projection_is_pca():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((200, 12)) * np.linspace(3, 0.1, 12) + 5
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    wanted = decomposition.PCA(4, svd_solver="full").fit(vectors)
    found, kept = project(vectors, 4)
    np.testing.assert_allclose(np.abs(found), np.abs(wanted.transform(vectors)), atol=1e-9)
    assert kept == pytest.approx(wanted.explained_variance_ratio_.sum())
    assert np.all(found[np.abs(found).argmax(axis=0), np.arange(4)] > 0)


def test_marks_are_those_around_a_text(teacher):
    tokenizer = teacher.load_for_training()[1]
    names = [[tokenizer.id_to_token(number) for number in side] for side in marks(tokenizer)]
    assert names == [["[CLS]"], ["[SEP]"]]


def test_a_run_that_was_killed_encodes_no_token_twice(store, tmp_path):
    class Counting(Hashing):
        asked = 0

        def encode(self, texts, *, role="document"):
            self.asked += len(texts)
            return super().encode(texts, role=role)

    class Killed(Exception):
        pass

    def kill(stage, done, total, **figures):
        if stage == "compare":
            raise Killed

    encoder = Counting(dimensions=32)
    recipe = DistillStatic(encoder, collection="intents", dimensions=8)
    with pytest.raises(Killed):
        train_in(tmp_path, recipe, store=store, progress=kill)
    first = encoder.asked
    train_in(tmp_path, recipe, store=store)
    assert first > 40
    assert encoder.asked - first == 30  # the validation texts alone


def test_documents_serve_as_texts(store, tmp_path):
    rows = [Document(str(row.id), row.text) for row in topic_examples(300, seed=3)]
    store.upsert(rows, collection="help")
    artifact = train_in(tmp_path, DistillStatic(Hashing(), collection="help", dimensions=8), store=store)
    assert load_report(artifact.folder).counts["train"] > 200


@pytest.mark.parametrize(
    "wrong",
    [{"dimensions": 0}, {"most_words": 1}, {"smoothing": 0.0}, {"smoothing": 1.0}, {"test_share": 0.0}],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError) as caught:
        DistillStatic(Hashing(), collection="intents", **wrong)
    assert caught.value.next


def test_more_dimensions_than_there_are_is_refused(store, tmp_path):
    with pytest.raises(ConfigError, match=r"dimensions = 65. The encoder and its 40 tokens have 39"):
        train_in(tmp_path, DistillStatic(Hashing(), collection="intents", dimensions=65), store=store)


def test_a_tokenizer_that_is_not_there_is_refused(store, tmp_path):
    recipe = DistillStatic(Hashing(), collection="intents", vocabulary="tokenizer")
    with pytest.raises(ConfigError, match="vocabulary = 'collection'"):
        train_in(tmp_path, recipe, store=store)


def test_too_few_texts_to_compare_is_refused(store, tmp_path):
    store.upsert(topic_examples(20, seed=9), collection="few")
    with pytest.raises(DataError, match="12 are needed"):
        train_in(tmp_path, DistillStatic(Hashing(), collection="few", dimensions=4), store=store)
