"""What an index of so many vectors needs, by formula: memory, disk, time to build, time to answer, money.

Memory and disk follow from the formats and are exact to a few per cent. Times are operations over the rate of a
machine: `Rates` holds one constant per kind of work; `python -m benchmarks scale` measures them anew and holds the
formulas against what it measures at other sizes. Prices are the caller's own.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mercat.errors import ConfigError
from mercat.indexes.kinds import FLAT, FLAT_ROWS, TAIL_ROWS, candidates, checked_kind, factory, index_at, kind_due

_ID_BYTES = 16
_STEPS, _TRAIN_PER_LIST = 8, 40  # of k-means, see `indexes.faiss.structures`
_CODES, _CODE_STEPS = 16, 25  # of each part of PQ, learned by FAISS from 256 rows a code
_BLOCK = 32  # rows that FastScan compares at once; the last block of a list is half empty, on average
_TRIED = 128  # rows whose true neighbours are looked for when lists are built
_GRAPH = re.compile(r"HNSW(\d+)")
_LISTS = re.compile(r"IVF(\d+)")
_PARTS = re.compile(r"PQ(\d+)")


@dataclass(frozen=True, slots=True)
class Size:
    """An index in bytes: what is read into memory when all of it is searched, and what lies on the disk."""

    memory_bytes: float
    disk_bytes: float


@dataclass(frozen=True, slots=True)
class Rates:
    """What one core does in a second. As measured by `benchmarks scale` on a core of an AMD EPYC with AVX2."""

    products: float = 3.2e10  # multiply-adds of whole matrices: training and filling lists
    coded: float = 1.5e9  # multiply-adds of parts of 4 numbers: codes of PQ
    scanned_bytes: float = 2.3e10  # of rows compared one after the other
    scanned_code_bytes: float = 6.7e9  # of rows of 8 bits a number
    scanned_fast_bytes: float = 5.8e9  # of rows of 4 bits for a part of the numbers (FastScan)
    linked: float = 2.9e3  # rows that a graph of 20,000 takes up
    hops: float = 1.8e6  # candidates that a graph looks at
    reread: float = 3e5  # rows read again from the disk's cache, to compare them as they came
    call_s: float = 5e-5  # of a search, whatever its size
    texts: float = 100.0  # encoded

    def __post_init__(self) -> None:
        if min(getattr(self, name) for name in self.__slots__) <= 0:
            raise ConfigError("Rates of a machine", "Each is above 0", "Rates()")


@dataclass(frozen=True, slots=True)
class Prices:
    """What memory, disk and a core cost, in any currency. The defaults say nothing of any seller."""

    memory_gb_month: float = 3.0
    disk_gb_month: float = 0.1
    core_hour: float = 0.05


@dataclass(frozen=True, slots=True)
class Expected:
    """What an index needs in all. `core_hours` builds it once, vectors given; `encode_core_hours` makes the vectors."""

    kind: str
    size: Size
    core_hours: float
    encode_core_hours: float
    answer_s: float
    month: float  # memory and disk, in the currency of the prices
    once: float  # building and encoding


def expected(
    kind: str,
    rows: int,
    *,
    dimensions: int = 384,
    shard_rows: int = 0,
    looked_into: int = 128,
    ef_search: int = 64,
    k: int = 10,
    rates: Rates | None = None,
    prices: Prices | None = None,
) -> Expected:
    """Return what an index of a kind, as it stands in `[indexes.NAME]`, needs for so many rows.

    With `shard_rows` it is in parts of so many rows, each with a structure of its own, and a search looks into all of
    them, one after the other. `looked_into`: lists per search and part. Raises ConfigError for sizes below 1.
    """
    rates, prices = rates or Rates(), prices or Prices()
    if rows < 1 or dimensions < 1 or shard_rows < 0:
        found = f"rows = {rows}, dimensions = {dimensions}, shard_rows = {shard_rows}"
        raise ConfigError("What an index needs", found, "rows and dimensions of at least 1")
    part = min(rows, shard_rows or rows)
    parts, wanted = rows / part, structure_of(kind, part, dimensions)
    whole = size(wanted, part, dimensions)
    whole = Size(whole.memory_bytes * parts, whole.disk_bytes * parts)
    hours = parts * build_s(wanted, part, dimensions, rates) / 3600
    encoding = rows / rates.texts / 3600
    answer = answer_s(wanted, part, dimensions, rates, looked_into=looked_into, ef_search=ef_search, k=k)
    month = whole.memory_bytes / 1e9 * prices.memory_gb_month + whole.disk_bytes / 1e9 * prices.disk_gb_month
    once = (hours + encoding) * prices.core_hour
    return Expected(wanted, whole, hours, encoding, (answer - rates.call_s) * parts + rates.call_s, month, once)


def structure_of(kind: str, rows: int, dimensions: int) -> str:
    """Return FAISS's factory string of a segment of so many rows, as it is built under the usual settings.

    Raises ConfigError for a kind that no index has.
    """
    wanted = kind_due(checked_kind(kind), rows=rows, now=FLAT, flat_rows=FLAT_ROWS)
    return factory(wanted, rows=rows, dimensions=dimensions, smallest=index_at(TAIL_ROWS))


def size(structure: str, rows: int, dimensions: int = 384, *, id_bytes: int = _ID_BYTES) -> Size:
    """Return the bytes of a segment with the structure of a factory string.

    Vectors as they came lie on the disk beside every structure. They are read whole where there is none; a structure
    that rounds reads a few of them per search, one that does not holds a copy. A process that writes rows as well keeps
    12 bytes more for each, to find ids.
    """
    vectors, ids = 4.0 * dimensions * rows, (id_bytes + 8.0) * rows
    if structure == FLAT:
        return Size(vectors + ids, vectors + ids)
    built = _structure_bytes(structure, rows, dimensions)
    copies = 2 if structure.endswith("x4fs") else 1  # FastScan loads its lists, and the file stays mapped beside them
    return Size(copies * built + ids, vectors + ids + built)


def build_s(structure: str, rows: int, dimensions: int, rates: Rates) -> float:
    """Return the seconds of one core to build a structure over vectors that are there."""
    if structure == FLAT:
        return rows * dimensions * 4 / rates.scanned_bytes
    if _GRAPH.match(structure):
        return rows / rates.linked * math.log(max(rows, 2)) / math.log(20_000) * dimensions / 384
    lists = _number(_LISTS, structure)
    trained = _STEPS * min(rows, max(_TRAIN_PER_LIST * lists, 10_000)) * lists
    coded = _CODES * (_CODE_STEPS * min(rows, 256 * _CODES) + rows) if _PARTS.search(structure) else 0
    return dimensions * ((trained + rows * lists + _TRIED * rows) / rates.products + coded / rates.coded)


def answer_s(
    structure: str,
    rows: int,
    dimensions: int,
    rates: Rates,
    *,
    looked_into: int = 128,
    ef_search: int = 64,
    k: int = 10,
) -> float:
    """Return the seconds of one core to answer one question without a filter."""
    if structure == FLAT:
        return rates.call_s + rows * dimensions * 4 / rates.scanned_bytes
    if _GRAPH.match(structure):
        return rates.call_s + ef_search * math.log(max(rows, 2)) / rates.hops * dimensions / 384
    lists = _number(_LISTS, structure)
    compared = rows * min(1.0, looked_into / lists)
    found = rates.call_s + lists * dimensions * 4 / rates.scanned_bytes
    again = candidates(structure, dimensions=dimensions) * k / rates.reread
    if parts := _number(_PARTS, structure):
        return found + compared * parts / 2 / rates.scanned_fast_bytes + again
    if structure.endswith("SQ8"):
        return found + compared * dimensions / rates.scanned_code_bytes + again
    return found + compared * dimensions * 4 / rates.scanned_bytes


def _structure_bytes(structure: str, rows: int, dimensions: int) -> float:
    """Codes, and what finds them: a list's row numbers and centroids, or a graph's links."""
    parts = _number(_PARTS, structure)
    rounded = structure.endswith("SQ8")
    code = parts / 2 if parts else dimensions * (1 if rounded else 4)
    tables = 16 * 4 * dimensions if parts else 8 * dimensions if rounded else 0
    if links := _number(_GRAPH, structure):
        # 2 links of 4 bytes in the lowest layer, as many as half of that in 1/(links - 1) of the rows, level and offset
        return rows * (code + 8 * links + 4 * links / (links - 1) + 12) + tables
    lists = _number(_LISTS, structure)
    padding = lists * _BLOCK / 2 * code if structure.endswith("x4fs") else 0
    return rows * (code + 8) + lists * 4 * dimensions + tables + padding


def _number(pattern: re.Pattern[str], structure: str) -> int:
    found = pattern.search(structure)
    return int(found[1]) if found else 0
