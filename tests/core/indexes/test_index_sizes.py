"""What an index needs by formula, against indexes that are built."""

from pathlib import Path

import pytest

from mercat.errors import ConfigError
from mercat.indexes.sizes import Prices, Rates, answer_s, build_s, expected, size, structure_of
from mercat.testing.indexes import names, unit_rows

ROWS, WIDTH = 6000, 64
MILLION = 1_000_000


@pytest.mark.parametrize("kind", ["flat", "IVF", "IVF,SQ8", "IVF,PQ", "HNSW16", "HNSW16,SQ8"])
def test_the_bytes_on_the_disk_are_those_of_a_built_index(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    from mercat.indexes.faiss import open_faiss

    index = open_faiss(tmp_path, dimensions=WIDTH, fingerprint="f", kind=kind, device="cpu")
    ids = names(ROWS)
    shard = index.shard_writer(tmp_path, rows=ROWS)(ids, unit_rows(ROWS, seed=1, dimensions=WIDTH))
    built = [path for path in shard.rglob("*") if path.suffix in (".rows", ".text", ".ends", ".structure")]
    id_bytes = sum(map(len, ids)) / ROWS
    formula = size(structure_of(kind, ROWS, WIDTH), ROWS, WIDTH, id_bytes=id_bytes)
    assert sum(path.stat().st_size for path in built) == pytest.approx(formula.disk_bytes, rel=0.04)
    assert (formula.memory_bytes == formula.disk_bytes) == (kind == "flat")


def test_a_million_vectors_in_memory_are_what_their_codes_and_links_are() -> None:
    """1,536 bytes of numbers, 24 of the id; 8 bits a number and 8 of a row's number; 96 of PQ's codes, held twice."""
    a_row = {kind: expected(kind, MILLION).size.memory_bytes / MILLION for kind in ("flat", "IVF,SQ8", "IVF,PQ")}
    assert a_row["flat"] == 1560
    assert a_row["IVF,SQ8"] == pytest.approx(384 + 8 + 24, rel=0.01)
    assert a_row["IVF,PQ"] == pytest.approx(2 * (96 + 8) + 24, rel=0.08)
    assert expected("HNSW32", MILLION).size.memory_bytes > 1.1 * expected("flat", MILLION).size.memory_bytes


def test_twice_as_many_rows_take_a_flat_search_twice_as_long() -> None:
    rates = Rates(call_s=1e-12)
    assert answer_s("flat", 2000, 384, rates) == pytest.approx(2 * answer_s("flat", 1000, 384, rates))
    assert answer_s("HNSW32,Flat", 10**6, 384, rates) == pytest.approx(2 * answer_s("HNSW32,Flat", 1000, 384, rates))


def test_shards_are_quicker_to_build_and_slower_to_search() -> None:
    one, shards = expected("IVF", 100 * MILLION), expected("IVF", 100 * MILLION, shard_rows=MILLION)
    assert shards.core_hours < one.core_hours / 5
    assert shards.answer_s > 10 * one.answer_s
    assert shards.size.disk_bytes == pytest.approx(one.size.disk_bytes, rel=0.02)


def test_prices_and_rates_are_the_callers() -> None:
    free = expected("flat", MILLION, prices=Prices(memory_gb_month=0, disk_gb_month=1, core_hour=0))
    assert (free.month, free.once) == (pytest.approx(1.56), 0)
    fast = Rates(texts=200.0)
    assert expected("flat", MILLION, rates=fast).encode_core_hours == pytest.approx(MILLION / 200 / 3600)
    assert build_s("IVF256,Flat", 10_000, 384, Rates(products=2e9)) == pytest.approx(
        8 * 10_000 * 256 * 384 / 2e9 + (256 + 128) * 10_000 * 384 / 2e9
    )


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"rows": 5, "dimensions": 0}, {"rows": 5, "shard_rows": -1}])
def test_sizes_below_one_are_config_errors(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        expected("flat", **wrong)
    with pytest.raises(ConfigError):
        Rates(hops=0)
