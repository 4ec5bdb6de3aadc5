"""From labelled rows of the store to train, validation and test parts, with what a person should know of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat.errors import ConfigError, DataError
from mercat.evaluation import splits
from mercat.evaluation.leaks import find_leaks
from mercat.evaluation.splits import PARTS
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
    rows, notes = without_single_labels(single_texts(read_examples(store, collection), collection))
    return part_examples(
        rows,
        collection,
        labels_of=lambda row: (row.label,),
        by_label=True,
        validation_share=validation_share,
        test_share=test_share,
        split=split,
        seed=seed,
        notes=notes,
    )


def read_examples(store: Store, collection: str) -> list[Example]:
    """Read all examples of a collection. Raises DataError when there are none."""
    rows = [row for row in store.rows("examples", collection) if isinstance(row, Example)]
    if not rows:
        cure = "mercat ingest, or another collection in mercat.toml"
        raise DataError(_asked(collection), "The store has none there", cure)
    return rows


def part_examples(
    rows: list[Example],
    collection: str,
    *,
    labels_of: Callable[[Example], Sequence[str]],
    by_label: bool,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    split: Split = "auto",
    seed: int = 0,
    least: int = 2,
    notes: Sequence[str] = (),
) -> Parts:
    """Part rows as `read_parts` does, whatever their labels look like.

    `labels_of` gives the labels of a row, of which the train part needs `least`; with `by_label` each row has one, and
    every label gets its share in each part. Raises DataError when the model could not be chosen.
    """
    found = parted(rows, split, validation_share, test_share, seed, by_label=by_label)
    labels = tuple(sorted({label for row in found.train for label in labels_of(row)}))
    _check(collection, found, labels, labels_of, least)
    parts = {"train": found.train, "validation": found.validation, "test": found.test}
    leaks = [leak for leak in find_leaks(parts) if leak.kind != "time"]
    return Parts(
        **parts,
        labels=labels,
        digest=digest_of(parts),
        counts={
            **{name: len(each) for name, each in parts.items()},
            "labels": len(labels),
            **{f"leaks_{leak.kind}_{leak.left}_{leak.right}": leak.count for leak in leaks},
        },
        notes=(*notes, *found.notes, *_strange_labels(found, labels, labels_of), *map(str, leaks)),
    )


def save_rows(folder: Path, parts: Parts | splits.Parts, *, before: Path | None = None) -> None:
    """Keep which rows a model has learned from, was chosen on, or must not see: hashes of ids and contents, no text.

    What the artifact in the folder `before` knew stays known, rows that have left the store among it.
    """
    arrays: dict[str, NDArray[np.int64]] = {}
    for name, rows in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
        arrays |= {name: row_hashes(rows), f"{name}_contents": content_hashes(rows)}
    earlier = load_arrays(before / ROWS) if before else {}
    here = np.concatenate([arrays[name] for name in PARTS])
    for name in PARTS if earlier else ():
        gone = ~np.isin(earlier[name], here)
        for key in (name, f"{name}_contents"):
            arrays[key] = np.concatenate([arrays[key], earlier[key][gone]])
    save_arrays(folder / ROWS, arrays)


def unseen(folder: Path, rows: Sequence[Example], *, texts: bool = False) -> list[Example]:
    """Return the rows that the model saved in `folder` has never seen, by the hashes beside it.

    With `texts` it has seen a row too whose text and label it knows under another id.
    """
    saved = load_arrays(folder / ROWS)
    seen = np.isin(row_hashes(rows), np.concatenate([saved["train"], saved["validation"]]))
    if texts:
        contents = np.concatenate([saved["train_contents"], saved["validation_contents"]])
        seen |= np.isin(content_hashes(rows), contents)
    return [row for row, known in zip(rows, seen, strict=True) if not known]


def learned_from(folder: Path, rows: Sequence[Example]) -> NDArray[np.bool_]:
    """Return whether the model in `folder` has learned from each row, or from its text and label: shape (rows,)."""
    saved = load_arrays(folder / ROWS)
    known: NDArray[np.bool_] = np.isin(row_hashes(rows), saved["train"])
    return known | np.isin(content_hashes(rows), saved["train_contents"])


def unseen_test_rows(parts: Parts | splits.Parts, artifact: Path, *, texts: bool = False) -> list[Example]:
    """Return the test rows that the model saved in `artifact` has never seen, as `unseen` says.

    Raises DataError when there are none.
    """
    rows = unseen(artifact, parts.test, texts=texts)
    if not rows:
        raise DataError(
            "An evaluation needs test rows that training has not seen",
            f"The test part has {len(parts.test)} rows, none of them unseen",
            "rows with split = test, or test_share = 0.1 before training",
        )
    return rows


def check_shares(*, validation_share: float, test_share: float) -> None:
    """Raise ConfigError for shares of the rows that are out of range."""
    for name, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0 <= share < 0.9:
            raise ConfigError(f"{name} = {share}", "It is a share of the rows", f"{name} = 0.1")


def row_hashes(rows: Iterable[Example]) -> NDArray[np.int64]:
    """Return a number per row that stands for its id. The shape is (rows,)."""
    return _numbers(row.id for row in rows)


def content_hashes(rows: Iterable[Example]) -> NDArray[np.int64]:
    """Return a number per row that stands for its text and label. The shape is (rows,)."""
    return _numbers(json.dumps([row.text, row.label]) for row in rows)


def _asked(collection: str) -> str:
    return f"Training needs labelled examples in the collection '{collection}'"


def single_texts(rows: Sequence[Example], collection: str) -> list[Example]:
    """Return the rows that have a text and a label. Raises DataError for pairs of texts."""
    if any(row.text_pair for row in rows):
        found = "Its rows are pairs of texts, and this recipe reads one text"
        raise DataError(_asked(collection), found, "use = 'pairs', the recipe for two texts")
    return [row for row in rows if row.text.strip() and row.label]


def without_single_labels(rows: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """Leave out labels that occur once: nothing learned from them could be checked."""
    counts = Counter(row.label for row in rows)
    single = sorted(label for label, count in counts.items() if count == 1)
    if not single:
        return list(rows), []
    shown = ", ".join(single[:10]) + (" …" if len(single) > 10 else "")
    kept = [row for row in rows if counts[row.label] > 1]
    return kept, [f"Labels with one row, {len(single)} of {len(counts)}, were dropped: {shown}"]


def parted(
    rows: list[Example], split: Split, validation: float, test: float, seed: int, *, by_label: bool
) -> splits.Parts:
    times = {row.at for row in rows}
    dated = None not in times and len(times) >= _DISTINCT_TIMES and not any(row.split for row in rows)
    if split == "time" or (split == "auto" and dated):
        ordered = sorted(row.at for row in rows if row.at is not None)
        middle, at = _cut(ordered, validation + test), _cut(ordered, test)
        return splits.by_time(rows, at=at, validation_from=middle)
    part = splits.stratified if by_label and split != "group" else splits.by_group
    return part(rows, validation=validation, test=test, seed=seed)


def _cut(times: Sequence[datetime], share: float) -> datetime:
    """Return the time from which on `share` of the rows lie."""
    first = len(times) - round(share * len(times))
    return times[first] if first < len(times) else times[-1] + timedelta(microseconds=1)


def _check(
    collection: str,
    parts: splits.Parts,
    labels: Sequence[str],
    labels_of: Callable[[Example], Sequence[str]],
    least: int,
) -> None:
    wanted = f"{'two labels' if least == 2 else f'{least} labels'}, and " if least else ""
    asked = f"Training needs {wanted}rows to learn from and to choose on, in the collection '{collection}'"
    if len(labels) < least or not parts.train:
        found = f"has {len(labels)} label(s)" if parts.train else "is empty"
        raise DataError(asked, f"Its train part {found}", "more labelled rows")
    known = set(labels)
    if not any(not least or known.intersection(labels_of(row)) for row in parts.validation):
        found = "has none of the labels to learn" if parts.validation else "is empty"
        raise DataError(asked, f"Its validation part {found}", "more rows, or validation_share = 0.2")


def _strange_labels(
    parts: splits.Parts, labels: Sequence[str], labels_of: Callable[[Example], Sequence[str]]
) -> list[str]:
    known, found = set(labels), []
    for name, rows in (("validation", parts.validation), ("test", parts.test)):
        if count := sum(not known.issuperset(labels_of(row)) for row in rows):
            found.append(f"{count} {name} rows have labels that the train part lacks; they count as errors")
    return found


def digest_of(parts: Mapping[str, Iterable[Example]]) -> str:
    """Return a hash of all rows and of the part that each is in."""
    found = hashlib.sha256()
    for name, rows in parts.items():
        for row in sorted(rows, key=lambda row: row.id):
            pair = [row.text_pair] if row.text_pair else []
            found.update(json.dumps([name, row.id, row.text, row.label, row.group, *pair]).encode())
    return found.hexdigest()


def _numbers(texts: Iterable[str]) -> NDArray[np.int64]:
    found = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(found), dtype="<i8").astype(np.int64)
