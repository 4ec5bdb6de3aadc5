from __future__ import annotations

from typing import ClassVar

from mercat.registry import TableSet
from mercat.testing import PluginContract
from mercat.testing.store import TableSetContract


class TestFinancialSentimentPlugin(PluginContract):
    plugin: ClassVar[str] = "financial-sentiment"


class TestFinancialSentimentTables(TableSetContract):
    tables = TableSet(
        "financial_sentiment", "mercat_financial_sentiment.tables:metadata", "mercat_financial_sentiment.migrations"
    )
