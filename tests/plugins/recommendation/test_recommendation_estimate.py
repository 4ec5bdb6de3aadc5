"""What a ranker will cost is said before, and held against what it took."""

from __future__ import annotations

from mercat.artifacts import Artifacts
from mercat.registry import Registry
from mercat.training.report import load_report
from mercat.training.train import train
from mercat_recommendation import mercat_register
from mercat_recommendation.features import NAMES


def test_every_recipe_of_the_plugin_can_say_what_it_will_need():
    registry = Registry()
    mercat_register(registry)
    parts = registry.kind("recipes").parts()
    assert [part.name for part in parts] == ["recommendation/ranker"]
    assert all(hasattr(part.load(), "estimate") for part in parts)


def test_a_ranker_is_estimated_from_some_people_and_measured(shop, store, tmp_path):
    told = []
    options = {"store": store, "artifacts": Artifacts(tmp_path / "artifacts"), "scratch_root": tmp_path / "scratch"}
    artifact = train(shop.ranker(), name="shop", recipe_name="ranker", expect=told.append, **options)
    (found,) = told
    assert found.stages.keys() == {"read", "encode", "walk", "fit"}
    assert all(seconds >= 0 for seconds in found.stages.values())
    assert found.trainable_parameters == len(NAMES) <= found.parameters
    measured = load_report(artifact.folder).details["measured"]
    assert measured["seconds_estimated_per_measured"] > 0
    assert not (tmp_path / "scratch" / "shop").exists()
