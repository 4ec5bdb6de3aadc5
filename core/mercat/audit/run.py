"""A whole audit: every part in order, on the same rows, with stated sample sizes and one seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mercat.artifacts import Artifact
from mercat.audit.base import sample, score_rows
from mercat.audit.calibration import Calibration, calibrate
from mercat.audit.faithful import Explained, explain
from mercat.audit.overlap import Overlap, overlap
from mercat.audit.robustness import Robustness, robustness
from mercat.audit.slices import Slices, by_column
from mercat.audit.subject import Subject
from mercat.audit.suspects import Suspects, suspects
from mercat.audit.swaps import Swaps, counterfactuals
from mercat.errors import ConfigError, DataError
from mercat.training.base import Progress
from mercat.training.classifying.classifier import Scorer
from mercat.training.progress import silent
from mercat.values import Example


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows each part looks at; drawn by the seed where there are more. Raises ConfigError below 1."""

    changed: int = 300
    swapped: int = 200
    explained: int = 16
    compared: int = 5000

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if (size := getattr(self, name)) < 1:
                raise ConfigError(f"An audit of {name} = {size} rows", "It needs at least one", f"{name} = 100")


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found. `data` says in words which rows were looked at, `about` what artifact.json says."""

    name: str
    version: str
    recipe: str
    made_at: datetime
    seed: int
    data: str
    rows: int
    labels: tuple[str, ...]
    about: Mapping[str, Any]
    sizes: Sizes
    calibration: Calibration
    slices: tuple[Slices, ...]
    swaps: tuple[Swaps, ...]
    robustness: tuple[Robustness, ...]
    explained: Explained | None
    suspects: Suspects
    overlap: Overlap


def audit(
    subject: Subject,
    *,
    made_at: datetime,
    sizes: Sizes | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Audit:
    """Look at a classifier from all sides on rows that it has not learned from.

    Raises DataError without rows, or when no row has a label that the classifier knows.
    """
    artifact, scorer, rows = subject.artifact, subject.scorer, subject.rows
    _check(scorer, rows, subject.data)
    sizes, labels = sizes or Sizes(), scorer.labels
    scored = score_rows(scorer, rows, progress=progress)
    changing, explaining = (
        scored.at(sample(range(len(rows)), size, seed=seed)) for size in (sizes.changed, sizes.explained)
    )
    swaps = counterfactuals(scorer.scores, labels, scored.texts, size=sizes.swapped, seed=seed, progress=progress)
    return Audit(
        name=artifact.name,
        version=artifact.version,
        recipe=artifact.recipe,
        made_at=made_at,
        seed=seed,
        data=subject.data,
        rows=len(rows),
        labels=labels,
        about=_about(artifact),
        sizes=sizes,
        calibration=calibrate(scored, seed=seed),
        slices=tuple(by_column(scored, seed=seed)),
        swaps=tuple(swaps),
        robustness=tuple(robustness(scorer.scores, changing, seed=seed, progress=progress)),
        explained=explain(scorer, explaining, gradients=subject.gradients, seed=seed, progress=progress),
        suspects=suspects(scored),
        overlap=overlap(subject.parts, sample(rows, sizes.compared, seed=seed)),
    )


def _about(artifact: Artifact) -> dict[str, Any]:
    names = ("kind", "provider", "config", "encoder_fingerprint", "data_digest", "seed", "metrics", "details")
    return {**{name: getattr(artifact, name) for name in names}, "created_at": artifact.created_at.isoformat()}


def _check(scorer: Scorer, rows: Sequence[Example], data: str) -> None:
    asked = "An audit needs labelled rows that the classifier has not learned from"
    if not rows:
        raise DataError(asked, f"There are none in {data}", "test_share = 0.1 before training, or --data rows.csv")
    if not any(row.label in scorer.labels for row in rows):
        found = f"{data} has none of its labels: {', '.join(scorer.labels[:5])}"
        raise DataError(asked, found, "rows with the labels it was trained on")
