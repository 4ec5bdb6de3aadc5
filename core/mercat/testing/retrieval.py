"""The contract of a retriever: inherit `RetrieverContract`, say how one is made, and the tests come along."""

from __future__ import annotations

import shutil
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mercat.errors import DataError
from mercat.retrieval.base import Retriever
from mercat.store import Store
from mercat.testing.contract import Contract
from mercat.values import Document

Ticks = Callable[[], float]

ARTICLES = (
    Document("card", "How to order a new bank card when yours was lost", title="Lost card", locale="en"),
    Document("pin", "Change the secret number of your card at any machine", title="New PIN", locale="en"),
    Document("transfer", "A transfer to another country takes three days", title="Transfers abroad", locale="en"),
    Document("rates", "Today's rates for dollars and euros", title="Exchange rates", locale="en"),
    Document("挂失", "银行卡丢失后如何挂失并补办新卡", title="银行卡挂失", locale="zh"),
    Document("汇率", "今天美元和欧元的兑换汇率是多少", title="汇率查询", locale="zh"),
)


def _with_topic(article: Document) -> Document:
    return replace(article, metadata={"topic": "money" if article.id in ("汇率", "rates", "transfer") else "cards"})


class Clock:
    """A clock for tests: it stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class RetrieverContract(Contract):
    """What every retriever must do. It searches title and text of the documents in the collection "help"."""

    @abstractmethod
    def make(self, store: Store, folder: Path, *, ticks: Ticks) -> Retriever:
        """Return a retriever whose derived files are under `folder`, made anew at each call as a start would."""

    @pytest.fixture
    def articles(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of a store with the articles, made once in a test run; the tests take copies."""
        folder = tmp_path_factory.getbasetemp() / "articles-of-the-retriever-contract"
        if not folder.exists():
            folder.mkdir()
            with Store.open(f"sqlite:///{folder}/mercat.db") as store:
                store.upsert([_with_topic(article) for article in ARTICLES], collection="help")
        return folder

    @pytest.fixture
    def store(self, articles: Path, tmp_path: Path) -> Iterator[Store]:
        shutil.copytree(articles, tmp_path / "store")
        with Store.open(f"sqlite:///{tmp_path}/store/mercat.db") as store:
            yield store

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def retriever(self, store: Store, tmp_path: Path, clock: Clock) -> Retriever:
        made = self.make(store, tmp_path / "workspace", ticks=clock)
        made.refresh()
        return made

    @pytest.mark.parametrize(
        ("question", "first"),
        [("I lost my bank card", "card"), ("transfer to another country", "transfer"), ("银行卡丢失怎么挂失", "挂失")],
    )
    def test_finds_the_row_that_answers(self, retriever: Retriever, question: str, first: str) -> None:
        hits = retriever.search(question, k=3)
        assert hits[0].id == first
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def test_a_hit_is_the_row_of_the_store(self, retriever: Retriever) -> None:
        hit = retriever.search("I lost my bank card", k=1)[0]
        assert (hit.title, hit.metadata) == ("Lost card", {"topic": "cards"})
        assert hit.text.startswith("How to order")

    def test_many_is_each_one(self, retriever: Retriever) -> None:
        questions = ["lost card", "", "汇率", "   "]
        many = retriever.search_many(questions, k=2)
        assert [[hit.id for hit in hits] for hits in many] == [
            [hit.id for hit in retriever.search(question, k=2)] for question in questions
        ]
        assert (many[1], many[3]) == ([], [])
        assert retriever.search_many([]) == []

    def test_k_bounds_the_hits(self, retriever: Retriever) -> None:
        assert len(retriever.search("card number", k=1)) == 1
        assert len(retriever.search("card number", k=100)) <= len(ARTICLES)
        with pytest.raises(DataError, match="k is 0"):
            retriever.search("card", k=0)

    def test_filters_by_field_and_metadata(self, retriever: Retriever) -> None:
        found = {hit.id for hit in retriever.search("card 银行卡 rates 汇率", filters={"topic": "money"})}
        assert found
        assert found <= {"rates", "transfer", "汇率"}
        both = retriever.search("rates 汇率", filters={"topic": ["money", "other"], "locale": "zh"})
        assert [hit.id for hit in both] == ["汇率"]
        assert retriever.search("card", filters={"topic": "nothing"}) == []
        assert retriever.search("card", filters={"no such column": 1}) == []

    def test_a_second_refresh_has_nothing_to_do(self, retriever: Retriever, store: Store) -> None:
        done = retriever.refresh()
        assert (done.upserted, done.deleted, done.sequence) == (0, 0, store.last_sequence("documents", "help"))

    def test_refresh_takes_in_what_changed_only(self, retriever: Retriever, store: Store) -> None:
        store.upsert(
            [Document("pin", "Nothing of interest", title="Gone"), Document("fox", "quick brown fox jumping")],
            collection="help",
        )
        with store.transaction() as tx:
            tx.delete("documents", ["rates"], collection="help")
        seen: list[tuple[int, int]] = []
        done = retriever.refresh(progress=lambda at, of: seen.append((at, of)))
        assert (done.upserted, done.deleted) == (2, 1)
        assert seen[-1][0] == 2
        assert retriever.search("brown fox jumping", k=1)[0].id == "fox"
        assert "rates" not in {hit.id for hit in retriever.search("rates for dollars and euros")}

    def test_other_collections_are_not_searched(self, retriever: Retriever, store: Store) -> None:
        store.upsert([Document("x", "I lost my bank card in the zoo")], collection="news")
        retriever.refresh()
        assert "x" not in {hit.id for hit in retriever.search("I lost my bank card in the zoo")}

    def test_a_change_is_seen_without_a_refresh(self, retriever: Retriever, store: Store, clock: Clock) -> None:
        retriever.search("anything")
        store.upsert([Document("fox", "quick brown fox jumping")], collection="help")
        assert "fox" not in {hit.id for hit in retriever.search("brown fox jumping")}
        clock.now += 1.1
        assert retriever.search("brown fox jumping", k=1)[0].id == "fox"
        with store.transaction() as tx:
            tx.delete("documents", ["fox"], collection="help")
        assert "fox" not in {hit.id for hit in retriever.search("brown fox jumping")}, "a deleted row came back"

    def test_a_row_that_left_the_filter_is_no_hit_any_more(self, retriever: Retriever, store: Store) -> None:
        assert retriever.search("lost card", filters={"topic": "cards"})[0].id == "card"
        card = ARTICLES[0]
        store.upsert([Document("card", card.text, card.title, metadata={"topic": "secret"})], collection="help")
        assert "card" not in {hit.id for hit in retriever.search("lost card", filters={"topic": "cards"})}

    def test_what_was_refreshed_is_there_after_a_start(
        self, retriever: Retriever, store: Store, tmp_path: Path, clock: Clock
    ) -> None:
        again = self.make(store, tmp_path / "workspace", ticks=clock)
        assert again.search("I lost my bank card", k=1)[0].id == "card"
        assert again.refresh().upserted in (0, len(ARTICLES))  # the latter: kept in memory only

    def test_rebuild_takes_in_everything_again(self, retriever: Retriever) -> None:
        before = retriever.search("I lost my bank card")
        done = retriever.rebuild()
        assert done.upserted == len(ARTICLES)
        assert [hit.id for hit in retriever.search("I lost my bank card")] == [hit.id for hit in before]

    def test_an_empty_collection_has_no_hits(self, tmp_path: Path, clock: Clock) -> None:
        with Store.open(f"sqlite:///{tmp_path}/empty.db") as store:
            retriever = self.make(store, tmp_path / "other", ticks=clock)
            assert retriever.search("card") == []
            assert (retriever.refresh().upserted, retriever.search("card")) == (0, [])

    def test_searches_go_on_while_it_refreshes(self, retriever: Retriever, store: Store, clock: Clock) -> None:
        problems: list[str] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                clock.now += 2  # look at the store each time
                try:
                    hits = retriever.search("I lost my bank card", k=1)
                except Exception as error:
                    problems.append(repr(error))
                    return
                if [hit.id for hit in hits] != ["card"]:
                    problems.append(f"{hits}")

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for step in range(5):
            store.upsert([Document(f"n{n}", f"note {step} about {n} clouds") for n in range(5)], collection="help")
            retriever.rebuild() if step == 2 else retriever.refresh()
        done.set()
        for reader in readers:
            reader.join()
        assert not problems
        assert retriever.search("note 4 about 3 clouds", k=5)[0].id.startswith("n")
