"""Which rows came in since an artifact was made, and which of the old ones are learned again beside them."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mercat.artifacts import Artifact, load_arrays, save_arrays
from mercat.errors import ArtifactError, DataError
from mercat.evaluation.splits import PARTS, clusters
from mercat.store import Store
from mercat.training.data import (
    ROWS,
    Parts,
    Split,
    content_hashes,
    digest_of,
    parted,
    read_examples,
    row_hashes,
    single_texts,
    without_single_labels,
)
from mercat.values import Example

REGRESSION = "regression.safetensors"
MOST_REGRESSION = 1000
_LEAST_OF_LABEL = 5  # replayed rows, where there are so many: else a label could be forgotten

Seen = Mapping[int, tuple[str, int]]
"""The hash of a row's id -> its part ("train", "validation", "test"), and the hash of its content."""


@dataclass(frozen=True, slots=True)
class Since:
    """A collection as an update sees it: old rows in the parts where they were, rows that came in since in theirs.

    `new` and `corrected` are ids: rows that the artifact never saw, and those whose text or label is another now.
    """

    whole: Parts
    new: frozenset[str]
    corrected: frozenset[str]
    notes: tuple[str, ...]


def seen_by(artifact: Artifact) -> Seen:
    """Return the rows that an artifact knows. Raises ArtifactError when it does not say which those are."""
    path = artifact.folder / ROWS
    saved = load_arrays(path) if path.is_file() else {}
    if missing := [key for name in PARTS for key in (name, f"{name}_contents") if key not in saved]:
        raise ArtifactError(
            f"An update of '{artifact.name}' must know which rows version {artifact.version} learned from",
            f"{ROWS} does not say it: {', '.join(missing)} missing",
            f"mercat train {artifact.name}",
        )
    return {
        int(row): (name, int(content))
        for name in PARTS
        for row, content in zip(saved[name], saved[f"{name}_contents"], strict=True)
    }


def read_since(
    store: Store, collection: str, seen: Seen, *, validation_share: float, test_share: float, split: Split
) -> Since:
    """Read a collection; what came in since is parted as `read_parts` does, known rows stay in their parts.

    A new row with the text or the group of a known one joins its part. Raises DataError for an empty collection.
    """
    rows, notes = without_single_labels(single_texts(read_examples(store, collection), collection))
    known = [seen.get(int(number)) for number in row_hashes(rows)]
    part_of = {row.id: found[0] for row, found in zip(rows, known, strict=True) if found}
    corrected = frozenset(
        row.id
        for row, found, content in zip(rows, known, content_hashes(rows), strict=True)
        if found and found[1] != int(content)
    )
    new = [row for row in rows if row.id not in part_of]
    following = _following(rows, part_of)
    free = [row for row in new if row.id not in following]
    if free:
        fresh = parted(free, split, validation_share, test_share, 0, by_label=True)
        notes += fresh.notes
        for name in PARTS:
            part_of |= {row.id: name for row in getattr(fresh, name)}
    part_of |= following
    parts: dict[str, list[Example]] = {name: [row for row in rows if part_of.get(row.id) == name] for name in PARTS}
    whole = Parts(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        labels=tuple(sorted({row.label for row in parts["train"]})),
        digest=digest_of(parts),
        counts={name: len(each) for name, each in parts.items()},
        notes=tuple(notes),
    )
    return Since(whole, frozenset(row.id for row in new), corrected, tuple(notes))


