"""From labelled rows of the store to train, validation and test parts that share nothing."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat.errors import DataError
from mercat.store import Store
from mercat.values import Example

Split = Literal["auto", "stratified", "time"]
ROWS = "rows.safetensors"
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Parts:
    """The three parts of a collection. `labels` are those of the train part, sorted; `digest` covers rows and parts."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    digest: str
    counts: Mapping[str, int]
    notes: tuple[str, ...]


def read_parts(
    store: Store,
    collection: str,
    *,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    split: Split = "auto",
    seed: int = 0,
) -> Parts:
    """Read the examples of a collection and part them.

    A row's own `split` is honoured. Where no row says "test" (or "validation"), that share of the rows is taken: the
    latest ones if `split` is "time", or "auto" and every row has a time; otherwise a share of each label. Rows of one
    group, and rows of one text, stay together. Labels with one row are dropped, and said. Raises DataError when the
    collection is empty, has fewer than two labels, or a part would have no rows.
    """
    rows = _usable([row for row in store.rows("examples", collection) if isinstance(row, Example)], collection)
    rows, notes = _without_single_labels(rows)
    by_time = split == "time" or (split == "auto" and all(row.at is not None for row in rows))
    parted = _part(rows, validation_share, test_share, by_time=by_time, seed=seed)
    parts = {name: tuple(row for row in parted if row.split == name) for name in _PARTS}
    labels = tuple(sorted({row.label for row in parts["train"]}))
    _check(collection, parts, labels)
    counts = {name: len(found) for name, found in parts.items()} | {"labels": len(labels)}
    leaks, leak_notes = _leaks(parts)
    return Parts(
        **parts,
        labels=labels,
        digest=_digest(parted),
        counts=counts | leaks,
        notes=(*notes, *_strange_labels(parts, labels), *leak_notes),
    )


def save_rows(folder: Path, parts: Parts) -> None:
    """Keep which rows a model has learned from or was chosen on: hashes of their ids, no text."""
    save_arrays(folder / ROWS, {name: _hashes(getattr(parts, name)) for name in ("train", "validation")})


def unseen(folder: Path, rows: Sequence[Example]) -> list[Example]:
    """Return the rows that the model saved in `folder` has never seen, by the hashes beside it."""
    saved = load_arrays(folder / ROWS)
    known = np.concatenate([saved["train"], saved["validation"]])
    return [row for row, seen in zip(rows, np.isin(_hashes(rows), known), strict=True) if not seen]


def folded(text: str) -> str:
    """Return a text without the differences that do not make it another text: case, runs of white space."""
    return " ".join(text.casefold().split())


def _usable(rows: Sequence[Example], collection: str) -> list[Example]:
    asked = f"Training needs labelled examples in the collection '{collection}'"
    if not rows:
        raise DataError(asked, "The store has none there", "mercat ingest, or another collection in mercat.toml")
    if any(row.text_pair for row in rows):
        raise DataError(asked, "Its rows are pairs of texts, and this recipe reads one text", "a recipe for pairs")
    if unknown := {row.split for row in rows} - {*_PARTS, ""}:
        raise DataError(asked, f"A row has the split '{min(unknown)}'", "train, validation, test or nothing")
    return [row for row in rows if row.text.strip() and row.label]


