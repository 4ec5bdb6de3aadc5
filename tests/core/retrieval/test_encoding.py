"""Indexes that workers build in parts: the rows and the answers of one that is built here."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mercat
from mercat.encoders.hashing import Hashing
from mercat.encoders.spread import Spread
from mercat.errors import WorkerLost
from mercat.retrieval.dense import Dense
from mercat.retrieval.encoding import rows_at_once
from mercat.store import Store
from mercat.values import Document

pytest.importorskip("faiss", reason="faiss-cpu is not installed")

from mercat.indexes.faiss import Faiss

WORDS = ["cloud", "rain", "sea", "wind", "sand", "snow", "leaf", "root", "bark", "wave", "moon", "star"]
SECTIONS = """
[encoders.one]
use = "hashing"
dimensions = 64

[encoders.default]
use = "spread"
encoder = "one"
workers = 2
on = "{on}"
shard_rows = {shard_rows}
at_least = 100

[indexes.help]
use = "faiss"
kind = "{kind}"
device = "cpu"
tail_rows = 64

[retrievers.help]
use = "dense"
encoder = "default"
index = "help"
collection = "help"
"""


def texts(count: int) -> list[Document]:
    """Texts that differ, one without anything to encode."""
    draw = np.random.default_rng(5)
    said = (" ".join([f"text {number}", *draw.choice(WORDS, 6)]) for number in range(count))
    return [Document(f"d{number}", "" if number == 7 else text) for number, text in enumerate(said)]


class Built:
    """An index built by a configuration: its rows by id, and what searches find."""

    def __init__(self, folder: Path, *, on: str, shard_rows: int, kind: str, rows: int = 2000, anew: bool = False):
        folder.mkdir(exist_ok=True)
        (folder / "mercat.toml").write_text(SECTIONS.format(on=on, shard_rows=shard_rows, kind=kind))
        with mercat.open(folder / "mercat.toml") as app:
            documents = texts(rows)
            app.store.upsert(documents, collection="help")
            retriever = app.get("retrievers", "help")
            self.done = retriever.rebuild() if anew else retriever.refresh()
        with mercat.open(folder / "mercat.toml") as app:  # what was saved
            retriever = app.get("retrievers", "help")
            index = retriever.index
            self.rows = {key: row.tolist() for ids, rows in index.export() for key, row in zip(ids, rows, strict=True)}
            self.segments = [(view.live, view.segment.kind) for view in index.snapshot.views]
            asked = [document.text for document in documents[100:200]]
            self.found = [[(hit.id, hit.score) for hit in hits] for hits in retriever.search_many(asked, k=5)]
        self.left = [path.name for path in (folder / "mercat-workspace" / "indexes" / "help").glob(".shards-*")]


def here(folder: Path, **options) -> Built:
    return Built(folder, on="processes", shard_rows=0, **options)


def test_shards_hold_the_rows_and_give_the_answers_of_an_index_built_here(tmp_path: Path) -> None:
    alone, shards = (
        here(tmp_path / "a", kind="flat"),
        Built(tmp_path / "b", on="processes", shard_rows=500, kind="flat"),
    )
    assert (shards.done.upserted, shards.done.deleted) == (alone.done.upserted, alone.done.deleted) == (1999, 0)
    assert shards.rows == alone.rows
    assert [[key for key, _ in hits] for hits in shards.found] == [[key for key, _ in hits] for hits in alone.found]
    assert np.allclose([[s for _, s in hits] for hits in shards.found], [[s for _, s in hits] for hits in alone.found])
    assert shards.left == []


def test_each_worker_builds_the_structure_of_its_shard(tmp_path: Path) -> None:
    built = Built(tmp_path / "b", on="processes", shard_rows=1000, kind="IVF", anew=True)
    assert built.segments == [(999, "IVF64,Flat"), (1000, "IVF64,Flat")]
    assert len(built.rows) == 1999
    exact = here(tmp_path / "a", kind="flat").found
    same = [len({key for key, _ in one} & {key for key, _ in two}) for one, two in zip(built.found, exact, strict=True)]
    assert np.mean(same) >= 4.8


MORTAL = """
import os
import signal

