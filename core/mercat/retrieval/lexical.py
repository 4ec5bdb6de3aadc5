"""Keyword search: BM25 over the rows of a collection, English and Chinese."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mercat.indexes.base import IndexInfo
from mercat.indexes.checks import positive
from mercat.retrieval.base import Progress, Refreshed
from mercat.retrieval.following import Follower
from mercat.retrieval.keyword_table import KeywordTable
from mercat.retrieval.rows import RowKind, Rows
from mercat.store import Store
from mercat.values import Hit


class Bm25:
    """Searches one collection by keywords; `use = "bm25"` in `[retrievers.NAME]`.

    A hit's score is the share of the question's weight that its text has, in [0, 1): rare words weigh more than common
    ones, and 1 would be every word, endlessly often. `stems` takes the endings of English words off, so that
    "retrieval" meets "retrieving"; without `stopwords` the commonest words of questions and texts do not count at all.
    Chinese is cut by jieba where it is installed, otherwise into pairs of characters.

    `k1` says how fast a repeated word stops counting, `b` how much a long text is held back. Changes are seen within
    `fresh_s` seconds while there are at most `small_changes` of them, and cost what changed; more wait for `refresh`.
    Inside a workspace the table of keywords is kept in `retrievers/NAME/bm25`. May be used from many threads.
    """

    def __init__(
        self,
        store: Store,
        *,
        collection: str,
        rows: RowKind = "documents",
        text: str = "title+text",
        k1: float = 1.5,
        b: float = 0.75,
        stems: bool = True,
        stopwords: bool = True,
        fresh_s: float = 1.0,
        small_changes: int = 2000,
        workspace_folder: Path | None = None,
        section_name: str = "",
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.collection = collection
        self._rows = Rows(store, collection, rows=rows, text=text)
        folder = workspace_folder / "retrievers" / section_name / "bm25" if workspace_folder and section_name else None
        self._follower = Follower(
            self._rows,
            lambda fresh: KeywordTable(self._rows, folder, k1=k1, b=b, stems=stems, stopwords=stopwords, fresh=fresh),
            name=section_name,
            fresh_s=fresh_s,
            small_changes=small_changes,
            ticks=ticks,
        )

    def search(self, text: str, *, k: int = 10, filters: Mapping[str, Any] | None = None) -> list[Hit]:
        """Search for one text."""
        return self.search_many([text], k=k, filters=filters)[0]

    def search_many(
        self, texts: Sequence[str], *, k: int = 10, filters: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return at most `k` hits per text, best first; rows that share no keyword with the text are no hits.

        ArtifactError if there are more than `small_changes` rows that were never taken in.
        """
        table, allowed = self._follower.fresh(), self._rows.allowed(filters)
        return self._rows.hits([table.search(text, positive(k), allowed=allowed) for text in texts], filters)

    def refresh(self, *, progress: Progress | None = None) -> Refreshed:
        """Cut what changed in the store since the last time into keywords, and save."""
        return self._follower.refresh(progress)

    def rebuild(self, *, progress: Progress | None = None) -> Refreshed:
        """Cut everything anew."""
        return self._follower.rebuild(progress)

    def infos(self) -> list[IndexInfo]:
        """Say what is behind this; the dimensions are words."""
        return [self._follower.opened().info()]
