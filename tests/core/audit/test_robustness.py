"""What texts written otherwise do to a classifier: flips, the drop and the doubt are counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mercat.audit.base import Scored
from mercat.audit.robustness import robustness
from mercat.text.variants import WAYS, Way
from mercat.values import Example


def shout_minds(texts: Sequence[str]) -> np.ndarray:
    """Answers "b" to whatever is in upper case."""
    return np.array([[0.1, 0.9] if text.isupper() else [0.6, 0.4] for text in texts], dtype=np.float32)


def test_flips_drop_and_doubt_by_hand() -> None:
    rows = [Example("1", "one", "a"), Example("2", "two", "b"), Example("3", "THREE", "b"), Example("4", "four", "a")]
    scored = Scored(rows, ("a", "b"), shout_minds([row.text for row in rows]))
    ways = {"upper case": WAYS["upper case"], "nothing": Way(lambda text, chance: text, "")}
    (found,) = robustness(shout_minds, scored, ways=ways)
    assert (found.way, found.rows, found.flips.value) == ("upper case", 3, 1.0)  # the third was in upper case
    assert found.drop.value == pytest.approx(1 / 3)  # two were right and are wrong, one was wrong and is right
    assert found.doubt == pytest.approx(0.5)
    assert (found.examples[0].before, found.examples[0].after) == ("one", "ONE")
