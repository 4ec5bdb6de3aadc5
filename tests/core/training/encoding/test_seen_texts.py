"""What an encoder has learned from is no test of it, whatever the shares are when it is evaluated."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import load_arrays
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import DataError
from mercat.testing.training import topic_examples, train_in
from mercat.training.data import content_hashes, row_hashes
from mercat.training.encoding.denoising import Denoising
from mercat.training.encoding.distill_static import DistillStatic
from mercat.training.encoding.mlm import Mlm
from mercat.training.encoding.texts import read_texts, unseen_texts
from mercat.training.train import evaluate
from mercat.values import Document

QUICK = {"collection": "letters", "epochs": 1, "batch_size": 16}


def recipes(bert):
    body = Transformer(str(bert))
    return {
        "mlm": lambda **more: Mlm(body, **QUICK, **more),
        "denoising": lambda **more: Denoising(body, **QUICK, **more),
        "distill-static": lambda **more: DistillStatic(
            Hashing(dimensions=32), collection="letters", dimensions=8, **more
        ),
    }


@pytest.mark.parametrize("name", ["mlm", "denoising", "distill-static"])
def test_another_test_share_asks_nothing_that_was_learned(name, store, tmp_path, tiny_bert):
    store.upsert([Document(row.id, row.text) for row in topic_examples(200)], collection="letters")
    recipe = recipes(tiny_bert)[name]
    artifact = train_in(tmp_path, recipe(), store=store)
    options = {"artifact": artifact, "store": store, "scratch_root": tmp_path / "scratch"}
    same, wider = (evaluate(recipe(**more), **options) for more in ({}, {"test_share": 0.4}))
    assert same.counts["left_out_as_seen"] == 0
    assert wider.counts["left_out_as_seen"] > 30
    assert wider.counts["test"] <= 0.4 * 200 - wider.counts["left_out_as_seen"] + 10
    assert any("were left out because training had seen them" in note for note in wider.notes)
    parts = read_texts(store, "letters", asked="This test", validation_share=0.1, test_share=0.4)
    tested = unseen_texts(parts, artifact.folder).rows
    saved = load_arrays(artifact.folder / "rows.safetensors")
    assert len(tested) + wider.counts["left_out_as_seen"] == len(parts.test)
    assert not np.isin(row_hashes(tested), np.concatenate([saved["train"], saved["validation"]])).any()


def test_a_learned_text_under_another_id_is_seen_and_an_old_artifact_says_that_it_cannot_tell(store, tmp_path):
    rows = [Document(row.id, row.text) for row in topic_examples(200)]
    store.upsert(rows, collection="letters")
    recipe = DistillStatic(Hashing(dimensions=32), collection="letters", dimensions=8)
    artifact = train_in(tmp_path, recipe, store=store)
    parts = read_texts(store, "letters", asked="This test", validation_share=0.1, test_share=0.1)
    copies = [Document(f"copy-{row.id}", row.text) for row in rows]
    store.upsert(copies, collection="copies")
    again = read_texts(store, "copies", asked="This test", validation_share=0.1, test_share=0.4)
    learned = set(content_hashes([*parts.train, *parts.validation]).tolist())
    found = unseen_texts(again, artifact.folder)
    assert not learned.intersection(content_hashes(found.rows).tolist())
    assert found.counts["left_out_as_seen"] > 30
    with pytest.raises(DataError, match="none of them unseen"):
        unseen_texts(type(parts)(test=parts.train), artifact.folder)
    (artifact.folder / "rows.safetensors").unlink()
    old = unseen_texts(again, artifact.folder)
    assert len(old.rows) == len(again.test)
    assert "may be among the test texts" in old.notes[0]
