"""One PostgreSQL server for the whole run: starting it takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mercat.testing.store import PostgresForTests


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresForTests]:
    from mercat.testing.store import postgres

    with postgres() as running:
        yield running
