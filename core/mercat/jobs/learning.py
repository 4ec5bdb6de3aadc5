"""What one does with the recipes of a workspace: train, estimate, update, search, evaluate, audit, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mercat.artifacts import Artifact
from mercat.audit import Audit, Sizes, audit, save, subject_of
from mercat.audit import drift as drifts
from mercat.audit.drift import Drift, compare_of, drift
from mercat.compute.world import ALONE, World
from mercat.config import Section
from mercat.errors import ConfigError
from mercat.signatures import dependencies
from mercat.training.base import Evaluation, Progress, Recipe
from mercat.training.estimating import Estimate
from mercat.training.progress import silent
from mercat.training.search import DEFAULTS, Search, parse_space, search
from mercat.training.train import estimate, evaluate, train
from mercat.workspace import Workspace

UPDATE = "update"
"""The recipe that goes on from an artifact, and the table of a recipe's section that has its parameters."""


def train_recipe(
    workspace: Workspace,
    name: str,
    *,
    use: str | None = None,
    seed: int | None = None,
    promote: bool = True,
    parameters: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    world: World = ALONE,
    expect: Callable[[Estimate], None] | None = None,
) -> Artifact:
    """Run the recipe of section `[recipes.NAME]`, with another routine if `use` says so; goes on after a kill.

    `parameters` stand before those of the section. In a `world` of several every process makes this call. `expect` is
    told beforehand what the run will need, and the report holds that against what was measured.
    """
    section, recipe = _recipe(workspace, name, use, parameters or {})
    return train(
        recipe,
        name=name,
        store=workspace.store,
        artifacts=workspace.artifacts,
        scratch_root=workspace.folder / "training",
        recipe_name=section.use,
        provider=workspace.part(section).provider.name,
        config=dict(section.parameters),
        seed=seed,
        progress=progress,
        promote=promote,
        world=world,
        expect=expect,
    )


def estimate_recipe(
    workspace: Workspace,
    name: str,
    *,
    use: str | None = None,
    seed: int | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Estimate | None:
    """Return what `train_recipe` would cost, from trying some of it; None for a recipe that cannot say."""
    _, recipe = _recipe(workspace, name, use, parameters or {})
    scratch = workspace.folder / "training"
    return estimate(recipe, name=name, store=workspace.store, scratch_root=scratch, seed=seed)


def update_artifact(
    workspace: Workspace,
    name: str,
    *,
    seed: int | None = None,
    promote: bool = True,
    parameters: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    expect: Callable[[Estimate], None] | None = None,
) -> Artifact:
    """Let the current artifact of section `[recipes.NAME]` learn what came in since; the next version is returned.

    The recipe `update` takes what all recipes of the section share, then the table `[recipes.NAME.update]`, then
    `parameters`. A version that falls on the regression set is kept and not promoted: its details say `withheld`.
    """
    section = workspace.config.section("recipes", name)
    table = section.parameters if section.use == UPDATE else section.flow.get(UPDATE, {})
    given = {**table, **(parameters or {})}
    return train_recipe(
        workspace, name, use=UPDATE, seed=seed, promote=promote, parameters=given, progress=progress, expect=expect
    )


def search_recipe(
    workspace: Workspace,
    name: str,
    *,
    trials: int,
    space: Mapping[str, str] | None = None,
    metric: str = "accuracy",
    use: str | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Search:
    """Try parameters for the recipe of section `[recipes.NAME]` on its validation part; goes on after a kill.

    `space` has a text per parameter, as `mercat.training.search.parse_space` reads it; without one the recipe's usual
    parameters are tried. Raises ConfigError where neither is there.
    """
    routine = use or workspace.config.section("recipes", name).use
    lines = space or DEFAULTS.get(routine)
    if not lines:
        raise ConfigError(
            f"A search over the parameters of '{routine}'",
            f"It has no usual space; {', '.join(DEFAULTS)} have one",
            "--space learning_rate=1e-5..1e-3:log",
        )
    section = workspace.config.section("recipes", name)
    factory = workspace.registry.recipes.get(routine).load()
    parts = [workspace.config.section(*each) for each in dependencies(factory, section, workspace.registry)]
    return search(
        lambda parameters: _recipe(workspace, name, use, parameters)[1],
        parse_space(lines),
        name=name,
        store=workspace.store,
        folder=workspace.folder / "training" / f".search-{name}",
        trials=trials,
        metric=metric,
        seed=seed or 0,
        about=[routine, section.parameters, *((part.use, part.parameters) for part in parts)],
        progress=progress,
    )


def evaluate_recipe(workspace: Workspace, name: str, *, progress: Progress = silent) -> Evaluation:
    """Score the current artifact of a recipe on its test part, with the routine that made it."""
    artifact = workspace.artifacts.open(name)
    _, recipe = _recipe(workspace, name, artifact.recipe)
    scratch = workspace.folder / "training"
    return evaluate(recipe, artifact=artifact, store=workspace.store, scratch_root=scratch, progress=progress)


def audit_artifact(
    workspace: Workspace,
    name: str,
    *,
    data: Path | None = None,
    folder: Path | None = None,
    sizes: Sizes | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Audit, Path]:
    """Audit the current artifact of a recipe on its test part, or on the rows of a CSV file; return (audit, report).

    The report and its data go into `folder`; without one into the workspace, beside those of other versions.
    """
    artifact = workspace.artifacts.open(name)
    _, recipe = _recipe(workspace, name, artifact.recipe)
    scratch = workspace.folder / "training" / name
    subject = subject_of(recipe, artifact, workspace.store, scratch=scratch, progress=progress, data=data)
    found = audit(subject, made_at=workspace.clock(), sizes=sizes, seed=seed, progress=progress)
    return found, save(found, folder or workspace.folder / "audits" / name / artifact.version)


def drift_of(
    workspace: Workspace,
    name: str,
    *,
    collection: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Drift, Path]:
    """Hold texts that came in against those that the current artifact was made from; return (drift, report).

    They are those of `collection`, without a name of the recipe's own one, from `since` on and before `until`. The
    report and its data go into `folder`, without one into the workspace.
    """
    artifact = workspace.artifacts.open(name)
    _, recipe = _recipe(workspace, name, artifact.recipe)
    compare = compare_of(
        recipe,
        artifact,
        workspace.store,
        scratch=workspace.folder / "training" / name,
        progress=progress,
        collection=collection,
        since=since,
        until=until,
        seed=seed,
    )
    found = drift(compare, made_at=workspace.clock(), seed=seed, progress=progress)
    return found, drifts.save(found, folder or workspace.folder / "drift" / name / artifact.version)


def _recipe(
    workspace: Workspace, name: str, use: str | None, parameters: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Section, Recipe]:
    section = workspace.config.section("recipes", name)
    if use in (None, section.use) and not parameters:
        recipe: Recipe = workspace.get("recipes", name)
        return section, recipe
    own = section.parameters if use in (None, section.use) else _shared(section.parameters)
    other = Section(section.kind, section.name, use or section.use, {**own, **parameters}, section.flow)
    return other, workspace.build(other)


def _shared(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Another routine takes what all have in common; what was tuned for one does not fit the other."""
    common = ("encoder", "collection", "validation_share", "test_share", "split", "calibration", "target_error", "role")
    return {key: value for key, value in parameters.items() if key in common}
