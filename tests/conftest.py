"""What the whole run shares: which tests are too long for every day, and one PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mercat.testing.store import PostgresForTests


LONG = "long: pytest -m slow runs it"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip long tests, and say so, unless the run's -m speaks of them."""
    if "slow" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=LONG))


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresForTests]:
    """Starting it takes longer than most tests."""
    from mercat.testing.store import postgres

    with postgres() as running:
        yield running
