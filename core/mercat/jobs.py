"""What one does with a workspace: take in, index, train, evaluate, follow. Commands are thin over these."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
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
from mercat.flow import Account, Feed, Follow, Round, TaskRun, Transform, ingest, run_task
from mercat.indexes.base import IndexFactory
from mercat.indexes.move import Moved
from mercat.retrieval.base import Refreshed, Retriever
from mercat.signatures import dependencies
from mercat.training.base import Evaluation, Progress, Recipe
from mercat.training.estimating import Estimate
from mercat.training.progress import silent
from mercat.training.search import DEFAULTS, Search, parse_space, search
from mercat.training.train import estimate, evaluate, train
from mercat.workspace import Workspace

log = logging.getLogger(__name__)
UPDATE = "update"
"""The recipe that goes on from an artifact, and the table of a recipe's section that has its parameters."""


def ingest_source(workspace: Workspace, name: str, *, progress: Progress = silent, restart: bool = False) -> Account:
    """Pull what a source has; every row is redacted (unless its section says otherwise), stored and counted."""
    feed = feed_of(workspace, name)
    return ingest(
        feed.source,
        workspace.store,
        name=name,
        collection=feed.collection,
        transforms=feed.transforms,
        progress=progress,
        restart=restart,
    )


def feed_of(workspace: Workspace, name: str) -> Feed:
    """Return a source with the keys of its section that are for flow: `collection`, `transforms`, `every_s`."""
    section = workspace.config.section("sources", name)
    collection = str(section.flow.get("collection", name))
    names = section.flow.get("transforms", ["redact"])
    every_s = float(section.flow.get("every_s", 300.0))
    transforms = [_transform(workspace, str(each)) for each in names]
    return Feed(name, workspace.get("sources", name), collection, every_s, transforms)


def run_tasks(workspace: Workspace, *, progress: Progress = silent) -> list[TaskRun]:
    """Bring every task of the config up to date with the store; one that waits for an artifact is left for later."""
    names = [name for name in workspace.config.sections("tasks") if not waits_for(workspace, "tasks", name)]
    return [run_task(workspace.get("tasks", name), workspace.store, progress=progress) for name in names]


def waits_for(workspace: Workspace, kind: str, name: str) -> str:
    """Return the untrained artifact that a section needs, itself or by the sections that it names; "" without one."""
    section = workspace.config.section(kind, name)
    artifact = str(section.parameters.get("artifact", ""))
    if artifact and artifact not in workspace.artifacts.names():
        return artifact
    needed = dependencies(workspace.part(section).load(), section, workspace.registry)
    return next((found for each in needed if (found := waits_for(workspace, *each))), "")


def refresh_all(
    workspace: Workspace, *, names: Sequence[str] | None = None, anew: bool = False, progress: Progress = silent
) -> dict[str, Refreshed]:
    """Bring search indexes up to date with the store; `anew` encodes every row again."""
    done = {}
    for name in names or workspace.config.sections("retrievers"):
        retriever: Retriever = workspace.get("retrievers", name)
        act = retriever.rebuild if anew else retriever.refresh
        done[name] = act(progress=_rows_of(progress, f"index {name}"))
    return done


def move_index(workspace: Workspace, retriever: str, to: str, *, progress: Progress = silent) -> Moved:
    """Copy the vectors behind a retriever into the index of another section, without encoding again.

    Raises ConfigError for a retriever without vectors.
    """
    source: Any = workspace.get("retrievers", retriever)
    if not hasattr(source, "move_to"):
        raise ConfigError(f"The index of '{retriever}' cannot move", "It holds no vectors", "a dense retriever")
    target: IndexFactory = workspace.get("indexes", to)
    moved: Moved = source.move_to(target, progress=_rows_of(progress, f"move {retriever}"))
    return moved


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


def follow(
    workspace: Workspace,
    *,
    sources: Sequence[str] | None = None,
    tell: Callable[[Round], None] = lambda round_: None,
    every_round: Callable[[], object] = lambda: None,
) -> Follow:
    """Return the loop of a running workspace: sources when due, tasks, indexes, deliveries. Call its `run`."""

    def told(round_: Round) -> None:
        tell(round_)
        every_round()

    retrievers = {name: workspace.get("retrievers", name).refresh for name in workspace.config.sections("retrievers")}
    names = workspace.config.sections("sources") if sources is None else sources
    return Follow(
        workspace.store,
        feeds=[feed_of(workspace, name) for name in names],
        tasks=[workspace.get("tasks", name) for name in workspace.config.sections("tasks")],
        sinks=sinks_of(workspace),
        refresh=retrievers,
        clock=workspace.clock,
        tell=told,
    )


def sinks_of(workspace: Workspace) -> dict[str, Any]:
    """Return the sinks of the config by name."""
    return {name: workspace.get("sinks", name) for name in workspace.config.sections("sinks")}


def work_beside(workspace: Workspace, stop: threading.Event) -> None:
    """Do a server's work beside answering until `stop` is set: sources when due, tasks, deliveries, new artifacts.

    A source without `every_s` in its section is not followed: it is read by `mercat ingest`.
    """
    sections = workspace.config.sections("sources")
    followed = [name for name, section in sections.items() if "every_s" in section.flow]
    follow(workspace, sources=followed, every_round=lambda: reload_artifacts(workspace)).run(stop)


def reload_artifacts(workspace: Workspace) -> list[str]:
    """Let every part whose artifact was promoted or rolled back take up the new version; return their names."""
    kinds = ("classifiers", "taggers", "matchers", "rerankers", "labellers", "regressors", "services")
    parts = [(name, workspace.built(kind, name)) for kind in kinds for name in workspace.config.sections(kind)]
    reloading = ((name, getattr(part, "reload", None)) for name, part in parts)
    return [name for name, reload in reloading if callable(reload) and reload()]


def _transform(workspace: Workspace, name: str) -> Transform:
    """A transform is named by its section, or directly by its part when it needs no parameters."""
    if name in workspace.config.sections("transforms"):
        transform: Transform = workspace.get("transforms", name)
        return transform
    built: Transform = workspace.registry.transforms.get(name).load()()
    return built


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


def _rows_of(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(stage, done, total)
