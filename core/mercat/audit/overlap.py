"""What the rows of an audit share with those that the classifier learned from, and with each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mercat.evaluation.leaks import Leak, find_leaks
from mercat.evaluation.splits import key_of
from mercat.text import near_duplicates
from mercat.values import Example

ALIKE = 0.8
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two rows of the audit with the same or nearly the same text and different labels."""

    one: str
    other: str
    label_one: str
    label_other: str
    likeness: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """Leaks from each part that was learned from, and what repeats among the audited rows themselves.

    `learned` says how many rows were compared with, none when they are not at hand. `repeated` counts audited rows
    whose text (but for case, width and blanks) another one has; `alike` pairs of texts from 0.8 likeness on;
    `contradicting` such pairs with different labels, of which up to ten are kept.
    """

    learned: int
    rows: int
    leaks: tuple[Leak, ...]
    repeated: int
    alike: int
    contradicting: int
    contradictions: tuple[Contradiction, ...]

    @property
    def leaking(self) -> int:
        """How many audited rows share their text or nearly so with rows that were learned from, at most."""
        return min(sum(leak.count for leak in self.leaks if leak.kind in ("exact", "normalised", "near")), self.rows)


def overlap(parts: Mapping[str, Sequence[Example]], rows: Sequence[Example]) -> Overlap:
    """Compare `rows` with the parts that were learned from, and with each other."""
    found = [leak for name, part in parts.items() for leak in find_leaks({name: part, "audited": rows})]
    groups: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        groups[key_of(row)].append(row)
    pairs, same = _alike(list(groups.values())), _same(list(groups.values()))
    against = [each for each in (*same, *pairs) if each.label_one != each.label_other]
    return Overlap(
        learned=sum(map(len, parts.values())),
        rows=len(rows),
        leaks=tuple(found),
        repeated=sum(len(group) for group in groups.values() if len(group) > 1),
        alike=len(pairs),
        contradicting=len(against),
        contradictions=tuple(against[:_SHOWN]),
    )


def _same(groups: Sequence[Sequence[Example]]) -> list[Contradiction]:
    """Return, per text, its first row beside the first row of each other label."""
    found = []
    for group in groups:
        firsts: dict[str, Example] = {}
        for row in group:
            firsts.setdefault(row.label, row)
        one, *others = firsts.values()
        found += [_pair(one, other, 1.0) for other in others]
    return found


def _alike(groups: Sequence[Sequence[Example]]) -> list[Contradiction]:
    texts = [group[0].text for group in groups]
    pairs = near_duplicates(texts, threshold=ALIKE, unit="char")
    return [_pair(groups[i][0], groups[j][0], likeness) for i, j, likeness in pairs]


def _pair(one: Example, other: Example, likeness: float) -> Contradiction:
    return Contradiction(one.text, other.text, one.label, other.label, likeness)
