"""From labelled rows of the store to train, validation and test parts, with what a person should know of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat.errors import DataError
from mercat.evaluation import splits
from mercat.evaluation.leaks import find_leaks
from mercat.store import Store
from mercat.values import Example

Split = Literal["auto", "stratified", "group", "time"]
ROWS = "rows.safetensors"
_DISTINCT_TIMES = 20  # fewer say when rows were loaded, not when they happened


@dataclass(frozen=True, slots=True)
class Parts:
    """The three parts of a collection. `labels` are those of the train part, sorted; `digest` covers rows and parts."""

    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
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
    """Read the examples of a collection and part them, so that no text and no group is on two sides.

    A row's own `split` is honoured; the shares count only for parts that no row names. "stratified" gives every label
    its share, "group" parts whole groups without regard to labels, "time" puts the latest rows into the test part;
    "auto" is "time" where every row has a time and none a split, otherwise "stratified". Labels with one row are
    dropped, and said. Raises DataError when the collection is empty, has one label, or the model could not be chosen.
    """
    rows = _usable([row for row in store.rows("examples", collection) if isinstance(row, Example)], collection)
    rows, notes = _without_single_labels(rows)
    found = _parted(rows, split, validation_share, test_share, seed)
    labels = tuple(sorted({row.label for row in found.train}))
    _check(collection, found, labels)
    parts = {"train": found.train, "validation": found.validation, "test": found.test}
    leaks = [leak for leak in find_leaks(parts) if leak.kind != "time"]
    return Parts(
        **parts,
        labels=labels,
        digest=_digest(parts),
        counts={
            **{name: len(each) for name, each in parts.items()},
            "labels": len(labels),
            **{f"leaks_{leak.kind}_{leak.left}_{leak.right}": leak.count for leak in leaks},
        },
        notes=(*notes, *found.notes, *_strange_labels(found, labels), *map(str, leaks)),
    )


def save_rows(folder: Path, parts: Parts) -> None:
    """Keep which rows a model has learned from or was chosen on: hashes of their ids, no text."""
    save_arrays(folder / ROWS, {"train": _hashes(parts.train), "validation": _hashes(parts.validation)})


def unseen(folder: Path, rows: Sequence[Example]) -> list[Example]:
    """Return the rows that the model saved in `folder` has never seen, by the hashes beside it."""
    saved = load_arrays(folder / ROWS)
    known = np.concatenate([saved["train"], saved["validation"]])
    return [row for row, seen in zip(rows, np.isin(_hashes(rows), known), strict=True) if not seen]


def _usable(rows: Sequence[Example], collection: str) -> list[Example]:
    asked = f"Training needs labelled examples in the collection '{collection}'"
    if not rows:
        raise DataError(asked, "The store has none there", "mercat ingest, or another collection in mercat.toml")
    if any(row.text_pair for row in rows):
        raise DataError(asked, "Its rows are pairs of texts, and this recipe reads one text", "a recipe for pairs")
    return [row for row in rows if row.text.strip() and row.label]


def _without_single_labels(rows: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """Leave out labels that occur once: nothing learned from them could be checked."""
    counts = Counter(row.label for row in rows)
    single = sorted(label for label, count in counts.items() if count == 1)
    if not single:
        return list(rows), []
    shown = ", ".join(single[:10]) + (" …" if len(single) > 10 else "")
    kept = [row for row in rows if counts[row.label] > 1]
    return kept, [f"Labels with one row, {len(single)} of {len(counts)}, were dropped: {shown}"]


def _parted(rows: list[Example], split: Split, validation: float, test: float, seed: int) -> splits.Parts:
    times = {row.at for row in rows}
    dated = None not in times and len(times) >= _DISTINCT_TIMES and not any(row.split for row in rows)
    if split == "time" or (split == "auto" and dated):
        ordered = sorted(row.at for row in rows if row.at is not None)
        middle, at = _cut(ordered, validation + test), _cut(ordered, test)
        return splits.by_time(rows, at=at, validation_from=middle)
    part = splits.by_group if split == "group" else splits.stratified
    return part(rows, validation=validation, test=test, seed=seed)


def _cut(times: Sequence[datetime], share: float) -> datetime:
    """Return the time from which on `share` of the rows lie."""
    first = len(times) - round(share * len(times))
    return times[first] if first < len(times) else times[-1] + timedelta(microseconds=1)


def _check(collection: str, parts: splits.Parts, labels: Sequence[str]) -> None:
    asked = f"Training needs two labels, and rows to learn from and to choose on, in the collection '{collection}'"
    if len(labels) < 2:
        raise DataError(asked, f"Its train part has {len(labels)} label(s)", "more labelled rows")
    if not any(row.label in labels for row in parts.validation):
        found = "has none of the labels to learn" if parts.validation else "is empty"
        raise DataError(asked, f"Its validation part {found}", "more rows, or validation_share = 0.2")


def _strange_labels(parts: splits.Parts, labels: Sequence[str]) -> list[str]:
    known, found = set(labels), []
    for name, rows in (("validation", parts.validation), ("test", parts.test)):
        if count := sum(row.label not in known for row in rows):
            found.append(f"{count} {name} rows have labels that the train part lacks; they count as errors")
    return found


def _digest(parts: Mapping[str, Iterable[Example]]) -> str:
    found = hashlib.sha256()
    for name, rows in parts.items():
        for row in sorted(rows, key=lambda row: row.id):
            found.update(json.dumps([name, row.id, row.text, row.label, row.group]).encode())
    return found.hexdigest()


def _hashes(rows: Iterable[Example]) -> NDArray[np.int64]:
    found = [hashlib.blake2b(row.id.encode(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(found), dtype="<i8").astype(np.int64)
