"""What every recipe must do. Inherit `RecipeContract`, give it a recipe and a store with rows that it can learn."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mercat.artifacts import Artifact, Artifacts
from mercat.errors import DataError
from mercat.store import Store
from mercat.testing.contract import Contract
from mercat.training.base import Recipe
from mercat.training.train import evaluate, train
from mercat.values import Example

NAME = "intents"
_PLAIN = {".json", ".safetensors", ".npy", ".txt", ".faiss", ".onnx"}


class RecipeContract(Contract):
    """Tests that a recipe inherits. The collection should be learnable in seconds, with a test part."""

    _made: tuple[Path, Artifact]

    @abstractmethod
    def recipe(self) -> Recipe:
        """Return a new recipe with the same parameters each time."""

    @abstractmethod
    def fill(self, store: Store) -> None:
        """Put the rows of the recipe's collection into a store."""

    def train(self, folder: Path, *, seed: int = 0) -> Artifact:
        """Train once in `folder` and return the artifact."""
        with Store.open(f"sqlite:///{folder}/mercat.db") as store:
            self.fill(store)
            return train_in(folder, self.recipe(), store=store, seed=seed)

    @pytest.fixture
    def made(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
        """Return (folder, artifact), trained once for the class."""
        owner = type(self)
        if "_made" not in vars(owner):
            folder = tmp_path_factory.mktemp("recipe")
            owner._made = folder, self.train(folder)
        return owner._made

    def test_it_is_a_recipe(self) -> None:
        recipe = self.recipe()
        assert isinstance(recipe, Recipe)
        assert recipe.kind
        assert recipe.collection

    def test_the_artifact_says_what_it_is(self, made: tuple[Path, Artifact]) -> None:
        artifact = made[1]
        assert artifact.kind == self.recipe().kind
        assert artifact.data_digest
        assert artifact.metrics
        report = json.loads((artifact.folder / "report.json").read_text(encoding="utf-8"))
        assert report["metrics"].keys() == artifact.metrics.keys()

    def test_it_writes_plain_files_only(self, made: tuple[Path, Artifact]) -> None:
        files = [path for path in made[1].folder.rglob("*") if path.is_file()]
        assert {path.suffix for path in files} <= _PLAIN

    def test_scratch_is_cleared_after_success(self, made: tuple[Path, Artifact]) -> None:
        assert not (made[0] / "scratch" / NAME).exists()

    def test_the_same_seed_gives_the_same_figures(self, made: tuple[Path, Artifact], tmp_path: Path) -> None:
        again = self.train(tmp_path)
        assert again.data_digest == made[1].data_digest
        for name, metric in made[1].metrics.items():
            assert again.metrics[name]["value"] == pytest.approx(metric["value"], abs=1e-6), name

    def test_evaluation_stands_beside_a_named_baseline(self, made: tuple[Path, Artifact]) -> None:
        folder, artifact = made
        with Store.open(f"sqlite:///{folder}/mercat.db") as store:
            found = evaluate(self.recipe(), artifact=artifact, store=store, scratch_root=folder / "scratch")
        assert found.baseline
        assert found.differences.keys() <= found.metrics.keys()
        for name, difference in found.differences.items():
            expected = found.metrics[name].value - found.baseline_metrics[name].value
            assert difference.value == pytest.approx(expected, abs=1e-6), name
            assert difference.low <= difference.value <= difference.high, name

    def test_an_empty_collection_is_refused_in_three_parts(self, tmp_path: Path) -> None:
        with Store.open(f"sqlite:///{tmp_path}/empty.db") as store, pytest.raises(DataError) as caught:
            train_in(tmp_path, self.recipe(), store=store)
        assert caught.value.asked
        assert caught.value.found
        assert caught.value.next
        assert Artifacts(tmp_path / "artifacts").names() == []


def train_in(folder: Path, recipe: Recipe, *, store: Store, **options: Any) -> Artifact:
    """Train the artifact "intents" below `folder`: in `artifacts/`, with checkpoints in `scratch/intents/`.

    `options` are further ones of `mercat.training.train.train`.
    """
    return train(
        recipe,
        name=NAME,
        store=store,
        artifacts=Artifacts(folder / "artifacts"),
        scratch_root=folder / "scratch",
        recipe_name="tested",
        **options,
    )


def topic_examples(rows: int, *, seed: int = 0, split: str = "") -> list[Example]:
    """Return made-up bank questions of three labels, easy to tell apart but for every eleventh."""
    random, found = np.random.default_rng(seed), []
    for number in range(rows):
        label, other = list(_TOPICS)[number % 3], list(_TOPICS)[(number + 1) % 3]
        words = [*random.choice(_TOPICS[label], 2), *random.choice(_FILLER, 4)]
        if number % 11 == 5:
            words[0] = random.choice(_TOPICS[other])
        text = " ".join(random.permutation(words))
        found.append(Example(f"{split or 'row'}-{seed}-{number:04d}", text, label, split=split))
    return found


_TOPICS = {
    "card": ["card", "plastic", "chip", "pin", "blocked", "stolen", "wallet", "contactless"],
    "refund": ["refund", "money", "back", "merchant", "return", "dispute", "charged", "twice"],
    "transfer": ["transfer", "iban", "wire", "recipient", "sent", "pending", "abroad", "bank"],
}
_FILLER = "please i my the a when can how is it now today tell me about again".split()  # noqa: SIM905
