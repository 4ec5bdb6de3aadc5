"""A small shop with plain tastes: even users like tea, odd ones like bicycles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mercat.artifacts import Artifacts
from mercat.config import Config
from mercat.encoders.hashing import Hashing
from mercat.store import Store
from mercat.training.train import train
from mercat.values import Document, Interaction
from mercat.workspace import Workspace
from mercat_recommendation.recipe import Ranker

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, USERS, PER_SIDE = 30, 24, 20
NOW = START + timedelta(days=DAYS)
LEAVES = ("green tea", "black tea", "white tea", "oolong tea", "mint tea")
PARTS = ("bicycle bell", "bicycle light", "bicycle pump", "bicycle saddle", "bicycle bag")


def catalogue() -> list[Document]:
    rows = []
    for side, (category, words) in enumerate((("tea", LEAVES), ("cycling", PARTS))):
        for number in range(PER_SIDE):
            title = f"{words[number % 5]} no {number}"
            rows.append(
                Document(
                    f"{category}{number:02d}",
                    f"A {words[number % 5]} for every day",
                    title=title,
                    metadata={"category": category, "price": 5 + 20 * side + number % 4, "stock": 3},
                )
            )
    return rows


def happenings() -> list[Interaction]:
    rng = np.random.default_rng(7)
    items = [row.id for row in catalogue()]
    rows = []
    for user in range(USERS):
        own = items[:PER_SIDE] if user % 2 == 0 else items[PER_SIDE:]
        other = items[PER_SIDE:] if user % 2 == 0 else items[:PER_SIDE]
        wanted = [*rng.permutation(own)[:16], *rng.permutation(other)[:1]]
        days = np.sort(rng.uniform(0, DAYS, len(wanted)))
        for number, (item, day) in enumerate(zip(rng.permutation(wanted), days, strict=True)):
            at = START + timedelta(days=float(day))
            rows.append(Interaction(f"e{user:02d}-{number:02d}", f"u{user:02d}", str(item), "click", at))
    return sorted(rows, key=lambda row: row.at)


def ranker(**parameters: object) -> Ranker:
    return Ranker(Hashing(), collection="events", catalogue="items", window_days=2, **parameters)  # type: ignore[arg-type]


def fill(store: Store) -> None:
    store.upsert(catalogue(), collection="items")
    store.upsert(happenings(), collection="events")


def train_in(folder: Path, store: Store, *, name: str = "shop") -> None:
    train(
        ranker(),
        name=name,
        store=store,
        artifacts=Artifacts(folder / "artifacts"),
        scratch_root=folder / "scratch",
        recipe_name="recommendation/ranker",
    )


def prepare(folder: Path) -> None:
    """Fill a store and train the ranker `shop` on it; the folder can be opened, or copied and then opened."""
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        fill(store)
        train_in(folder, store)


def open_shop(folder: Path, **service: Any) -> Workspace:
    """Open a folder that was prepared, with the page at `/shop`; lists of five are chosen by index, ties, popularity."""
    data: dict[str, Any] = {
        "mercat": {"folder": "."},
        "encoders": {"small": {"use": "hashing"}},
        "indexes": {"items": {"use": "exact"}},
        "services": {
            "shop": {
                "use": "recommendation", "artifact": "shop", "encoder": "small", "catalogue": "items",
                "events": "events", "index": "items", "candidates": 20, **service,
            }
        },
        "routers": {"shop": {"use": "recommendation", "service": "shop", "events": "events"}},
    }  # fmt: skip
    return Workspace(Config(data, folder=folder), clock=lambda: NOW)
