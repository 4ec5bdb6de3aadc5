"""Run a recipe from rows to a finished artifact, and score an artifact on rows it never saw."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mercat.artifacts import Artifact, Artifacts
from mercat.errors import ArtifactError
from mercat.store import Store
from mercat.training.base import Evaluation, Progress, Recipe, Run
from mercat.training.progress import silent


def train(
    recipe: Recipe,
    *,
    name: str,
    store: Store,
    artifacts: Artifacts,
    scratch_root: Path,
    recipe_name: str,
    provider: str = "mercat",
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
    progress: Progress = silent,
    promote: bool = True,
) -> Artifact:
    """Train and publish the next version of the artifact `name`; None as seed means the recipe's own.

    Checkpoints lie in `scratch_root/name`: after a kill the same call goes on from them; a success removes them. Raises
    ArtifactError when nothing was published.
    """
    run = _run(recipe, name, store, scratch_root, seed, progress)
    run.scratch.mkdir(parents=True, exist_ok=True)
    with artifacts.create(
        name,
        kind=recipe.kind,
        recipe=recipe_name,
        provider=provider,
        config=config,
        seed=run.seed,
        promote=promote,
    ) as writer:
        report = recipe.train(run, writer)
        writer.note("counts", dict(report.counts))
        writer.note("notes", list(report.notes))
        writer.note("seconds", report.seconds)
    shutil.rmtree(run.scratch, ignore_errors=True)
    if writer.artifact is None:
        raise ArtifactError(
            f"Training '{name}' made no artifact", "The writer was not published", f"mercat train {name}"
        )
    return writer.artifact


def evaluate(
    recipe: Recipe,
    *,
    artifact: Artifact,
    store: Store,
    scratch_root: Path,
    progress: Progress = silent,
) -> Evaluation:
    """Score an artifact on the test part of the recipe's collection, beside the recipe's simple baseline."""
    return recipe.evaluate(_run(recipe, artifact.name, store, scratch_root, artifact.seed, progress), artifact.folder)


def _run(recipe: Recipe, name: str, store: Store, scratch_root: Path, seed: int | None, progress: Progress) -> Run:
    chosen = int(getattr(recipe, "seed", 0)) if seed is None else seed
    return Run(name=name, store=store, scratch=scratch_root / name, seed=chosen, progress=progress)
