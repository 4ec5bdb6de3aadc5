"""Help desks as sinks: `helpdesk/django-helpdesk`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mercat.hooks import hookimpl

if TYPE_CHECKING:
    from mercat.registry import Registry


@hookimpl
def mercat_register(registry: Registry) -> None:
    target = "mercat_connectors.helpdesk.django_helpdesk:DjangoHelpdesk"
    registry.sinks.add(
        "helpdesk/django-helpdesk", target, summary="Tickets and follow-ups in django-helpdesk, once each"
    )
