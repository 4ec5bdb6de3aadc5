"""Which segments are built into one, and how.

Like the logarithmic method of Bentley and Saxe 1980, "Decomposable searching problems": what was written last is merged
with what is not much larger, so a row is built in a few times however many come, and segments stay few.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mercat.indexes.base import Vectors
from mercat.indexes.faiss.segments import Originals, Segment, Snapshot, View
from mercat.indexes.faiss.structures import Structure
from mercat.indexes.kinds import FLAT, factory, fits, worth_building_anew
from mercat.indexes.names import Names

Build = Callable[[str, Vectors], Structure | None]  # of a factory string, over rows; None for "flat" on a CPU


class Read(Protocol):
    """Opens the structure of a factory string that was written."""

    def __call__(self, kind: str, path: Path, details: Mapping[str, Any], /) -> Structure: ...


_FLAT_SEGMENTS = 4
_TIER = 3  # a segment joins a merge that is at least a third of its size


def due(views: Sequence[View], *, kind: str, index_at: int) -> list[int]:
    """Return the numbers of the views to merge now into one segment of `kind`; none if all is well.

    Due are: views more than a fifth dead, structures of another kind, `index_at` rows or more without a structure, four
    segments where all are flat; and with them what is not much larger than all that.
    """
    chosen = {number for number, view in enumerate(views) if _worn(view) or _foreign(view, kind)}
    plain = [number for number, view in enumerate(views) if view.segment.kind == FLAT]
    if kind == FLAT:
        chosen |= set(plain if len(plain) >= _FLAT_SEGMENTS and not chosen else [])
        return _with_near(views, chosen) if chosen - set(plain) else _smallest(views, chosen)
    if sum(views[number].live for number in plain) >= index_at:
        chosen |= set(plain)
    return _with_near(views, chosen)


def merged(views: Sequence[View], *, kind: str, smallest: int, build: Build) -> Segment:
    """Build one segment of the rows that are alive in `views`, in their order."""
    ids: list[str] = []
    width = views[0].segment.originals.rows.shape[1]
    vectors = np.empty((sum(view.live for view in views), width), dtype=np.float32)
    for view in views:
        rows, start = view.rows(), len(ids)
        listed = view.segment.names.listed()
        ids += [listed[row] for row in rows.tolist()]
        np.take(view.segment.originals.rows, rows, axis=0, out=vectors[start : len(ids)])
    return sealed(ids, vectors, kind=kind, smallest=smallest, build=build)


def sealed(ids: Sequence[str], vectors: Vectors, *, build: Build, kind: str = FLAT, smallest: int = 0) -> Segment:
    """Return a segment of some rows, flat if there are fewer than `smallest`.

    `vectors` has shape (ids, dimensions).
    """
    names = Names.of(ids)
    names.warm_up()
    wanted = factory(kind, rows=len(ids), dimensions=vectors.shape[1], smallest=smallest)
    return Segment(names, Originals.of(vectors), build(wanted, vectors))


def swapped(snapshot: Snapshot, old: Sequence[View], new: Segment) -> tuple[View, ...]:
    """Return the views with `new`, which was built of `old`, in their place; what died meanwhile is dead in it."""
    now = {view.segment.name: view for view in snapshot.views}
    view, start, dead = View.whole(new), 0, []
    for source in old:
        rows = source.rows()
        alive = np.isin(rows, now[source.segment.name].rows(), assume_unique=True)
        dead.append(start + np.flatnonzero(~alive))
        start += len(rows)
    gone = np.concatenate(dead)
    replaced = {source.segment.name for source in old}
    kept = [each for each in snapshot.views if each.segment.name not in replaced]
    view = view.without(gone) if len(gone) else view
    return tuple(sorted([*kept, *([view] if view.live else [])], key=lambda each: -len(each.segment)))


def _worn(view: View) -> bool:
    return not view.live or worth_building_anew(dead=view.dead, total=len(view.segment))


def _foreign(view: View, kind: str) -> bool:
    return view.segment.kind != FLAT and not fits(view.segment.kind, kind)


def _with_near(views: Sequence[View], chosen: set[int]) -> list[int]:
    """Add what is not much larger than all that is chosen, the smallest first."""
    size = sum(views[number].live for number in chosen)
    for number in sorted(set(range(len(views))) - chosen, key=lambda each: views[each].live):
        if chosen and views[number].live <= _TIER * size:
            chosen = chosen | {number}
            size += views[number].live
    return sorted(chosen)


def _smallest(views: Sequence[View], chosen: set[int]) -> list[int]:
    """Of flat segments, take the two smallest and what is not much larger, or those that are worn."""
    if len(chosen) == len(views) and not any(_worn(view) for view in views):
        chosen = set(sorted(range(len(views)), key=lambda each: views[each].live)[:2])
    return _with_near(views, chosen)