from mercat.encoders.hashing import Hashing


class Mortal(Hashing):
    def __init__(self, mark):
        super().__init__(dimensions=64)
        self.mark = mark

    def encode(self, texts, *, role="document"):
        if any(text.startswith("text 1500 ") for text in texts) and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts, role=role)
"""


@pytest.fixture
def mortal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An encoder that kills its process at one text, the first time; of a module that other processes can import."""
    (tmp_path / "mortal_encoder.py").write_text(MORTAL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mortal_encoder", raising=False)
    return import_module("mortal_encoder").Mortal(tmp_path / "mark")


def followed(folder: Path, encoder, **options) -> tuple[Dense, Store]:
    store = Store.open(f"sqlite:///{folder}/mercat.db")
    index = Faiss(folder, "help", device="cpu", tail_rows=64, **options)
    return Dense(encoder, index, store, collection="help"), store


def test_a_killed_process_is_said_and_what_was_saved_before_stays(tmp_path: Path, mortal: Any) -> None:
    """Rows are read 1,000 at a time; the first of them are not encoded again by the next build."""
    retriever, store = followed(tmp_path, Spread(mortal, shard_rows=400), kind="flat")
    retriever._answering.now().follower._save_every = 1
    with store:
        store.upsert(texts(2000), collection="help")
        with pytest.raises(WorkerLost):
            retriever.refresh()
        assert len(Faiss(tmp_path, "help").open(64, mortal.fingerprint)) == 999
        again, _ = followed(tmp_path, Spread(mortal, shard_rows=400), kind="flat")
        assert again.refresh().upserted == 1000
        assert len(Faiss(tmp_path, "help").open(64, mortal.fingerprint)) == 1999
        assert list((tmp_path / "indexes" / "help").glob(".shards-*")) == []


def test_rows_that_change_later_are_those_of_the_last_change(tmp_path: Path) -> None:
    retriever, store = followed(tmp_path, Spread(Hashing(dimensions=64), shard_rows=400), kind="IVF")
    with store:
        store.upsert(texts(1000), collection="help")
        retriever.refresh()
        store.upsert([Document(f"d{number}", f"other words {number}") for number in range(500)], collection="help")
        with store.transaction() as tx:
            tx.delete("documents", ["d600"], collection="help")
        done = retriever.refresh()
        assert (done.upserted, done.deleted) == (500, 1)
        assert retriever.search("other words 33", k=1)[0].id == "d33"
        saved = Faiss(tmp_path, "help").open(64, Hashing(dimensions=64).fingerprint)
        assert len(saved) == 999


def test_so_many_rows_are_read_as_make_a_shard_for_each_worker() -> None:
    assert rows_at_once(Hashing(), 1000) == 1000
    assert rows_at_once(Spread(Hashing()), 1000) == 50_000
    assert rows_at_once(Spread(Hashing(), workers=3, shard_rows=700), 1000) == 2100


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_worker_of_ray_loses_no_shard(tmp_path: Path, mortal: Any) -> None:
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    try:
        shards = Built(tmp_path / "b", on="ray", shard_rows=1000, kind="flat")
        alone = here(tmp_path / "a", kind="flat")
        assert shards.rows == alone.rows
        assert [[key for key, _ in hits] for hits in shards.found] == [[key for key, _ in hits] for hits in alone.found]

        sys.modules["ray"].cloudpickle.register_pickle_by_value(sys.modules["mortal_encoder"])
        (tmp_path / "c").mkdir()
        retriever, store = followed(tmp_path / "c", Spread(mortal, on="ray", shard_rows=1000), kind="flat")
        with store:
            store.upsert(texts(2000), collection="help")
            assert retriever.refresh().upserted == 1999
        assert (tmp_path / "mark").exists()
        index = Faiss(tmp_path / "c", "help").open(64, Hashing(dimensions=64).fingerprint)
        rows = {key: row.tolist() for ids, rows in index.export() for key, row in zip(ids, rows, strict=True)}
        assert rows == alone.rows
    finally:
        sys.modules["ray"].shutdown()
