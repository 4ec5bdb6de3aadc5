"""Which items go with which, learned from what the same users touched. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat_recommendation.events import Log

_USERS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The strongest ties of each item: `items` and `values` have shape (items, kept); unused places hold value 0."""

    items: NDArray[np.int32]
    values: NDArray[np.float32]

    def scores(self, history: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return shape (items,): the ties of the items of a history, weighted and summed."""
        ties = self.values[history] * weights[:, None]
        return np.bincount(self.items[history].ravel(), ties.ravel(), minlength=len(self.items)).astype(np.float32)

    def tie(self, one: int, others: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return shape (len(others),): the value from each of `others` to the item `one`, 0 where there is no tie."""
        found = self.items[others] == one
        return np.asarray((self.values[others] * found).sum(axis=1), dtype=np.float32)


def recency(length: int, *, half_life_items: float) -> NDArray[np.float32]:
    """Return weights for a history of `length` items, oldest first, that sum to 1: halved every `half_life_items`.

    The shape is (length,).
    """
    weights = 0.5 ** (np.arange(length, dtype=np.float64)[::-1] / half_life_items)
    return (weights / weights.sum()).astype(np.float32) if length else weights.astype(np.float32)


def busiest(log: Log, items: int, *, most: int) -> NDArray[np.int64]:
    """Return the numbers of the items with the most events, at most `most`, in order of number.

    The shape is (at most `most`,).
    """
    counts = np.bincount(log.item[log.strength > 0], minlength=items)
    known = np.flatnonzero(counts)
    if len(known) <= most:
        return known
    return np.sort(known[np.argsort(-counts[known], kind="stable")[:most]])


def together(log: Log, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return shape (chosen, chosen): how many users touched both items; on the diagonal, how many touched it."""
    places = _places(chosen, log)
    ok = (places >= 0) & (log.strength > 0)
    users, rows = np.unique(log.user[ok], return_inverse=True)
    columns = places[ok]
    order = np.argsort(rows, kind="stable")
    rows, columns = rows[order], columns[order]
    total = np.zeros((len(chosen), len(chosen)), dtype=np.float32)
    for start in range(0, len(users), _USERS_AT_ONCE):
        low, high = np.searchsorted(rows, [start, start + _USERS_AT_ONCE])
        touched = np.zeros((min(_USERS_AT_ONCE, len(users) - start), len(chosen)), dtype=np.float32)
        touched[rows[low:high] - start, columns[low:high]] = 1.0
        total += touched.T @ touched
    return total


def ease(counts: NDArray[np.float32], *, strength: float) -> NDArray[np.float32]:
    """Return the item-item weights of EASE (Steck 2019, "Embarrassingly Shallow Autoencoders"), diagonal 0.

    `counts` is shape (items, items) from `together`; `strength` is the L2 penalty.
    """
    gram = counts.copy()
    gram[np.diag_indices(len(gram))] += strength
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    weights[np.diag_indices(len(weights))] = 0.0
    return np.asarray(weights, dtype=np.float32)


def likeness(counts: NDArray[np.float32], *, lean: float, shrink: float = 10.0) -> NDArray[np.float32]:
    """Return counts over `count_from ** lean * count_to ** (1 - lean) + shrink`, diagonal 0; 0.5 is the cosine.

    The shape is that of `counts`.
    """
    sizes = np.maximum(np.diag(counts), 1e-9)
    found = counts / (sizes[:, None] ** lean * sizes[None, :] ** (1 - lean) + shrink)
    found[np.diag_indices(len(found))] = 0.0
    return np.asarray(found, dtype=np.float32)


def following(log: Log, chosen: NDArray[np.int64], *, reach: int = 10, shrink: float = 5.0) -> NDArray[np.float32]:
    """Return shape (chosen, chosen): how often the second item came within `reach` events after the first.

    An event `n` steps on counts 0.8 ** (n - 1); rows are divided by their sum plus `shrink`.
    """
    ok = log.strength > 0
    order = np.argsort(log.user[ok], kind="stable")
    user, place = log.user[ok][order], _places(chosen, log)[ok][order]
    size = len(chosen)
    flat = np.zeros(size * size, dtype=np.float64)
    for step in range(1, min(reach, len(user) - 1) + 1):
        pairs = (user[step:] == user[:-step]) & (place[step:] >= 0) & (place[:-step] >= 0)
        cells = place[:-step][pairs] * size + place[step:][pairs]
        np.add.at(flat, cells, 0.8 ** (step - 1))
    table = flat.reshape(size, size)
    table[np.diag_indices(size)] = 0.0
    return np.asarray(table / (table.sum(axis=1, keepdims=True) + shrink), dtype=np.float32)


def strongest(table: NDArray[np.float32], chosen: NDArray[np.int64], *, items: int, keep: int) -> Neighbours:
    """Return the `keep` largest ties (by size) of each chosen item, in the numbers of the whole catalogue."""
    kept = min(keep, len(chosen))
    found = np.zeros((items, kept), dtype=np.int32)
    values = np.zeros((items, kept), dtype=np.float32)
    if kept:
        top = np.argpartition(-np.abs(table), kept - 1, axis=1)[:, :kept]
        found[chosen] = chosen[top]
        values[chosen] = np.take_along_axis(table, top, axis=1)
    return Neighbours(found, values)


def factors(table: NDArray[np.float32], *, dimensions: int, seed: int, rounds: int = 4) -> NDArray[np.float32]:
    """Return shape (items, dimensions): coordinates whose inner products come close to a symmetric table.

    Subspace iteration (Halko, Martinsson and Tropp 2011); directions with negative values are dropped to 0.
    """
    size = len(table)
    wide = min(size, dimensions + 8)
    basis = np.random.default_rng(seed).standard_normal((size, wide)).astype(np.float32)
    for _ in range(rounds):
        basis = _orthonormal(table @ basis)
    values, turned = np.linalg.eigh(basis.T @ table @ basis)
    best = np.argsort(-values, kind="stable")[:dimensions]
    found = (basis @ turned[:, best]) * np.sqrt(np.maximum(values[best], 0.0))
    padded = np.zeros((size, dimensions), dtype=np.float32)
    padded[:, : found.shape[1]] = found
    return padded


def _orthonormal(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return columns of length 1 at right angles that span the same; directions too weak to tell become 0.

    By the eigenvectors of the small Gram matrix: a QR of a tall matrix makes thousands of tiny threaded calls.
    """
    wide = columns.astype(np.float64)
    wide /= np.maximum(np.linalg.norm(wide, axis=0), 1e-30)
    values, turned = np.linalg.eigh(wide.T @ wide)
    kept = values > 1e-8 * values[-1]
    shrunk = np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return np.asarray(wide @ (turned * shrunk), dtype=np.float32)


def _places(chosen: NDArray[np.int64], log: Log) -> NDArray[np.int64]:
    top = int(max(log.item.max(initial=0), chosen.max(initial=0))) + 1
    places = np.full(top, -1, dtype=np.int64)
    places[chosen] = np.arange(len(chosen))
    return places[log.item]