def to_learn(since: Since, regression: Sequence[Example], *, replay: float | None, seed: int) -> Parts:
    """Return what an update learns from: new and corrected rows, and old ones beside them.

    `replay` is how many old rows for each new one, of every label its share and at least five; None takes all. Rows of
    the regression set are not chosen on. Raises DataError when no row is new, or none is left to choose on.
    """
    whole, fresh = since.whole, since.new | since.corrected
    new = [row for row in whole.train if row.id in fresh]
    old = [row for row in whole.train if row.id not in fresh]
    _require_news(since, new)
    replayed = old if replay is None else sample(old, math.ceil(replay * len(new)), least=_LEAST_OF_LABEL, seed=seed)
    kept = {row.id for row in regression}
    validation = [row for row in whole.validation if row.id not in kept]
    train = sorted([*new, *replayed], key=lambda row: row.id)
    labels = tuple(sorted({row.label for row in train}))
    if not any(row.label in labels for row in validation):
        asked = "An update needs validation rows to choose on, beside those of the regression set"
        raise DataError(asked, f"There are {len(validation)}", "more rows, or regression = a collection of its own")
    parts = {"train": train, "validation": validation, "test": whole.test}
    counts = {
        **{name: len(each) for name, each in parts.items()},
        "labels": len(labels),
        "new": len(since.new),
        "corrected": len(since.corrected),
        "replayed": len(replayed),
        "regression": len(regression),
    }
    return Parts(train, validation, whole.test, labels, digest_of(parts), counts, since.notes)


def sample(rows: Sequence[Example], wanted: int, *, least: int, seed: int) -> list[Example]:
    """Return about `wanted` rows, of each label its share and at least `least` where it has so many.

    The same rows for the same seed, in whatever order they come.
    """
    by_label: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(row)
    share = min(1.0, wanted / len(rows)) if rows else 0.0
    found = []
    for label in sorted(by_label):
        ordered = sorted(by_label[label], key=lambda row: _order(row, seed))
        found += ordered[: max(least, math.floor(share * len(ordered) + 0.5))]
    return found


def regression_rows(store: Store, collection: str, artifact: Artifact, since: Since) -> list[Example]:
    """Return the rows on which no version may fall: a collection of its own, or those frozen with the first version.

    Frozen is half of the first version's validation part, at most 1000 rows, of each label its share: its validation
    rows choose nothing any more. Raises DataError when there is no row.
    """
    if collection:
        return single_texts(read_examples(store, collection), collection)
    path = artifact.folder / REGRESSION
    if path.is_file():
        frozen = load_arrays(path)["ids"]
        rows = [*since.whole.train, *since.whole.validation, *since.whole.test]
        found = [row for row, known in zip(rows, np.isin(row_hashes(rows), frozen), strict=True) if known]
    else:
        old = [row for row in since.whole.validation if row.id not in since.new]
        found = sample(old, min(MOST_REGRESSION, math.ceil(len(old) / 2)), least=0, seed=0)
    if not found:
        asked = f"An update of '{artifact.name}' is held against a regression set"
        raise DataError(asked, "None of its rows is in the store", "regression = the name of a collection")
    return sorted(found, key=lambda row: row.id)


def save_regression(folder: Path, rows: Sequence[Example]) -> None:
    """Keep which rows are the regression set: hashes of their ids."""
    save_arrays(folder / REGRESSION, {"ids": row_hashes(rows)})


def _following(rows: Sequence[Example], part_of: Mapping[str, str]) -> dict[str, str]:
    """Return the part of each new row whose text or group is known: the one that is kept the furthest from training."""
    side: dict[int, str] = {}
    numbers = clusters(rows)
    for row, number in zip(rows, numbers, strict=True):
        if part := part_of.get(row.id):
            side[number] = max(side.get(number, PARTS[0]), part, key=list[str](PARTS).index)
    return {
        row.id: side[number]
        for row, number in zip(rows, numbers, strict=True)
        if number in side and row.id not in part_of and row.split in ("", "train")
    }


def _require_news(since: Since, new: Sequence[Example]) -> None:
    if new:
        return
    found = f"Of {sum(since.whole.counts.values())} rows none to learn from is new or corrected"
    if since.new:
        found += f"; {len(since.new)} new ones are for validation or test"
    raise DataError("An update learns from rows that came in since the last version", found, "mercat ingest")


def _order(row: Example, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{row.id}".encode(), digest_size=16).digest()
