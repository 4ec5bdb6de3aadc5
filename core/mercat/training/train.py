"""Run a recipe from rows to a finished artifact, and score an artifact on rows it never saw."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mercat.artifacts import Artifact, Artifacts
from mercat.artifacts.unfinished import alone
from mercat.compute.memory import Peak, give_back
from mercat.compute.world import ALONE, Left, World
from mercat.errors import ArtifactError
from mercat.store import Store
from mercat.training.base import Evaluation, Progress, Recipe, Run
from mercat.training.estimating import Estimable, Estimate, held_against
from mercat.training.progress import silent
from mercat.training.report import save_report

log = logging.getLogger(__name__)


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
    world: World = ALONE,
    expect: Callable[[Estimate], None] | None = None,
) -> Artifact:
    """Train and publish the next version of the artifact `name`; None as seed means the recipe's own.

    Checkpoints lie in `scratch_root/name`: after a kill the same call goes on from them; a success removes them. In a
    `world` of several every process makes this call, with the same folders: all compute, the first one writes.
    `expect` is told beforehand what one process alone will need, where the recipe can say; the report then holds that
    against what was measured. Raises ArtifactError when nothing was published.
    """
    shared = bool(getattr(recipe, "shared", False))
    run = _run(recipe, name, store, scratch_root, seed, progress, world=world if shared else ALONE)
    run.scratch.mkdir(parents=True, exist_ok=True)
    what = {"kind": recipe.kind, "recipe": recipe_name, "provider": provider, "seed": run.seed, "promote": promote}
    if world.first:
        if world.size > 1 and not shared:
            log.warning("'%s' is trained by one of %d processes: its recipe shares nothing", name, world.size)
        expected = _expected(recipe, run) if expect and world.size == 1 else None
        if expect and expected:
            expect(expected)
            give_back()  # what was tried for the estimate is thrown away
        made = _published(recipe, run, artifacts, {**what, "config": config}, expected)
        give_back()
        world.told(made.version)
        return made
    if shared:
        _help(recipe, run)
    return artifacts.open(name, world.told(""))


def estimate(
    recipe: Recipe, *, name: str, store: Store, scratch_root: Path, seed: int | None = None
) -> Estimate | None:
    """Return what training would cost; None for a recipe that cannot say. Nothing is written."""
    return _expected(recipe, _run(recipe, name, store, scratch_root, seed, silent))


def _expected(recipe: Recipe, run: Run) -> Estimate | None:
    if not isinstance(recipe, Estimable):
        return None
    with TemporaryDirectory() as nowhere:
        return recipe.estimate(replace(run, progress=silent, scratch=Path(nowhere) / run.name))


def _published(
    recipe: Recipe, run: Run, artifacts: Artifacts, what: Mapping[str, Any], expected: Estimate | None
) -> Artifact:
    with alone(run.scratch), artifacts.create(run.name, **what) as writer:
        peak = Peak() if expected else None  # whoever asked for no estimate keeps the mark of the whole process
        report = recipe.train(run, writer)
        if expected and peak:
            report = held_against(expected, report, peak)
            save_report(writer.folder, report)
        writer.note("counts", dict(report.counts))
        writer.note("notes", list(report.notes))
        writer.note("seconds", report.seconds)
    shutil.rmtree(run.scratch, ignore_errors=True)
    if writer.artifact is None:
        raise ArtifactError(
            f"Training '{run.name}' made no artifact", "The writer was not published", f"mercat train {run.name}"
        )
    return writer.artifact


def _help(recipe: Recipe, run: Run) -> None:
    """Do the part of a process that is not the first: all that is shared, written to nowhere."""
    with TemporaryDirectory() as folder, suppress(Left):
        nowhere = Artifacts(Path(folder))
        with nowhere.create(run.name, kind=recipe.kind, recipe="none") as writer:
            recipe.train(run, writer)


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


def _run(
    recipe: Recipe,
    name: str,
    store: Store,
    scratch_root: Path,
    seed: int | None,
    progress: Progress,
    *,
    world: World = ALONE,
) -> Run:
    chosen = int(getattr(recipe, "seed", 0)) if seed is None else seed
    told = progress if world.first else silent
    return Run(name=name, store=store, scratch=scratch_root / name, seed=chosen, progress=told, world=world)
