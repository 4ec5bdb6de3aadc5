from __future__ import annotations

from typing import ClassVar

from mercat.registry import TableSet
from mercat.testing import PluginContract
from mercat.testing.store import TableSetContract


class TestCustomerServicePlugin(PluginContract):
    plugin: ClassVar[str] = "customer-service"


class TestCustomerServiceTables(TableSetContract):
    tables = TableSet(
        "customer_service", "mercat_customer_service.tables:metadata", "mercat_customer_service.migrations"
    )
