"""The items as columns: texts to encode and to name, categories, prices, and what filters look at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.values import Document

_SEPARATORS = str.maketrans({"|": ",", ";": ",", "，": ",", "、": ",", "；": ","})


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Items in order of id; every array has one row per item.

    `categories` has shape (items, names of categories), 0 or 1; `price` and `born`
    (Unix seconds) are NaN where unknown.
    """

    items: tuple[Document, ...]
    numbers: Mapping[str, int]
    category_names: tuple[str, ...]
    categories: NDArray[np.float32]
    price: NDArray[np.float64]
    born: NDArray[np.float64]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Catalogue:
        """Build from documents; of two with one id the last counts."""
        items = tuple(item for _, item in sorted({item.id: item for item in documents}.items()))
        named = [categories_of(item) for item in items]
        names = tuple(sorted({name for row in named for name in row}))
        places = {name: place for place, name in enumerate(names)}
        table = np.zeros((len(items), len(names)), dtype=np.float32)
        for row, found in enumerate(named):
            table[row, [places[name] for name in found]] = 1.0
        born = [item.published_at.timestamp() if item.published_at else math.nan for item in items]
        return cls(
            items,
            {item.id: number for number, item in enumerate(items)},
            names,
            table,
            np.array([_number(item.metadata.get("price")) for item in items], dtype=np.float64),
            np.array(born, dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.items)

    def texts(self) -> list[str]:
        """Return one text per item for an encoder: title, categories, description."""
        return [text_of(item) for item in self.items]

    def born_by_id(self) -> dict[str, float]:
        """Return when items came to be, for those that say so."""
        return {item.id: float(at) for item, at in zip(self.items, self.born, strict=True) if not math.isnan(at)}

    def passing(self, filters: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Return which items pass: each key's value (or one of its values) equals the item's; see RankRequest.

        The shape is (items,).
        """
        checks = [_check(key, wanted) for key, wanted in filters.items()]
        return np.array([all(check(item) for check in checks) for item in self.items], dtype=np.bool_)

    def in_stock(self) -> NDArray[np.bool_]:
        """Return which items can be had: those whose metadata does not say `stock` is 0, false or "no".

        The shape is (items,).
        """
        return np.array([_in_stock(item.metadata.get("stock")) for item in self.items], dtype=np.bool_)


def categories_of(item: Document) -> list[str]:
    """Return the names in the metadata's `category` (or `categories`): a list, or one text with | or commas."""
    found = item.metadata.get("categories", item.metadata.get("category", ""))
    parts = found.translate(_SEPARATORS).split(",") if isinstance(found, str) else [str(part) for part in found or ()]
    return sorted({part.strip() for part in parts if part.strip()})


def text_of(item: Document) -> str:
    """Return what an encoder reads of an item."""
    return ". ".join(part for part in (item.title.strip(), ", ".join(categories_of(item)), item.text.strip()) if part)


def _check(key: str, wanted: Any) -> Any:
    if key in ("max_price", "min_price"):
        bound, sign = _number(wanted), 1 if key == "max_price" else -1
        return lambda item: sign * _number(item.metadata.get("price")) <= sign * bound
    values = [str(value) for value in wanted] if isinstance(wanted, list | tuple | set) else [str(wanted)]
    return lambda item: not set(_values(item, key)).isdisjoint(values)


def _values(item: Document, key: str) -> Sequence[str]:
    if key in ("category", "categories"):
        return categories_of(item)
    if key in ("locale", "source"):
        return [getattr(item, key)]
    found = item.metadata.get(key)
    return [str(value) for value in found] if isinstance(found, list | tuple) else [str(found)]


def _in_stock(value: Any) -> bool:
    if value is None or value == "":
        return True
    if isinstance(value, str) and value.strip().casefold() in ("no", "false", "out", "无", "缺货"):
        return False
    number = _number(value)
    return math.isnan(number) or number > 0


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
