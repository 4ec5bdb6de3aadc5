"""What is audited: a finished classifier, and rows that it has not learned from, of the store or of a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mercat.artifacts import Artifact
from mercat.audit.gradients import IntegratedGradients, gradients_of
from mercat.errors import ConfigError, DataError
from mercat.store import Store
from mercat.training.base import Progress, Run
from mercat.training.classifying.classifier import Scorer
from mercat.training.data import Parts, unseen
from mercat.values import Example


@runtime_checkable
class Auditable(Protocol):
    """A recipe whose artifacts can be audited: it makes text classifiers and says which rows they learned from."""

    collection: str

    def parts(self, run: Run) -> Parts:
        """Return the rows of its collection in their parts."""
        ...

    def scorer(self, artifact: Path) -> Scorer:
        """Return what the artifact in a folder answers with."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """A classifier and the rows to try it on; `data` says which those are, `parts` what it learned from.

    `gradients` explain it where its encoder is a transformer."""

    artifact: Artifact
    scorer: Scorer
    rows: Sequence[Example]
    data: str
    parts: Mapping[str, Sequence[Example]]
    gradients: IntegratedGradients | None = None


def subject_of(
    recipe: Any, artifact: Artifact, store: Store, *, scratch: Path, progress: Progress, data: Path | None = None
) -> Subject:
    """Return the artifact with the rows of `data`, or without it with the test rows that training has not seen.

    Raises ConfigError for a recipe that makes no text classifier.
    """
    if not isinstance(recipe, Auditable):
        found = f"'{artifact.name}' was made by the recipe '{artifact.recipe}', kind '{artifact.kind}'"
        raise ConfigError(
            "An audit needs a text classifier", found, "mercat artifacts list, for one of kind classifier"
        )
    run = Run(artifact.name, store, scratch, artifact.seed, progress)
    scorer, gradients = recipe.scorer(artifact.folder), gradients_of(artifact.folder, getattr(recipe, "encoder", None))
    if data is not None:
        learned = recipe.parts(run) if store.count("examples", recipe.collection) else None
        parts = {"train": learned.train, "validation": learned.validation} if learned else {}
        return Subject(artifact, scorer, read_rows(data), data.name, parts, gradients)
    learned = recipe.parts(run)
    rows = unseen(artifact.folder, learned.test)
    words = f"the test part of the collection '{recipe.collection}'"
    parts = {"train": learned.train, "validation": learned.validation}
    return Subject(artifact, scorer, rows, words, parts, gradients)


def read_rows(path: Path) -> list[Example]:
    """Return the rows of a CSV file with the columns `text` and `label`; every other column becomes metadata.

    Raises DataError for a file that is missing, not UTF-8, without these columns, or a row without text or label.
    """
    asked = f"An audit reads {path}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(_examples(csv.DictReader(file, strict=True), asked))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(asked, found, "a CSV file in UTF-8 with the columns text and label") from error


def _examples(reader: csv.DictReader[str], asked: str) -> Iterator[Example]:
    columns = reader.fieldnames or []
    if missing := [name for name in ("text", "label") if name not in columns]:
        found = f"It has the columns {', '.join(columns) or 'none'}; {' and '.join(missing)} missing"
        raise DataError(asked, found, "name the columns text and label")
    for record in reader:
        text, label = record.pop("text") or "", record.pop("label") or ""
        if not text.strip() or not label.strip():
            raise DataError(asked, f"Line {reader.line_num} has no text or no label", "mend or remove that line")
        metadata = {name: value for name, value in record.items() if name}
        yield Example(metadata.get("id") or f"line {reader.line_num}", text, label.strip(), metadata=metadata)
