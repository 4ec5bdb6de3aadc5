import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mercat.artifacts import Artifacts
from mercat.classifiers import TrainedClassifier
from mercat.encoders.hashing import Hashing
from mercat.errors import ArtifactError, ConfigError, FingerprintError, UnknownName
from mercat.heads import LinearHead
from mercat.testing.classifiers import ClassifierContract

ROWS = {
    "lost_card": ["I lost my card", "my card was lost", "card lost yesterday", "where is my lost card"],
    "top_up": ["how to top up", "top up failed", "I cannot top up", "top up my account"],
    "退款": ["我要退款", "退款多久到账", "申请退款", "退款没有收到"],
}
TEXTS = [text for texts in ROWS.values() for text in texts]
LABELS = [label for label, texts in ROWS.items() for _ in texts]
NOW = datetime(2025, 1, 2, tzinfo=UTC)


class Spy:
    """A hashing encoder that counts and notes how it is asked, and sees "query" and "document" differently."""

    def __init__(self, dimensions: int = 128) -> None:
        self._inner = Hashing(dimensions=dimensions)
        self.roles: list[str] = []
        self.warmed = 0

    fingerprint = property(lambda self: self._inner.fingerprint)
    dimensions = property(lambda self: self._inner.dimensions)

    def encode(self, texts, *, role="document"):
        self.roles.append(role)
        return self._inner.encode(texts, role=role)

    def warm_up(self) -> None:
        self.warmed += 1

    def info(self):
        return self._inner.info()


def publish(artifacts: Artifacts, encoder, *, labels=LABELS, name="intents", max_error=None, **details) -> None:
    head = LinearHead.fit(
        encoder.encode(TEXTS), labels, fingerprint=encoder.fingerprint, strength=100.0, max_error=max_error
    )
    with artifacts.create(name, kind="classifier", recipe="linear") as writer:
        (writer.folder / "head").mkdir()
        head.save(writer.folder / "head")
        for key, value in details.items():
            writer.note(key, value)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path, clock=lambda: NOW)


class TestShared(ClassifierContract):
    @pytest.fixture(autouse=True)
    def _published(self, artifacts):
        self.artifacts = artifacts
        publish(artifacts, Hashing(dimensions=128), max_error=0.3)

    def classifier(self):
        return TrainedClassifier(self.artifacts, artifact="intents", encoder=Hashing(dimensions=128))


def test_it_finds_the_labels_it_was_trained_on(artifacts):
    publish(artifacts, Hashing())
    classifier = TrainedClassifier(artifacts, artifact="intents", encoder=Hashing())
    assert [p.label for p in classifier.predict_many(["lost card", "top up please", "什么时候退款"])] == [
        "lost_card",
        "top_up",
        "退款",
    ]
    assert classifier.version == "0001"


def test_building_it_opens_nothing(artifacts):
    classifier = TrainedClassifier(artifacts, artifact="not-trained-yet", encoder=Hashing())
    with pytest.raises(UnknownName, match="No artifact named 'not-trained-yet'"):
        classifier.predict_many(["x"])


def test_another_encoder_is_refused_before_it_encodes(artifacts):
    publish(artifacts, Hashing(dimensions=128))
    other = Spy(dimensions=64)
    classifier = TrainedClassifier(artifacts, artifact="intents", encoder=other)
    with pytest.raises(FingerprintError) as caught:
        classifier.predict_many(["x"])
    assert Hashing(dimensions=128).fingerprint in str(caught.value)
    assert other.fingerprint in str(caught.value)
    assert str(caught.value).endswith("or: mercat train intents")
    assert other.roles == []


def test_without_any_encoder_it_says_which_key_is_missing(artifacts):
    publish(artifacts, Hashing())
    with pytest.raises(ConfigError, match=r'encoder = "default" in \[classifiers.intents\]'):
        TrainedClassifier(artifacts, artifact="intents").scores(["x"])


@pytest.mark.parametrize(("details", "role"), [({}, "document"), ({"role": "query"}, "query")])
def test_texts_are_encoded_in_the_role_of_the_training_rows(artifacts, details, role):
    publish(artifacts, Hashing(dimensions=128), **details)
    spy = Spy()
    TrainedClassifier(artifacts, artifact="intents", encoder=spy).predict_many(["x"])
    assert spy.roles == [role]


