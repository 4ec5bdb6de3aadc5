"""What a recipe is: a fine-tune routine that turns rows of the store into an artifact with a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mercat.artifacts import ArtifactWriter
from mercat.compute.world import ALONE, World
from mercat.evaluation.base import Metric
from mercat.store import Store

LOWER_IS_BETTER = frozenset({"loss", "perplexity", "mse", "mae", "ece", "aurc", "brier"})
"""Figures of which the smallest is the best; of all others it is the largest."""


class Progress(Protocol):
    """Where long work says how far it is."""

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Run:
    """What a recipe is given beside its parameters.

    `scratch` survives a kill: a recipe that finds its own checkpoint there goes on from it. `world` is the processes
    that train together, of which a recipe that says `shared = True` makes use.
    """

    name: str
    store: Store
    scratch: Path
    seed: int
    progress: Progress
    world: World = ALONE


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run; saved as `report.json` in the artifact. Metrics are those of the validation part."""

    metrics: Mapping[str, Metric]
    counts: Mapping[str, int]  # rows per part, labels, steps, parameters, trainable parameters
    seconds: float
    notes: Sequence[str] = ()  # what a person should know: leaks found, labels dropped, early stop
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `mercat evaluate` says of an artifact: test metrics beside those of a named simple baseline."""

    metrics: Mapping[str, Metric]
    baseline: str
    baseline_metrics: Mapping[str, Metric]
    differences: Mapping[str, Metric]  # ours minus the baseline, paired
    counts: Mapping[str, int]
    notes: Sequence[str] = ()


@runtime_checkable
class Recipe(Protocol):
    """A fine-tune routine. Its parameters are those of its constructor, so the config can name them.

    `kind` is what it makes ("classifier", "ranker"); `collection` the rows that it learns from. With a field
    `shared = True` its `train` is called in every process of `run.world`; without one the first does it alone.
    """

    kind: str
    collection: str

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Learn from the train part, choose on the validation part, write files into `writer.folder`."""
        ...

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score a finished artifact on the test part, which training never saw."""
        ...
