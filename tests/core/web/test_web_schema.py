from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Literal

import numpy as np
import pydantic
import pytest

from mercat.values import Request
from mercat.web.schema import model_of, to_dataclass, to_json


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing."""

    id: str
    price: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked(Request):
    """A question with everything in it."""

    items: Sequence[Item]
    best: Item | None = None
    colour: Colour = Colour.RED
    size: Literal["s", "l"] = "s"
    names: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    scores: Mapping[str, float] = field(default_factory=dict)
    after: datetime | None = None
    count: int = 3


def test_a_model_gives_back_the_dataclass() -> None:
    model = model_of(Asked, strict=True)
    body = {
        "items": [{"id": "a", "price": 1.5}],
        "best": {"id": "b"},
        "names": ["x"],
        "kinds": ["k", "k"],
        "scores": {"a": 1},
        "after": "2026-01-01T00:00:00Z",
        "context": {"deep": [1, {"a": None}]},
    }
    asked = to_dataclass(Asked, model.model_validate(body))
    assert asked == Asked(
        items=[Item("a", 1.5)],
        best=Item("b"),
        names=("x",),
        kinds=frozenset({"k"}),
        scores={"a": 1.0},
        after=datetime(2026, 1, 1, tzinfo=UTC),
        context={"deep": [1, {"a": None}]},
    )
    assert to_dataclass(Asked, model.model_validate({"items": []})) == Asked(items=[])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": [{"id": "a", "more": 1}]},
        {"items": [{"id": "a" * 8001}]},
        {"items": [{"id": "a"}] * 257},
        {"items": [], "size": "m"},
        {"items": [], "after": "2026-01-01T00:00:00"},
        {"items": [], "scores": {str(n): 1 for n in range(257)}},
        {"items": [], "__class__": "x"},
    ],
)
def test_what_does_not_fit_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        model_of(Asked, strict=True).model_validate(body)


def test_plain_data_of_everything_that_answers_hold() -> None:
    value = {
        "item": Item("a", float("inf")),
        "array": np.array([[1.0, np.nan]], dtype=np.float32),
        "scalar": np.float32(0.5),
        "colour": Colour.RED,
        "day": date(2026, 1, 2),
        "set": {"x"},
        3: (True, None),
    }
    assert to_json(value) == {
        "item": {"id": "a", "price": None},
        "array": [[1.0, None]],
        "scalar": 0.5,
        "colour": "red",
        "day": "2026-01-02",
        "set": ["x"],
        "3": [True, None],
    }
    with pytest.raises(TypeError, match="object is not plain data"):
        to_json(object())
