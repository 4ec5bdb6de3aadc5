"""Look for what a test part gives away: texts, near-texts, groups and times that training has seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from mercat.evaluation.splits import key_of
from mercat.text import near_duplicates
from mercat.values import Example

Kind = Literal["exact", "normalised", "near", "group", "time"]
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Leak:
    """Rows of the part `right` that the part `left` gives away.

    `count` is how many rows of `right`, of `total`; `examples` are up to five (id in left, id in right, what both
    share). A row counts once, under the strictest kind.
    """

    kind: Kind
    left: str
    right: str
    count: int
    total: int
    examples: Sequence[tuple[str, str, str]]

    def __str__(self) -> str:
        share = f"{self.count} of {self.total} rows of '{self.right}'"
        return {
            "exact": f"{share} have a text that is in '{self.left}'",
            "normalised": f"{share} have a text that is in '{self.left}' but for case, width or white space",
            "near": f"{share} are near-duplicates of rows in '{self.left}'",
            "group": f"{share} belong to a group that is in '{self.left}'",
            "time": f"{share} are older than the newest row in '{self.left}'",
        }[self.kind]


def find_leaks(parts: Mapping[str, Sequence[Example]], *, near: float | None = 0.8) -> list[Leak]:
    """Compare every two parts, in the order of `parts` (train first), and return a finding per kind that occurs.

    `near` is the Jaccard likeness of runs of three characters from which two texts count as near-duplicates; None
    skips that comparison. Times are compared only between parts whose rows all have one.
    """
    found = []
    for left, right in combinations(parts, 2):
        found += _between(left, parts[left], right, parts[right], near)
    return found


def _between(
    left: str, older: Sequence[Example], right: str, newer: Sequence[Example], near: float | None
) -> list[Leak]:
    exact = _shared(older, newer, lambda row: (row.text, row.text_pair))
    taken = {b.id for _, b, _ in exact}
    rest = [row for row in newer if row.id not in taken]
    normalised = _shared(older, rest, key_of)
    taken |= {b.id for _, b, _ in normalised}
    alike = _alike(older, [row for row in newer if row.id not in taken], near) if near is not None else []
    groups = _shared([row for row in older if row.group], [row for row in newer if row.group], lambda row: row.group)
    findings: list[tuple[Kind, list[tuple[Example, Example, str]]]] = [
        ("exact", exact),
        ("normalised", normalised),
        ("near", alike),
        ("group", [(a, b, b.group) for a, b, _ in groups]),
        ("time", _overtaken(older, newer)),
    ]
    return [
        Leak(kind, left, right, len(rows), len(newer), [(a.id, b.id, what[:200]) for a, b, what in rows[:_SHOWN]])
        for kind, rows in findings
        if rows
    ]


def _shared(
    older: Iterable[Example], newer: Iterable[Example], key: Callable[[Example], Hashable]
) -> list[tuple[Example, Example, str]]:
    first: dict[Hashable, Example] = {}
    for row in older:
        first.setdefault(key(row), row)
    return [(first[key(row)], row, row.text) for row in newer if key(row) in first]


def _alike(older: Sequence[Example], newer: Sequence[Example], near: float) -> list[tuple[Example, Example, str]]:
    """Compare each distinct text once: a text that occurs a thousand times makes no million pairs."""
    by_key: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for side, rows in (("older", older), ("newer", newer)):
        for row in rows:
            by_key[side, key_of(row)].append(row)
    keys = list(by_key)
    pairs = near_duplicates([text for _, text in keys], threshold=near, unit="char", parts=[side for side, _ in keys])
    best: dict[int, tuple[float, int]] = {}
    for i, j, likeness in pairs:  # the older keys come first
        best[j] = max(best.get(j, (0.0, 0)), (likeness, -i))
    return [
        (by_key[keys[-i]][0], row, f"{by_key[keys[-i]][0].text} | {row.text}")
        for j, (_, i) in sorted(best.items())
        for row in by_key[keys[j]]
    ]


def _overtaken(older: Sequence[Example], newer: Sequence[Example]) -> list[tuple[Example, Example, str]]:
    dated = [(row.at, row) for row in older if row.at is not None]
    if not dated or len(dated) < len(older) or any(row.at is None for row in newer):
        return []
    latest, last = max(dated, key=lambda pair: pair[0])
    return [
        (last, row, f"{row.at.isoformat()} < {latest.isoformat()}")
        for row in newer
        if row.at is not None and row.at < latest
    ]