def _without_single_labels(rows: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """Leave out labels that occur once: nothing learned from them could be checked."""
    counts = Counter(row.label for row in rows)
    single = sorted(label for label, count in counts.items() if count == 1)
    if not single:
        return list(rows), []
    shown = ", ".join(single[:10]) + (" …" if len(single) > 10 else "")
    kept = [row for row in rows if counts[row.label] > 1]
    return kept, [f"{len(single)} labels with one row each were dropped: {shown}"]


def _part(
    rows: Sequence[Example], validation_share: float, test_share: float, *, by_time: bool, seed: int
) -> list[Example]:
    given = {row.split for row in rows}
    free = [row for row in rows if not row.split]
    if "test" not in given:
        source = free or [row for row in rows if row.split == "train"]
        rows = _take(rows, source, "test", test_share, by_time=by_time, seed=seed)
    rows = [row if row.split else replace(row, split="train") for row in rows]
    if "validation" not in given:
        train = [row for row in rows if row.split == "train"]
        share = validation_share / (1 - test_share) if "test" not in given else validation_share
        rows = _take(rows, train, "validation", share, by_time=by_time, seed=seed)
    return list(rows)


def _take(
    rows: Sequence[Example], source: Sequence[Example], part: str, share: float, *, by_time: bool, seed: int
) -> list[Example]:
    """Put a share of `source` into `part`; whole bunches of one group or text go together."""
    bunches: dict[str, list[Example]] = defaultdict(list)
    for row in source:
        bunches[f"group:{row.group}" if row.group else f"text:{folded(row.text)}"].append(row)
    chosen = _latest(bunches, share) if by_time else _of_each_label(bunches, share, seed)
    taken = {row.id for name in chosen for row in bunches[name]}
    return [replace(row, split=part) if row.id in taken else row for row in rows]


def _latest(bunches: Mapping[str, Sequence[Example]], share: float) -> list[str]:
    def last(name: str) -> tuple[float, str]:
        return max(row.at.timestamp() if row.at else 0.0 for row in bunches[name]), name

    wanted, taken, found = round(share * sum(map(len, bunches.values()))), 0, []
    for name in sorted(bunches, key=last, reverse=True):
        if taken >= wanted:
            break
        found.append(name)
        taken += len(bunches[name])
    return found


def _of_each_label(bunches: Mapping[str, Sequence[Example]], share: float, seed: int) -> list[str]:
    """Return a share of the bunches of each label; a bunch counts for its most frequent label."""
    by_label: dict[str, list[str]] = defaultdict(list)
    for name in sorted(bunches):
        by_label[Counter(row.label for row in bunches[name]).most_common(1)[0][0]].append(name)
    random, found = np.random.default_rng(seed), []
    for label in sorted(by_label):
        names = [by_label[label][at] for at in random.permutation(len(by_label[label]))]
        wanted, taken = round(share * sum(len(bunches[name]) for name in names)), 0
        for name in names[: len(names) - 1]:  # at least one bunch of every label stays
            if taken >= wanted:
                break
            if taken + len(bunches[name]) <= wanted + 1:
                found.append(name)
                taken += len(bunches[name])
    return found


def _check(collection: str, parts: Mapping[str, Sequence[Example]], labels: Sequence[str]) -> None:
    asked = f"Training needs at least two labels and rows in every part of '{collection}'"
    if len(labels) < 2:
        raise DataError(asked, f"Its train part has {len(labels)} labels", "more labelled rows")
    for name in ("train", "validation"):
        if not parts[name]:
            raise DataError(asked, f"Its {name} part is empty", f"more rows, or a larger {name}_share")


def _strange_labels(parts: Mapping[str, Sequence[Example]], labels: Sequence[str]) -> list[str]:
    known, found = set(labels), []
    for name in ("validation", "test"):
        if count := sum(row.label not in known for row in parts[name]):
            found.append(f"{count} {name} rows have labels that the train part lacks; they count as errors")
    return found


def _leaks(parts: Mapping[str, Sequence[Example]]) -> tuple[dict[str, int], list[str]]:
    """Count rows whose text stands in a part that the model has seen."""
    seen, counts, notes = {folded(row.text) for row in parts["train"]}, {}, []
    for name in ("validation", "test"):
        count = counts[f"{name}_rows_also_in_train"] = sum(folded(row.text) in seen for row in parts[name])
        if count:
            notes.append(f"{count} of {len(parts[name])} {name} rows have a text that is in the train part too")
    return counts, notes


def _digest(rows: Iterable[Example]) -> str:
    found = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.id):
        found.update(json.dumps([row.id, row.text, row.label, row.split, row.group]).encode())
    return found.hexdigest()


def _hashes(rows: Sequence[Example]) -> NDArray[np.int64]:
    found = [hashlib.blake2b(row.id.encode(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(found), dtype="<i8").astype(np.int64)
