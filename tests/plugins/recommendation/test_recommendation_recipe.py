"""The recipe: contract, choice on validation, kills, erasure, refusals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.store import Store
from mercat.testing.training import RecipeContract
from mercat.training.base import Recipe
from mercat.training.train import evaluate, train
from mercat_recommendation.model import RankModel
from mercat_recommendation.recipe import Ranker


class TestRankerRecipe(RecipeContract):
    shop: ClassVar[SimpleNamespace]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _shop(cls, shop) -> None:
        cls.shop = shop

    def recipe(self) -> Recipe:
        return self.shop.ranker()

    def fill(self, store: Store) -> None:
        self.shop.fill(store)

    def test_it_beats_popularity_on_the_test_cuts(self, made) -> None:
        folder, artifact = made
        with Store.open(f"sqlite:///{folder}/mercat.db") as store:
            found = evaluate(self.recipe(), artifact=artifact, store=store, scratch_root=folder / "scratch")
        assert found.counts["cuts"] >= 5
        assert found.differences["ndcg@10"].low > 0


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path, shop) -> None:
    class Killed(Exception):
        pass

    def dies(stage: str, done: int, total: int, **figures: float) -> None:
        if stage == "cuts" and done == 4:
            raise Killed

    stages: list[int] = []
    artifacts, scratch = Artifacts(tmp_path / "artifacts"), tmp_path / "scratch"
    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as store:
        shop.fill(store)
        options = {"name": "shop", "store": store, "artifacts": artifacts, "scratch_root": scratch, "recipe_name": "r"}
        with pytest.raises(Killed):
            train(shop.ranker(), progress=dies, **options)
        kept = sorted(scratch.rglob("cuts-*/*.json"))
        assert len(kept) == 4
        times = [path.stat().st_mtime_ns for path in kept]
        train(
            shop.ranker(),
            progress=lambda stage, done, total, **_: stages.append([p.stat().st_mtime_ns for p in kept] == times),
            **options,
        )
        shop.train_in(tmp_path, store, name="unbroken")
    assert all(stages)
    went_on, unbroken = (RankModel.load(artifacts.open(name).folder) for name in ("shop", "unbroken"))
    assert np.array_equal(went_on.blend.weights, unbroken.blend.weights)
    assert went_on.way == unbroken.way


def test_an_erased_user_leaves_no_trace_in_the_next_training(tmp_path: Path, shop) -> None:
    """Erase and train; the arrays equal those of a store that never knew the user."""
    found = []
    for name in ("erased", "never"):
        folder = tmp_path / name
        folder.mkdir()
        with Store.open(f"sqlite:///{folder}/mercat.db") as store:
            shop.fill(store)
            if name == "erased":
                assert store.erase("u03")["interactions"] == 17
            else:
                ids = [row.id for row in store.rows("interactions", "events") if row.user_id == "u03"]
                with store.transaction() as tx:
                    tx.delete("interactions", ids, collection="events")
            shop.train_in(folder, store)
        artifact = Artifacts(folder / "artifacts").open("shop")
        found.append((artifact.data_digest, RankModel.load(artifact.folder)))
        assert not any(b"u03" in path.read_bytes() for path in artifact.folder.rglob("*") if path.is_file())
    assert found[0][0] == found[1][0]
    assert np.array_equal(found[0][1].ties.ease.values, found[1][1].ties.ease.values)
    assert np.array_equal(found[0][1].blend.weights, found[1][1].blend.weights)


def test_a_ranker_with_other_features_is_refused(trained: Path, tmp_path: Path) -> None:
    folder = Artifacts(trained / "artifacts").open("shop").folder
    changed = (folder / "ranker.json").read_text().replace("ease_recent", "moon_phase")
    (tmp_path / "ranker.json").write_text(changed)
    with pytest.raises(ArtifactError, match="ease_recent, moon_phase"):
        RankModel.load(tmp_path)


def test_events_of_other_items_only_are_refused_with_their_counts(tmp_path: Path, shop) -> None:
    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as store:
        shop.fill(store)
        other = shop.ranker()
        other.catalogue = "others"
        with pytest.raises(DataError, match="holds no documents"):
            train(
                other,
                name="x",
                store=store,
                artifacts=Artifacts(tmp_path / "a"),
                scratch_root=tmp_path / "s",
                recipe_name="r",
            )


def test_a_window_must_be_above_zero(shop) -> None:
    with pytest.raises(ConfigError, match="window_days = 0"):
        Ranker(Hashing(), collection="events", catalogue="items", window_days=0)
