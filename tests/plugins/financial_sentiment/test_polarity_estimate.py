"""The recipe of the plugin says beforehand what it will need, as the one that it is made of."""

from __future__ import annotations

import pytest

from mercat.registry import Registry
from mercat.store import Store
from mercat.testing.training import topic_examples
from mercat.training.train import estimate
from mercat_financial_sentiment import mercat_register


def test_every_recipe_of_the_plugin_can_say_what_it_will_need(tmp_path, tiny_bert):
    pytest.importorskip("torch")
    from mercat.encoders.transformer import Transformer

    registry = Registry()
    mercat_register(registry)
    parts = registry.kind("recipes").parts()
    assert [part.name for part in parts] == ["financial-sentiment/polarity"]
    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as store:
        store.upsert(topic_examples(60), collection="news")
        recipe = parts[0].load()(Transformer(str(tiny_bert)), collection="news", epochs=2, batch_size=16)
        found = estimate(recipe, name="polarity", store=store, scratch_root=tmp_path / "scratch")
    assert found.updates == 6
    assert 0 < found.trainable_parameters <= found.parameters
    assert found.seconds > 0
    assert not (tmp_path / "scratch").exists()
