"""Recommendation ranking that reads the texts of items: works from the first click, says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mercat.hooks import hookimpl

if TYPE_CHECKING:
    from mercat.registry import Registry

PLUGIN_API = 1


@hookimpl
def mercat_register(registry: Registry) -> None:
    package = "mercat_recommendation"
    registry.recipes.add(
        "recommendation/ranker", f"{package}.recipe:Ranker", summary="Learn a ranker from a catalogue and events"
    )
    registry.services.add("recommendation", f"{package}.service:Recommender", summary="Rank items, with reasons")
    registry.routers.add("recommendation", f"{package}.web:shop", summary="A page to try a ranking")
