"""Customer-service dialogue: calibrated intents, approved replies, help articles, and hand-off to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mercat.hooks import hookimpl

if TYPE_CHECKING:
    from mercat.registry import Registry

PLUGIN_API = 1


@hookimpl
def mercat_register(registry: Registry) -> None:
    package = "mercat_customer_service"
    registry.services.add(
        "customer-service", f"{package}.service:CustomerService", summary="Answer, ask back, or hand over"
    )
    registry.routers.add("customer-service", f"{package}.web:desk", summary="The chat page and the desk")
    registry.tables.add("customer_service", f"{package}.tables:metadata", migrations=f"{package}.migrations")
