"""The keywords of a collection's rows, following the store."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from mercat.indexes import storage
from mercat.indexes.base import IndexInfo
from mercat.retrieval.bm25 import Tokens, Weighed
from mercat.retrieval.rows import Ranked, Rows
from mercat.store import Change
from mercat.text import keywords, segmenter

_BACKEND = "bm25"


class KeywordTable:
    """Tokens per row. Searches see the state of the last `finish`.

    With a `folder` the tokens are saved there, so that a start does not cut every text again. `stems` and `stopwords`:
    see `keywords`.
    """

    def __init__(
        self,
        rows: Rows,
        folder: Path | None,
        *,
        k1: float,
        b: float,
        stems: bool = False,
        stopwords: bool = True,
        fresh: bool = False,
    ) -> None:
        self.sequence = 0
        self._rows, self._folder = rows, folder
        self._words = partial(keywords, stems=stems, stopwords=stopwords)
        cut = (segmenter(), *(["stems"] if stems else []), *(["no stopwords"] if not stopwords else []))
        self._cut = f"keywords/{'+'.join(cut)}"  # texts and questions must be cut the same way
        self._tokens: dict[str, Tokens] = {}
        self._number: dict[str, int] = {}  # of each token
        if folder is not None and not fresh:
            self._load(folder)
        self._seen = Weighed(k1=k1, b=b).changed(self._tokens, (), among=self._tokens)
        self._changed: set[str] = set()  # and not seen by searches yet

    def search(self, text: str, k: int, *, allowed: Collection[str] | None) -> Ranked:
        """Return the best `k` rows that share a keyword with the text."""
        query = [self._number.get(token, -1) for token in self._words(text)]  # -1 is in no text
        return self._seen.best(query, k, allowed=allowed)

    def take_in(self, changes: Sequence[Change]) -> tuple[int, int]:
        """Cut the texts that changed; see `Derived.take_in`."""
        put_in = taken_out = 0
        for change in changes:
            tokens = self._words(self._rows.text(change.row)) if change.row is not None else []
            if tokens:
                self._tokens[change.id] = self._numbered(tokens)
                put_in += 1
            else:
                taken_out += self._tokens.pop(change.id, None) is not None
            self._changed.add(change.id)
        self.sequence = changes[-1].sequence
        return put_in, taken_out

    def finish(self) -> None:
        """Show what was taken in; the rarity of its words and the mean length follow in all texts."""
        there = {key: self._tokens[key] for key in self._changed if key in self._tokens}
        self._seen = self._seen.changed(there, self._changed - there.keys(), among=self._tokens)
        self._changed = set()

    def save(self) -> None:
        """Write the tokens, if there is a folder."""
        if self._folder is None:
            return
        flat = np.concatenate([np.empty(0, dtype=np.int32), *self._tokens.values()]).astype(np.int32)
        ends = np.cumsum([len(tokens) for tokens in self._tokens.values()], dtype=np.int64)
        files: dict[str, storage.Writer] = {
            "tokens.npy": lambda path: np.save(path, flat),
            "ends.npy": lambda path: np.save(path, ends),
            "ids.json": lambda path: _write_json(path, self._tokens),
            "vocabulary.json": lambda path: _write_json(path, self._number),
        }
        storage.write(self._folder, self._manifest(), files)

    def saved_sequence(self) -> int | None:
        """Return the sequence of what is on the disk; without a folder there is nothing to save."""
        if self._folder is None:
            return self.sequence
        found = storage.read_manifest(self._folder)
        ours = found and (found.fingerprint, found.contents) == (self._cut, self._rows.contents)
        return found.sequence if found and ours else None

    def outdated(self) -> bool:
        """Say whether another process has saved a newer state."""
        return (self.saved_sequence() or 0) > self.sequence

    def settle(self) -> None:
        """Nothing to do: nothing goes on in the background."""

    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to save; see `Derived.writing`."""
        return nullcontext() if self._folder is None else storage.writing(self._folder)

    def info(self) -> IndexInfo:
        """Say what this table is."""
        now = self._manifest()
        place = "in memory only" if self._folder is None else ""
        return IndexInfo(
            now.backend, now.kind, "cpu", now.dimensions, now.rows, now.fingerprint, now.sequence, place, now.contents
        )

    def _load(self, folder: Path) -> None:
        """Take over what is saved; what was cut another way, or from other columns, is left and made anew."""
        with storage.opened(folder) as stored:
            if stored is None:
                return
            if (stored.manifest.fingerprint, stored.manifest.contents) != (self._cut, self._rows.contents):
                return
            flat, ends = np.load(stored.folder / "tokens.npy"), np.load(stored.folder / "ends.npy")
            ids = json.loads((stored.folder / "ids.json").read_text(encoding="utf-8"))
            words = json.loads((stored.folder / "vocabulary.json").read_text(encoding="utf-8"))
        self._tokens = dict(zip(ids, np.split(flat, ends[:-1]) if ids else [], strict=True))
        self._number = {word: number for number, word in enumerate(words)}
        self.sequence = stored.manifest.sequence

    def _manifest(self) -> storage.Manifest:
        return storage.Manifest(
            _BACKEND, "lucene", len(self._number), len(self._tokens), self._cut, self.sequence, self._rows.contents
        )

    def _numbered(self, tokens: Iterable[str]) -> Tokens:
        number = self._number
        return np.array([number.setdefault(token, len(number)) for token in tokens], dtype=np.int32)


def _write_json(path: Path, texts: Iterable[str]) -> None:
    path.write_text(json.dumps(list(texts), ensure_ascii=False), encoding="utf-8")
