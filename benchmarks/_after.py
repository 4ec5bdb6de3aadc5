"""Recipes that go on from what another one made: `prompt` from `mlm`, `distill` and `quantise` from `full`.

Both are trained on the same rows; time and memory are those of the second alone, figures those of what it made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._learning import ROWS, Made, Setting, answered, encoder_of, trained
from benchmarks.frame import Context
from mercat.values import Example

_FIRST = "first"


def learned_after(
    context: Context, rows: Sequence[Example], setting: Setting, before: Setting, *, seed: int
) -> dict[str, Any]:
    """Train `before`, then `setting` from it, and answer every test row; see `benchmarks._learning.answered`."""
    with tempfile.TemporaryDirectory(prefix="mercat-benchmark-") as name:
        folder = Path(name)
        first = trained(context, rows, before, seed=seed, folder=folder, name=_FIRST)
        recipe = _GOING_ON[setting.recipe](context, setting, first, rows)
        made = trained(context, rows, setting, seed=seed, folder=folder, recipe=recipe)
        return {**answered(made, rows), "before": {"recipe": before.recipe, **first.spent}}


def _prompt(context: Context, setting: Setting, first: Made, rows: Sequence[Example]) -> Any:
    from mercat.encoders.transformer import Transformer
    from mercat.training.classifying.prompt import Prompt

    encoder = Transformer(artifact=_FIRST, artifacts=first.artifacts)
    known = set(encoder.load_tokenizer().get_vocab())
    labels = sorted({row.label for row in rows})
    words = {label: [word for word in label.lower().split("_") if word in known] or ["other"] for label in labels}
    return Prompt(encoder, collection=ROWS, words=words, **setting.parameters)


def _distill(context: Context, setting: Setting, first: Made, rows: Sequence[Example]) -> Any:
    from mercat.classifiers.trained import TrainedClassifier
    from mercat.training.smaller.distill import Distill

    teacher = TrainedClassifier(first.artifacts, artifact=_FIRST)
    return Distill(encoder_of(context, setting.encoder), teacher=teacher, collection=ROWS, **setting.parameters)


def _quantise(context: Context, setting: Setting, first: Made, rows: Sequence[Example]) -> Any:
    from mercat.training.smaller.quantise import Quantise

    return Quantise(first.artifacts, artifact=_FIRST, collection=ROWS, **setting.parameters)


_GOING_ON: dict[str, Callable[[Context, Setting, Made, Sequence[Example]], Any]] = {
    "prompt": _prompt,
    "distill": _distill,
    "quantise": _quantise,
}
