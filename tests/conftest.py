"""What the whole run shares: cores, which tests are too long for every day, and one PostgreSQL server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mercat.testing.store import PostgresForTests


# As many processes as cores run tests, and each library would start a thread for every core and let those that wait spin:
# a training of a second takes ten. These leave alone `mercat.compute.cores`, which OMP_NUM_THREADS would not.
for name, value in {"MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}.items():
    os.environ.setdefault(name, value)  # read when a library loads, so before any test file is

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