def test_an_own_body_is_used_instead_of_the_shared_one(artifacts, monkeypatch):
    own, folders = Spy(dimensions=32), []

    class Transformer:
        @classmethod
        def from_folder(cls, folder, **settings):
            folders.append(folder)
            return own

    monkeypatch.setattr("mercat.encoders.transformer.Transformer", Transformer)
    head = LinearHead.fit(own.encode(TEXTS), LABELS, fingerprint=own.fingerprint)
    with artifacts.create("intents", kind="classifier", recipe="full") as writer:
        for name in ("head", "encoder"):
            (writer.folder / name).mkdir()
        head.save(writer.folder / "head")
        (writer.folder / "encoder" / "config.json").write_text("{}")
    shared = Spy(dimensions=128)
    classifier = TrainedClassifier(artifacts, artifact="intents", encoder=shared)
    assert classifier.predict_many(["top up"])[0].label == "top_up"
    assert shared.roles == []
    assert [folder.parent.name for folder in folders] == ["0001"]


def test_the_configured_threshold_replaces_the_trained_one(artifacts):
    publish(artifacts, Hashing(), max_error=0.5)
    shy = TrainedClassifier(artifacts, artifact="intents", encoder=Hashing(), threshold=1.0)
    bold = TrainedClassifier(artifacts, artifact="intents", encoder=Hashing(), threshold=0.0)
    assert shy.predict_many(["lost card"])[0].abstained
    assert not bold.predict_many(["lost card"])[0].abstained
    with pytest.raises(ConfigError, match=r"threshold 1.5"):
        TrainedClassifier(artifacts, artifact="intents", threshold=1.5)


def test_reload_takes_over_the_current_version_and_rollback(artifacts):
    publish(artifacts, Hashing())
    classifier = TrainedClassifier(artifacts, artifact="intents", encoder=Hashing())
    assert classifier.reload()
    assert not classifier.reload()
    publish(artifacts, Hashing(), labels=[f"new-{label}" for label in LABELS])
    assert classifier.predict_many(["lost card"])[0].label == "lost_card"
    assert classifier.reload()
    assert classifier.version == "0002"
    assert classifier.predict_many(["lost card"])[0].label == "new-lost_card"
    artifacts.rollback("intents")
    assert classifier.reload()
    assert classifier.predict_many(["lost card"])[0].label == "lost_card"


def test_a_broken_new_version_leaves_the_old_one_answering(artifacts):
    publish(artifacts, Hashing())
    classifier = TrainedClassifier(artifacts, artifact="intents", encoder=Hashing())
    classifier.warm_up()
    publish(artifacts, Hashing())
    (artifacts.root / "intents" / "0002" / "head" / "head.json").write_text("{}")
    with pytest.raises(ArtifactError, match="contents have changed"):
        classifier.reload()
    assert classifier.version == "0001"
    assert classifier.predict_many(["lost card"])[0].label == "lost_card"


def test_many_threads_open_it_once_and_never_mix_two_versions(artifacts, monkeypatch):
    publish(artifacts, Hashing())
    opened, real = [], Artifacts.open

    def counted(self, name, version=None):
        opened.append(name)
        return real(self, name, version)

    monkeypatch.setattr(Artifacts, "open", counted)
    classifier = TrainedClassifier(artifacts, artifact="intents", encoder=Hashing())
    barrier, found, errors = threading.Barrier(8), [], []

    def ask() -> None:
        try:
            barrier.wait()
            for _ in range(30):
                found.append(tuple(sorted(classifier.predict_many(["lost card"])[0].labels)))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert opened == ["intents"]
    monkeypatch.undo()

    new = [f"new-{label}" for label in LABELS]
    barrier = threading.Barrier(9)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    publish(artifacts, Hashing(), labels=new)
    barrier.wait()
    classifier.reload()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(found) <= {tuple(sorted(set(LABELS))), tuple(sorted(set(new)))}


def test_warm_up_loads_the_body(artifacts):
    publish(artifacts, Hashing(dimensions=128))
    spy = Spy()
    TrainedClassifier(artifacts, artifact="intents", encoder=spy).warm_up()
    assert spy.warmed == 1
    assert np.all(np.array(spy.roles) == "document")
