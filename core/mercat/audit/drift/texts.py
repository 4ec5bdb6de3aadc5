"""The texts that are compared: held-out rows of the time when the artifact was made, and what came in since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mercat.artifacts import Artifact
from mercat.audit.base import sample
from mercat.audit.subject import Auditable
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError, DataError, unknown_name
from mercat.store import Store
from mercat.training.base import Progress, Run
from mercat.training.classifying.classifier import Scorer, own_encoder
from mercat.training.data import row_hashes
from mercat.training.updating.rows import Seen, seen_by
from mercat.values import Document, Example

LEAST = 20
MOST = 2000


@dataclass(frozen=True, slots=True)
class Compare:
    """A classifier with the encoder that it goes by, and the texts to hold against each other.

    `learned` are the texts of its train part, `reference` rows of its validation and test parts, which it has not
    learned; `incoming` came in since. `data` says in words which those are, `notes` what was left out.
    """

    artifact: Artifact
    scorer: Scorer
    encoder: Encoder
    learned: Sequence[str]
    reference: Sequence[Example]
    incoming: Sequence[Example]
    data: str
    notes: Sequence[str]


def compare_of(
    recipe: Any,
    artifact: Artifact,
    store: Store,
    *,
    scratch: Path,
    progress: Progress,
    collection: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    seed: int = 0,
) -> Compare:
    """Return what to compare: examples or documents of `collection`, of its own one without a name.

    Rows that the artifact knows never count as incoming. `since` and `until` keep rows of that time. Raises ConfigError
    for an artifact that is no text classifier, UnknownName for a collection that is not there, and DataError for fewer
    than 20 texts on a side.
    """
    if not isinstance(recipe, Auditable):
        found = f"'{artifact.name}' was made by the recipe '{artifact.recipe}', kind '{artifact.kind}'"
        raise ConfigError("A drift report needs a text classifier", found, "mercat artifacts list, for a classifier")
    seen, name = seen_by(artifact), collection or recipe.collection
    parts = recipe.parts(Run(artifact.name, store, scratch, artifact.seed, progress))
    known = [*parts.train, *parts.validation, *parts.test]
    reference = [row for row, part in _with_parts(known, seen) if part in ("validation", "test")]
    learned = [row.text for row, part in _with_parts(known, seen) if part == "train"]
    incoming, notes = _within(_incoming(store, name, seen if name == recipe.collection else {}), since, until)
    _require(reference, f"held out when '{artifact.name}' {artifact.version} was made", f"mercat train {artifact.name}")
    _require(incoming, f"in the collection '{name}' that came in since", "mercat ingest, or --data COLLECTION")
    encoder = own_encoder(artifact.folder) or recipe.encoder  # type: ignore[attr-defined]
    kept = sample(reference, MOST, seed=seed), sample(incoming, MOST, seed=seed)
    words = f"{len(incoming):,} rows of the collection '{name}'"
    return Compare(artifact, recipe.scorer(artifact.folder), encoder, learned, *kept, words, notes)


def _with_parts(rows: Sequence[Example], seen: Seen) -> list[tuple[Example, str]]:
    found = (seen.get(int(number)) for number in row_hashes(rows))
    return [(row, each[0] if each else "") for row, each in zip(rows, found, strict=True)]


def _incoming(store: Store, collection: str, seen: Seen) -> list[Example]:
    """Return the texts of a collection, documents without labels, but for rows that are known."""
    names = {name for kind, name, _ in store.collections() if kind in ("examples", "documents")}
    if collection not in names:
        raise unknown_name("collection of texts", collection, names, next="mercat ingest")
    rows = [row for row in store.rows("examples", collection) if isinstance(row, Example)]
    for row in store.rows("documents", collection):
        if isinstance(row, Document):
            rows.append(Example(row.id, row.text, "", at=row.updated_at or row.published_at))
    return [row for row, part in _with_parts(rows, seen) if not part and row.text.strip()]


def _within(rows: Sequence[Example], since: datetime | None, until: datetime | None) -> tuple[list[Example], list[str]]:
    if since is None and until is None:
        return list(rows), []
    dated = [row for row in rows if row.at is not None]
    kept = [
        row
        for row in dated
        if row.at is not None and (since is None or row.at >= since) and (until is None or row.at < until)
    ]
    left = len(rows) - len(dated)
    return kept, [f"{left:,} rows have no time and were left out"] if left else []


def _require(rows: Sequence[Example], where: str, cure: str) -> None:
    if len(rows) < LEAST:
        raise DataError(f"A drift report needs {LEAST} texts {where}", f"There are {len(rows)}", cure)
