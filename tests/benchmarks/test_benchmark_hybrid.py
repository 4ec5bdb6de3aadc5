"""The benchmark of hybrid search: who is asked what, on tiny sets that need no model."""

from __future__ import annotations

import csv
import gzip
import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mercat.encoders.hashing import Hashing

ROOT = Path(__file__).parents[2]
PARTS = {"scifact": ("train", "test"), "cmrc2018-retrieval": ("trial", "dev"), "stackfaq": ("",)}


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def hybrid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    found = importlib.import_module("benchmarks.hybrid")
    monkeypatch.setattr(found, "encoder_of", lambda context, name: Hashing(dimensions=64))
    draw = np.random.default_rng(0)
    words = [f"{a}{b}" for a in ("ba", "ke", "lo", "mi") for b in ("dor", "fin", "gal", "hem", "sut")]
    for name, parts in PARTS.items():
        texts = [" ".join(draw.choice(words, size=8)) for _ in range(40)]
        rows = [
            {"doc_id": f"d{n}", "title": f"title{n}", "text": text, "thread_id": f"{n // 2:02d}"}
            for n, text in enumerate(texts)
        ]
        queries = [
            {
                "query_id": f"q{n}",
                "text": " ".join(text.split()[:3]),
                "split": parts[n % len(parts)],
                "thread_id": f"{n // 2:02d}",
            }
            for n, text in enumerate(texts)
        ]
        write(tmp_path / name / "corpus.csv.gz", rows)
        write(tmp_path / name / "queries.csv.gz", queries)
        write(
            tmp_path / name / "qrels.csv.gz",
            [{"query_id": f"q{n}", "doc_id": f"d{n}", "relevance": "1"} for n in range(40)],
        )
    return found


def test_each_way_is_measured_on_what_it_has_not_seen(
    hybrid: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = importlib.import_module("benchmarks.frame")
    fitted: list[set[str]] = []
    learned = hybrid._learned

    def watched(fit: Sequence[Any], test: Sequence[Any]) -> Any:
        fitted.append({key for one in fit for key in one.right})
        assert fitted[-1].isdisjoint(key for one in test for key in one.right)
        return learned(fit, test)

    monkeypatch.setattr(hybrid, "_learned", watched)
    context = frame.Context("hybrid", data=tmp_path, rows=tmp_path / "rows")
    hybrid.run(context)
    found = context.results
    for name, count in (("scifact", 20), ("cmrc2018", 20), ("stackfaq", 40)):
        for way in ("", ".rrf", ".dense", ".bm25"):
            assert found[f"{name}{way}.ndcg10"]["n"] == count
            assert 0.2 < found[f"{name}{way}.ndcg10"]["value"] <= 1
    assert found["stackfaq.plain.ndcg10"]["n"] == 20, "every second thread chose the plain weights"
    assert len(fitted) == 2 + hybrid.FOLDS
    difference = found["cmrc2018.ndcg10"]["value"] - found["cmrc2018.bm25.ndcg10"]["value"]
    assert found["cmrc2018.ndcg10_minus_bm25"]["value"] == pytest.approx(difference)
    best = max(found[f"stackfaq.{leg}.ndcg10"]["value"] for leg in ("dense", "bm25"))
    expected = found["stackfaq.ndcg10"]["value"] - best
    assert found["stackfaq.ndcg10_minus_best_leg"]["value"] == pytest.approx(expected)
