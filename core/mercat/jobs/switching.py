"""Another index or another encoder behind a retriever, while it answers: fill it beside, compare, switch, go back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from mercat.errors import ArtifactError, ConfigError, FingerprintError, MercatError
from mercat.indexes.move import Moved
from mercat.jobs.running import rows_of
from mercat.retrieval.base import Refreshed
from mercat.retrieval.dense import Dense
from mercat.retrieval.serving import Pair, Record, Serving
from mercat.retrieval.shadow import Shadow, shadow
from mercat.training.base import Progress
from mercat.training.progress import silent
from mercat.workspace import Workspace

_log = logging.getLogger(__name__)
LEAST = 0.95
"""The least overlap and filtered recall with which an index takes the place of another."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What stands ready beside the pair that answers, and how alike the two answer.

    `moved` says what was copied, None where all was encoded anew; `refreshed` what was taken in from the store since.
    """

    retriever: str
    now: Pair
    then: Pair
    moved: Moved | None
    refreshed: Refreshed
    shadow: Shadow


def move_index(
    workspace: Workspace, retriever: str, to: str, *, progress: Progress = silent, questions: int = 200
) -> Prepared:
    """Copy the vectors of a retriever into the index of another section without encoding them, and compare.

    What the store has got meanwhile is taken in. Whatever was killed goes on when it is called again, and what is there
    already is not written. The retriever answers as before. Raises ConfigError for one without vectors.
    """
    dense, serving = _dense(workspace, retriever)
    now = serving.now()
    then = Pair(now.encoder, to)
    if then == now:
        raise ConfigError(f"The index of '{retriever}' is to move to '{to}'", "It is there", "mercat index info")
    encoder, index = serving.parts(then)
    moved = dense.move_to(index, progress=rows_of(progress, f"move {retriever}"))
    return _compared(dense, dense.beside(encoder, index), retriever, now, then, moved, progress, questions)


def swap_encoder(
    workspace: Workspace,
    retriever: str,
    encoder: str,
    *,
    index: str = "",
    progress: Progress = silent,
    questions: int = 200,
) -> Prepared:
    """Encode the rows of a retriever with another encoder into an index beside the old one, and compare.

    The index is that of the section `index`, or one like the retriever's in a place of its own, "NAME@ENCODER". What
    was killed goes on from its last save when it is called again. The retriever answers as before. Raises ConfigError
    for one without vectors.
    """
    dense, serving = _dense(workspace, retriever)
    if getattr(workspace.get("retrievers", retriever), "learned", False):
        found = "Its weights were learned from the scores of the encoder that it has"
        cure = "leave `artifact` out for the swap, and learn the weights anew: mercat train"
        raise ConfigError(f"The encoder of '{retriever}' is to be '{encoder}'", found, cure)
    now = serving.now()
    then = Pair(encoder, index or f"{serving.configured.index}@{encoder}")
    if then.index == now.index:
        found = f"Its index '{now.index}' answers with vectors of '{now.encoder}'"
        raise ConfigError(f"The encoder of '{retriever}' is to be '{encoder}'", found, "another index")
    beside = dense.beside(*serving.parts(then))
    return _compared(dense, beside, retriever, now, then, None, progress, questions)


def switch(workspace: Workspace, prepared: Prepared, *, least: float = LEAST) -> Record:
    """Let what was prepared answer from now on, here and in every running server.

    Raises ArtifactError if it answers worse: fewer than `least` of the filtered neighbours, or after a move, which
    changes no vectors, of the hits.
    """
    found = prepared.shadow
    if found.filtered_recall < least or (prepared.moved is not None and found.overlap < least):
        told = f"overlap@{found.k} is {found.overlap:.3f} and filtered recall {found.filtered_recall:.3f}"
        raise ArtifactError(
            f"[retrievers.{prepared.retriever}] is to answer with {prepared.then}",
            f"On {found.questions} questions {told}; at least {least} is needed",
            "another kind of index, or a lower --least",
        )
    _, serving = _dense(workspace, prepared.retriever)
    return serving.switch(prepared.then)


def switch_back(workspace: Workspace, retriever: str, *, progress: Progress = silent) -> Record:
    """Let the pair before the last switch answer again, after it has taken in what the store has got since."""
    dense, serving = _dense(workspace, retriever)
    record = serving.record()
    if record and record.before:
        beside = dense.beside(*serving.parts(record.before[-1]))
        beside.refresh(progress=rows_of(progress, f"index {retriever}"))
    return serving.back()


def drop_deleted(workspace: Workspace) -> None:
    """Take what is gone from the store out of every search index, of those that do not answer now too.

    They were filled for a switch, or answered before one. A warning tells of an index that cannot be reached.
    """
    retrievers = workspace.config.sections("retrievers")
    servings = {name: serving for name in retrievers if (serving := serving_of(workspace, name))}
    answering = {serving.now().index for serving in servings.values()}
    for name in retrievers:
        workspace.get("retrievers", name).refresh()
        for index in sorted(_filled(workspace, servings[name]) - answering) if name in servings else ():
            try:
                _dense(workspace, name)[0].forget_deleted(workspace.get("indexes", index))
            except MercatError as error:
                _log.warning("rows that are gone may still be in the index '%s': %s", index, error)


def _filled(workspace: Workspace, serving: Serving) -> set[str]:
    """Return the indexes that may hold rows of a retriever: all sections, those beside, those of its record."""
    record = serving.record()
    beside = {f"{serving.configured.index}@{encoder}" for encoder in workspace.config.sections("encoders")}
    there = {name for name in beside if (workspace.folder / "indexes" / name).exists()}
    return {*workspace.config.sections("indexes"), *there, *(pair.index for pair in (record.before if record else ()))}


def serving_of(workspace: Workspace, retriever: str) -> Serving | None:
    """Return the record of what a retriever answers with; None for one without vectors."""
    found = getattr(_leg(workspace, retriever), "serving", None)
    return found if isinstance(found, Serving) else None


def _compared(
    dense: Dense,
    beside: Dense,
    retriever: str,
    now: Pair,
    then: Pair,
    moved: Moved | None,
    progress: Progress,
    questions: int,
) -> Prepared:
    told = rows_of(progress, f"index {retriever} with {then.index}")
    try:
        refreshed = beside.refresh(progress=told)
    except FingerprintError:  # of an encoder that the section named before; nothing answers with it
        refreshed = beside.rebuild(progress=told)
    dense.refresh(progress=told)
    return Prepared(retriever, now, then, moved, refreshed, shadow(dense, beside, questions=questions))


def _dense(workspace: Workspace, retriever: str) -> tuple[Dense, Serving]:
    leg = _leg(workspace, retriever)
    if not isinstance(leg, Dense) or leg.serving is None:
        found = "It holds no vectors of its own"
        raise ConfigError(
            f"The index of '{retriever}' cannot move", found, "a retriever with use = 'dense' or 'hybrid'"
        )
    return leg, leg.serving


def _leg(workspace: Workspace, retriever: str) -> Any:
    found = workspace.get("retrievers", retriever)
    return getattr(found, "dense", found)
