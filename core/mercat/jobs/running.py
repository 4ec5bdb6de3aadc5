"""What keeps a workspace in step with what comes in: take in, index, do tasks, follow, take up new artifacts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from mercat.flow import Account, Feed, Follow, Round, TaskRun, Transform, ingest, run_task
from mercat.retrieval.base import Refreshed, Retriever
from mercat.signatures import dependencies
from mercat.training.base import Progress
from mercat.training.progress import silent
from mercat.workspace import Workspace

_log = logging.getLogger(__name__)


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
        done[name] = act(progress=rows_of(progress, f"index {name}"))
    return done


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


def reload_beside(workspace: Workspace, stop: threading.Event, *, pause_s: float = 1.0) -> None:
    """Take up new artifacts until `stop` is set: what is left to a server while another process does the rest."""
    while not stop.wait(pause_s):
        try:
            reload_artifacts(workspace)
        except Exception:
            _log.exception("new artifacts were not taken up")


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


def rows_of(progress: Progress, stage: str) -> Callable[[int, int], None]:
    """Return the progress of a retriever as a stage of a job's."""
    return lambda done, total: progress(stage, done, total)
