"""Financial sentiment monitoring: topic and polarity of news, trends in event time, alerts with their articles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mercat.hooks import hookimpl

if TYPE_CHECKING:
    from mercat.registry import Registry

PLUGIN_API = 1


@hookimpl
def mercat_register(registry: Registry) -> None:
    name, package = "financial-sentiment", "mercat_financial_sentiment"
    registry.services.add(name, f"{package}.service:FinancialSentiment", summary="Polarity of a text, trend of a topic")
    registry.tasks.add(f"{name}/monitor", f"{package}.monitor:Monitor", summary="Score new articles, raise alerts")
    registry.recipes.add(
        f"{name}/polarity", f"{package}.recipe:Polarity", summary="Fine-tune polarity; word list beside it"
    )
    registry.routers.add(name, f"{package}.web:monitor", summary="The trend page and the alerts")
    registry.tables.add("financial_sentiment", f"{package}.tables:metadata", migrations=f"{package}.migrations")
