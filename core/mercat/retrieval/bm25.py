"""BM25 over token numbers, in segments: a change costs what changed, not what is there.

Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", with the rarity of Lucene, which
is never below 0. A segment lists for each word the texts that have it and how often, and never how much that is worth:
rarity and mean length belong to the whole collection, and a search works the weights out from what is there at that
moment. Small segments are merged into larger ones (O'Neil et al. 1996, "The log-structured merge-tree").
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
Scores = NDArray[np.float32]
_GROWTH = 4  # a segment is merged into the one before it unless that is this many times as large


@dataclass(frozen=True, slots=True)
class Segment:
    """Texts in the order of their words; immutable."""

    ids: Sequence[str]
    row_of: Mapping[str, int]
    lengths: NDArray[np.int32]  # tokens of each text
    words: NDArray[np.int32]  # those that occur, ascending
    starts: NDArray[np.int64]  # where the rows of each word start, and where those of the last one end
    rows: NDArray[np.int32]
    counts: NDArray[np.float32]  # how often the word stands in the text
    alive: NDArray[np.bool_]
    living: int
    tokens: int  # of the texts that are alive

    @classmethod
    def of(cls, texts: Mapping[str, Tokens]) -> Segment:
        """Return the segment of these texts. Costs about 0.2 s per million tokens."""
        ids = list(texts)
        lengths = np.array([len(text) for text in texts.values()], dtype=np.int32)
        flat = np.concatenate([np.empty(0, dtype=np.int32), *texts.values()])
        place = flat.astype(np.int64) * max(len(ids), 1) + np.repeat(np.arange(len(ids)), lengths)
        place, counts = np.unique(place, return_counts=True)
        of_word, rows = np.divmod(place, max(len(ids), 1))
        words, starts = np.unique(of_word, return_index=True)
        return cls(
            ids,
            {key: row for row, key in enumerate(ids)},
            lengths,
            words.astype(np.int32),
            np.append(starts, len(of_word)),
            rows.astype(np.int32),
            counts.astype(np.float32),
            np.ones(len(ids), dtype=np.bool_),
            len(ids),
            len(flat),
        )

    def without(self, keys: Collection[str]) -> Segment:
        """Return the segment without some texts."""
        gone = [row for key in keys if (row := self.row_of.get(key)) is not None and self.alive[row]]
        if not gone:
            return self
        alive = self.alive.copy()
        alive[gone] = False
        left = self.tokens - int(self.lengths[gone].sum())
        return replace(self, alive=alive, living=self.living - len(gone), tokens=left)

    def living_ids(self) -> Iterable[str]:
        """Yield the ids of the texts that are alive."""
        return (self.ids[row] for row in np.flatnonzero(self.alive).tolist())

    def holding(self, word: int) -> slice:
        """Return where in `rows` and `counts` a word stands."""
        at = int(np.searchsorted(self.words, word))
        if at == len(self.words) or self.words[at] != word:
            return slice(0, 0)
        return slice(int(self.starts[at]), int(self.starts[at + 1]))

    def number_holding(self, word: slice) -> int:
        """Return how many texts that are alive have a word, by where it stands."""
        rows = self.rows[word]
        return len(rows) if self.living == len(self.ids) else int(np.count_nonzero(self.alive[rows]))


class Weighed:
    """A collection of texts given as token numbers, as it stands; immutable.

    `k1` says how fast a repeated word stops counting, `b` how much a long text is held back.
    """

    def __init__(self, segments: Sequence[Segment] = (), *, k1: float, b: float) -> None:
        self.segments, self._k1, self._b = tuple(segments), k1, b
        self.texts = sum(segment.living for segment in self.segments)
        self._firsts = [0, *accumulate(len(segment.ids) for segment in self.segments)][: len(self.segments)]
        mean = max(sum(segment.tokens for segment in self.segments) / max(self.texts, 1), 1.0)
        self._held_back = [(k1 * (1 - b) + k1 * b / mean * segment.lengths).astype(np.float32) for segment in segments]

    def changed(self, texts: Mapping[str, Tokens], gone: Collection[str], *, among: Mapping[str, Tokens]) -> Weighed:
        """Return it with some texts put in (or put in anew) and others gone; `among` are all that are then there."""
        left = [segment.without([*texts, *gone]) for segment in self.segments]
        segments = [_tidy(segment, among) for segment in left if segment.living]
        if texts:
            segments = _stacked(segments, Segment.of(texts), among)
        return Weighed(segments, k1=self._k1, b=self._b)

    def best(self, query: Iterable[int], k: int, *, allowed: Collection[str] | None = None) -> list[tuple[str, float]]:
        """Return the ids and scores of the best `k` texts that have a word of the query, equal scores by id.

        A word that comes twice counts twice. The score is BM25's over the sum of the rarities of the query's words,
        which no text can reach: in [0, 1), and of the same meaning for every query. Words in no text count below the
        line as well.
        """
        found = zip(self.segments, self._scored(query), strict=True)
        scores = [_among(segment, each, allowed) for segment, each in found]
        flat = np.concatenate(scores) if scores else np.empty(0, dtype=np.float32)
        above = np.flatnonzero(flat > 0)
        if len(above) > k:
            least = np.partition(flat[above], len(above) - k)[len(above) - k]
            above = above[flat[above] >= least]
        best = [(self._id(row), float(flat[row])) for row in above.tolist()]
        return sorted(best, key=lambda one: (-one[1], one[0]))[:k]

    def _id(self, row: int) -> str:
        """Return the id of a row of all segments, counted through."""
        at = bisect_right(self._firsts, row) - 1
        return self.segments[at].ids[row - self._firsts[at]]

    def _scored(self, query: Iterable[int]) -> list[Scores]:
        """Return the scores of the texts of each segment, shape (texts,); those that are gone have 0."""
        scored, ceiling = [np.zeros(len(segment.ids), dtype=np.float32) for segment in self.segments], 0.0
        for word in query:
            places = [segment.holding(word) for segment in self.segments]
            texts = sum(segment.number_holding(place) for segment, place in zip(self.segments, places, strict=True))
            rarity = np.float32(np.log1p((self.texts - texts + 0.5) / (texts + 0.5)))
            ceiling += float(rarity)
            for segment, held_back, scores, place in zip(self.segments, self._held_back, scored, places, strict=True):
                rows, counts = segment.rows[place], segment.counts[place]
                scores[rows] += rarity * counts / (counts + held_back[rows])
        for segment, scores in zip(self.segments, scored, strict=True):
            if segment.living < len(segment.ids):
                scores[~segment.alive] = 0.0
        return [scores / np.float32(max(ceiling, 1e-9)) for scores in scored]


def _among(segment: Segment, scores: Scores, allowed: Collection[str] | None) -> Scores:
    if allowed is None:
        return scores
    mask = np.zeros(len(scores), dtype=np.bool_)
    mask[[segment.row_of[key] for key in allowed if key in segment.row_of]] = True
    return np.where(mask, scores, np.float32(0))


def _tidy(segment: Segment, texts: Mapping[str, Tokens]) -> Segment:
    """Return the segment, made anew if most of its texts are gone."""
    if 2 * segment.living >= len(segment.ids):
        return segment
    return Segment.of({key: texts[key] for key in segment.living_ids()})


def _stacked(segments: Sequence[Segment], new: Segment, texts: Mapping[str, Tokens]) -> list[Segment]:
    """Return the segments with a new one, merged so that each is much larger than the next."""
    kept = list(segments)
    while kept and kept[-1].living < _GROWTH * new.living:
        both = [*kept.pop().living_ids(), *new.living_ids()]
        new = Segment.of({key: texts[key] for key in both})
    return [*kept, new]
