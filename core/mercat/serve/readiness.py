"""From started to ready: what is built and warmed in the background, and how far that is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mercat.signatures import dependencies

if TYPE_CHECKING:
    from mercat.workspace import Workspace


@dataclass(slots=True)
class Readiness:
    """What `/readyz` tells. `took_s` holds the seconds per part; `failure` is what stopped the start."""

    state: Literal["loading", "ready", "failed"] = "loading"
    took_s: dict[str, float] = field(default_factory=dict)
    failure: BaseException | None = None

    def details(self) -> dict[str, Any]:
        """Return plain data; of a failure only its kind, for the message may name paths."""
        told: dict[str, Any] = {"status": self.state, "parts": {k: round(v, 3) for k, v in self.took_s.items()}}
        if self.failure is not None:
            told["failure"] = type(self.failure).__name__
        return told


def warm(workspace: Workspace, *, done: Callable[[str, float], None]) -> None:
    """Build every service and router with the parts that they name, and load the weights of those that can."""
    for kind, name in needed(workspace):
        started = time.perf_counter()
        part = workspace.get(kind, name)
        if callable(warm_up := getattr(part, "warm_up", None)):
            warm_up()
        done(f"{kind}.{name}", time.perf_counter() - started)


def needed(workspace: Workspace) -> list[tuple[str, str]]:
    """Return (kind, name) of what services and routers are made of, each after what it is made of."""
    ordered: dict[tuple[str, str], None] = {}
    for kind in ("services", "routers"):
        for name in workspace.config.sections(kind):
            ordered.update(dict.fromkeys(_with_parts(workspace, (kind, name), ())))
    return list(ordered)


def _with_parts(
    workspace: Workspace, key: tuple[str, str], above: tuple[tuple[str, str], ...]
) -> Iterator[tuple[str, str]]:
    if key in above:
        return  # a circle: `get` raises the error that shows it
    section = workspace.config.section(*key)
    for part in dependencies(workspace.part(section).load(), section, workspace.registry):
        yield from _with_parts(workspace, part, (*above, key))
    yield key
