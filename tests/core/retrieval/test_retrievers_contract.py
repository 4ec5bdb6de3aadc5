"""Every retriever keeps the contract."""

from mercat.encoders.hashing import Hashing
from mercat.indexes.auto import Auto
from mercat.indexes.exact import Exact
from mercat.retrieval.base import Retriever
from mercat.retrieval.dense import Dense
from mercat.retrieval.hybrid import Hybrid
from mercat.retrieval.lexical import Bm25
from mercat.testing.retrieval import RetrieverContract


class TestDenseOnExact(RetrieverContract):
    def make(self, store, folder, *, ticks):
        return Dense(Hashing(), Exact(folder, "help"), store, collection="help", ticks=ticks)


class TestDenseOnAuto(RetrieverContract):
    def make(self, store, folder, *, ticks):
        return Dense(Hashing(), Auto(folder, "help", device="cpu"), store, collection="help", ticks=ticks)


class TestBm25(RetrieverContract):
    def make(self, store, folder, *, ticks):
        return Bm25(store, collection="help", workspace_folder=folder, section_name="help", ticks=ticks)


class TestBm25InMemory(RetrieverContract):
    def make(self, store, folder, *, ticks):
        return Bm25(store, collection="help", ticks=ticks)


class TestHybrid(RetrieverContract):
    def make(self, store, folder, *, ticks):
        index = Exact(folder, "help")
        retriever = Hybrid(
            Hashing(), index, store, collection="help", workspace_folder=folder, section_name="help", ticks=ticks
        )
        assert isinstance(retriever, Retriever)
        return retriever
