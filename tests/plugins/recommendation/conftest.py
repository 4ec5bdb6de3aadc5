from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import small_shop

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.store import Store
from mercat_recommendation.service import Recommender


@pytest.fixture(scope="session")
def shop() -> SimpleNamespace:
    """Return the functions of `small_shop`, for tests that fill and train themselves."""
    return SimpleNamespace(
        catalogue=small_shop.catalogue,
        happenings=small_shop.happenings,
        ranker=small_shop.ranker,
        fill=small_shop.fill,
        train_in=small_shop.train_in,
        now=small_shop.NOW,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `artifacts/`; its store is not for tests that write."""
    folder = tmp_path_factory.mktemp("shop")
    small_shop.prepare(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as opened:
        small_shop.fill(opened)
        yield opened


@pytest.fixture
def recommender(store: Store, trained: Path) -> Recommender:
    return Recommender(
        store,
        Artifacts(trained / "artifacts"),
        Hashing(),
        artifact="shop",
        catalogue="items",
        events="events",
        clock=lambda: small_shop.NOW,
    )


@pytest.fixture
def service(recommender: Recommender) -> Recommender:
    return recommender
