"""News feeds as sources: `feeds/rss` reads RSS, Atom and JSON Feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mercat.hooks import hookimpl

if TYPE_CHECKING:
    from mercat.registry import Registry


@hookimpl
def mercat_register(registry: Registry) -> None:
    registry.sources.add("feeds/rss", "mercat_connectors.feeds.rss:Rss", summary="Items of RSS, Atom and JSON feeds")
