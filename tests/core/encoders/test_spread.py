"""Texts encoded by several workers: the vectors of one, in their order."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import mercat
from mercat.encoders.base import Encoder
from mercat.encoders.cache import Cached, unwrap
from mercat.encoders.hashing import Hashing
from mercat.encoders.spread import Spread, texts_at_once
from mercat.encoders.static import Static
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.testing import EncoderContract
from mercat.values import Document

TEXTS = [f"text number {number} 卡" for number in range(700)]


class TestSpreadEncoder(EncoderContract):
    def encoder(self) -> Encoder:
        return Spread(Hashing(), at_least=100)


def test_processes_give_the_vectors_of_one_in_their_order() -> None:
    encoder = Spread(Cached(Hashing(dimensions=64)), workers=2, at_least=10)
    assert np.array_equal(encoder.encode(TEXTS, role="query"), Hashing(dimensions=64).encode(TEXTS))


def test_few_texts_are_encoded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mercat.encoders.spread.map_batches", lambda *_, **__: pytest.fail("workers were started"))
    assert Spread(Hashing(), at_least=700).encode(TEXTS[:699]).shape == (699, 256)


def test_it_says_what_it_is() -> None:
    encoder = Spread(Hashing(), workers=4, on="ray", at_least=50)
    assert encoder.fingerprint == Hashing().fingerprint
    assert encoder.info().note == "from 50 texts on by 4 workers (ray)"
    assert unwrap(Cached(encoder)) is encoder.encoder


def test_a_loaded_transformer_is_sent_without_its_weights(tiny: Path) -> None:
    pytest.importorskip("torch")
    here = Transformer.from_folder(tiny, device="cpu")
    expected = here.encode(TEXTS[:40])
    found = Spread(here, workers=1, at_least=1).encode(TEXTS[:40])
    assert np.allclose(found, expected, atol=1e-5)
    assert "_loaded" not in here.__getstate__()


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"on": "moon"}, {"at_least": 0}, {"at_once": 0}])
def test_wrong_settings_are_config_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Spread(Hashing(), **wrong)


def test_an_encoder_that_cannot_be_sent_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'Static' cannot be.*use = 'transformer'"):
        Spread(Cached(Static(str(tmp_path))))


def test_it_is_handed_more_texts_at_once() -> None:
    assert texts_at_once(Cached(Hashing()), 1000) == 1000
    assert texts_at_once(Cached(Spread(Cached(Hashing()), at_once=5000)), 1000) == 5000
    assert texts_at_once(Spread(Hashing(), at_once=10), 1000) == 1000


CONFIG = """
[encoders.one]
use = "hashing"

[encoders.default]
use = "spread"
encoder = "one"
workers = 2
on = "{on}"
at_least = 100

[indexes.help]
use = "exact"

[retrievers.help]
use = "dense"
encoder = "default"
index = "help"
collection = "help"

[recipes.intents]
use = "linear"
encoder = "default"
collection = "intents"
"""


def built(folder: Path, on: str) -> list[str]:
    """Build an index and train by a configuration; return what a search finds."""
    (folder / "mercat.toml").write_text(CONFIG.format(on=on))
    with mercat.open(folder / "mercat.toml") as app:
        app.store.upsert([Document(f"d{number}", text) for number, text in enumerate(TEXTS)], collection="help")
        retriever = app.get("retrievers", "help")
        assert retriever.refresh().upserted == len(TEXTS)
        return [hit.id for hit in retriever.search(TEXTS[321], k=3)]


def test_indexes_are_built_by_the_workers_that_the_configuration_names(tmp_path: Path) -> None:
    assert built(tmp_path, "processes")[0] == "d321"


@pytest.mark.slow
def test_a_corpus_is_encoded_on_ray(tmp_path: Path) -> None:
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    try:
        assert np.array_equal(
            Spread(Hashing(), on="ray", at_least=1).encode(TEXTS, role="document"), Hashing().encode(TEXTS)
        )
        assert built(tmp_path, "ray")[0] == "d321"
    finally:
        sys.modules["ray"].shutdown()
