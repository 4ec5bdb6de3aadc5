"""Part rows into train, validation and test before anything is fitted, so that no text or group is on two sides.

Every function gives the same parts for the same rows and seed, in whatever order the rows come.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from mercat.errors import DataError
from mercat.text import normalise
from mercat.values import Example

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows of each part, in the order given. `left_out` could not be used in any, and `notes` say why."""

    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    test: list[Example] = field(default_factory=list)
    left_out: list[Example] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def stratified(rows: Iterable[Example], *, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> Parts:
    """Part rows so that every label has about the same share in each part.

    A row's own `split` stands. A part that some row names is taken as it is; otherwise its share is drawn: the test
    part from rows without a split, the validation part from those and from rows marked "train". Rows with the same
    text (but for case, width and white space) or the same group go together; where their own splits already part
    them they stay parted, and `leaks.find_leaks` reports it.
    """
    return _drawn(list(rows), validation, test, seed, by_label=True)


def by_group(rows: Iterable[Example], *, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> Parts:
    """Part whole groups (customers, conversations, companies) as `stratified` does, without regard to labels."""
    return _drawn(list(rows), validation, test, seed, by_label=False)


def by_time(rows: Iterable[Example], *, at: datetime, validation_from: datetime | None = None) -> Parts:
    """Train on what was before `validation_from` (default: `at`), validate on what was before `at`, test on the rest.

    A later row whose text or group an earlier part already holds is left out, and so is a row whose own `split` says
    another part. Raises DataError when rows have no time.
    """
    middle = at if validation_from is None else validation_from
    return _timed(list(rows), ((None, middle, "train"), (middle, at, "validation"), (at, None, "test")))


def rolling(
    rows: Iterable[Example],
    *,
    first: datetime,
    step: timedelta,
    windows: int,
    history: timedelta | None = None,
) -> Iterator[Parts]:
    """Yield `windows` splits: test on one `step` from `first` on, train on all before it or on `history` before it."""
    kept = list(rows)
    for number in range(windows):
        at = first + number * step
        begin = None if history is None else at - history
        yield _timed(kept, ((begin, at, "train"), (at, at + step, "test")))


def clusters(rows: Sequence[Example]) -> list[int]:
    """Return a number per row; rows share it when a chain of equal texts or equal groups links them."""
    parent = list(range(len(rows)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, row in enumerate(rows):
        keys = [("text", key_of(row))]
        if row.group:
            keys.append(("group", row.group))
        for key in keys:
            parent[root(place)] = root(first.setdefault(key, place))
    return [root(place) for place in range(len(rows))]


def key_of(row: Example) -> str:
    """Return the text in the form in which two rows count as the same text."""
    pair = f"\n{row.text_pair}" if row.text_pair else ""
    return " ".join(normalise(row.text + pair).lower().split())


def _drawn(rows: list[Example], validation: float, test: float, seed: int, *, by_label: bool) -> Parts:
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise DataError(
            f"Shares of {validation} for validation and {test} for test leave no rows to train on",
            "Each must be at least 0 and both together below 1",
            "validation = 0.1, test = 0.2",
        )
    _check_splits(rows)
    marked = {row.split for row in rows}
    shares: dict[Part, float] = {
        "test": 0.0 if "test" in marked else test,
        "validation": 0.0 if "validation" in marked else validation,
    }
    parts = Parts()
    of_cluster: dict[int, list[int]] = defaultdict(list)
    for place, cluster in enumerate(clusters(rows)):
        of_cluster[cluster].append(place)
    chosen: dict[int, Part] = {}
    for stratum in _strata(rows, list(of_cluster.values()), by_label=by_label):
        chosen |= _assigned(rows, stratum, shares, seed)
    for place, row in enumerate(rows):
        getattr(parts, chosen[place]).append(row)
    return parts


def _strata(rows: list[Example], members: list[list[int]], *, by_label: bool) -> Iterable[list[list[int]]]:
    """Gather clusters by their commonest label."""
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for places in members:
        label = min(Counter(rows[place].label for place in places).items(), key=lambda item: (-item[1], item[0]))[0]
        strata[label if by_label else ""].append(places)
    return strata.values()


def _assigned(rows: list[Example], stratum: list[list[int]], shares: dict[Part, float], seed: int) -> dict[int, Part]:
    """Fill test, then validation, up to their share of the stratum's rows; whole clusters, in the seed's order."""
    free = [places for places in stratum if _may_move(rows, places)]
    size = sum(len(places) for places in free)
    room = {part: round(share * size) for part, share in shares.items()}
    found: dict[int, Part] = {}
    for places in sorted(free, key=lambda places: _order(rows, places, seed)):
        unmarked = all(not rows[place].split for place in places)
        part: Part = "train"
        if unmarked and len(places) <= room["test"]:
            part = "test"
        elif len(places) <= room["validation"]:
            part = "validation"
        if part != "train":
            room[part] -= len(places)
        found |= dict.fromkeys(places, part)
    for places in stratum:
        if not _may_move(rows, places):
            found |= _fixed(rows, places)
    return found


def _may_move(rows: list[Example], places: list[int]) -> bool:
    return all(rows[place].split in ("", "train") for place in places)


def _fixed(rows: list[Example], places: list[int]) -> dict[int, Part]:
    """Marked rows stay; unmarked ones of the same cluster join the part that is kept the furthest from training."""
    splits = {rows[place].split for place in places}
    furthest: Part = "test" if "test" in splits else "validation"
    own: dict[str, Part] = {part: part for part in PARTS}
    return {place: own.get(rows[place].split, furthest) for place in places}


def _order(rows: list[Example], places: list[int], seed: int) -> bytes:
    first = min(rows[place].id for place in places)
    return hashlib.blake2b(f"{seed}:{first}".encode(), digest_size=16).digest()


def _timed(rows: list[Example], spans: Sequence[tuple[datetime | None, datetime | None, Part]]) -> Parts:
    _check_splits(rows)
    undated = [row.id for row in rows if row.at is None]
    if undated:
        raise DataError(
            f"{len(undated)} of {len(rows)} rows have no time",
            f"The first is '{undated[0]}'",
            "by_group, or give rows `at`",
        )
    part_of = [_part_at(row.at, spans) for row in rows if row.at is not None]
    cluster_of = clusters(rows)
    earliest: dict[int, int] = {}
    for cluster, part in zip(cluster_of, part_of, strict=True):
        if part is not None:
            earliest[cluster] = min(earliest.get(cluster, len(PARTS)), PARTS.index(part))
    parts, repeated, marked = Parts(), 0, 0
    for row, cluster, part in zip(rows, cluster_of, part_of, strict=True):
        if part is None:
            continue
        again = PARTS.index(part) > earliest[cluster]
        elsewhere = row.split not in ("", part)
        getattr(parts, "left_out" if again or elsewhere else part).append(row)
        repeated, marked = repeated + again, marked + (elsewhere and not again)
    return Parts(parts.train, parts.validation, parts.test, parts.left_out, _time_notes(repeated, marked))


def _time_notes(repeated: int, marked: int) -> tuple[str, ...]:
    notes = []
    if repeated:
        notes.append(f"{repeated} later rows left out: an earlier part holds their text or group")
    if marked:
        notes.append(f"{marked} rows left out: their own split names another part than their time")
    return tuple(notes)


def _part_at(at: datetime, spans: Sequence[tuple[datetime | None, datetime | None, Part]]) -> Part | None:
    for begin, end, part in spans:
        if (begin is None or begin <= at) and (end is None or at < end):
            return part
    return None


def _check_splits(rows: list[Example]) -> None:
    for row in rows:
        if row.split not in ("", *PARTS):
            raise DataError(
                f"Row '{row.id}' has the split '{row.split}'",
                "Known: train, validation, test, or none",
                "mercat ingest",
            )
