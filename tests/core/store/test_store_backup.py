import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mercat.errors import StoreError
from mercat.store import Store
from mercat.testing.store import PostgresForTests
from mercat.values import Document, Interaction

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
ROWS = [Document(f"{n}", f"text 貓 {n}", published_at=AT, metadata={"n": n}) for n in range(50)]


def fill(store: Store) -> None:
    store.upsert(ROWS, collection="c", cursor=("s", "1"))
    store.upsert([Interaction("i", "u", "x", "buy", AT, 0.1)], collection="c")
    with store.transaction() as tx:
        tx.delete("documents", ["0"], collection="c")
        tx.send("desk", "ticket", {"a": [1]}, key="k")
    store.accounts.create_key("ci", ["ask"])


def told(store: Store) -> list:
    changes = [store.changes(kind, "c", after=0) for kind in ("documents", "interactions")]
    return [changes, store.cursors(), store.outbox(), store.accounts.keys(), store.collections()]


def test_a_backup_restores_to_the_same_store(store: Store, tmp_path: Path) -> None:
    fill(store)
    folder = store.backup(tmp_path / "backup")
    url = f"sqlite:///{tmp_path / 'deep' / 'restored.db'}"
    Store.restore(folder, url)
    with Store.open(url) as restored:
        assert told(restored) == told(store)
        assert restored.is_current()
        assert restored.upsert(ROWS[1:], collection="c").changed == []


@pytest.mark.postgres
def test_rows_move_into_postgresql(server: PostgresForTests, tmp_path: Path) -> None:
    with Store.open(server.empty()) as store:
        fill(store)
        folder = store.backup(tmp_path / "backup")
        url = server.empty("second")
        Store.restore(folder, url)
        with Store.open(url) as restored:
            assert told(restored) == told(store)
            with restored.transaction() as tx:
                assert tx.send("desk", "ticket", {}, key="next") == 2, "numbering goes on after the restored rows"
        with pytest.raises(StoreError, match="is a store already"):
            Store.restore(folder, url)


def test_a_backup_is_consistent_while_others_write(store: Store, tmp_path: Path) -> None:
    stop, failures = threading.Event(), []

    def write() -> None:
        n = 0
        try:
            while not stop.is_set():
                n += 1
                store.upsert([Document(f"{n}-{i}", "t") for i in range(10)], collection="w", cursor=("w", str(n)))
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while not store.cursor("w"):
            pass
        folders = [store.backup(tmp_path / f"backup {n}") for n in range(3)]
    finally:
        stop.set()
        thread.join()
    assert failures == []
    for n, folder in enumerate(folders):
        url = f"sqlite:///{tmp_path / f'restored {n}.db'}"
        Store.restore(folder, url)
        with Store.open(url) as restored:
            assert restored.count("documents", "w") == 10 * int(restored.cursor("w") or 0) > 0


def test_a_damaged_backup_is_refused(store: Store, tmp_path: Path) -> None:
    fill(store)
    folder, url = store.backup(tmp_path / "backup"), f"sqlite:///{tmp_path / 'restored.db'}"
    names = json.loads((folder / "manifest.json").read_text())["files"]
    victim = folder / sorted(names)[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(StoreError, match="missing or damaged"):
        Store.restore(folder, url)
    victim.unlink()
    with pytest.raises(StoreError, match="missing or damaged"):
        Store.restore(folder, url)
    (folder / "manifest.json").unlink()
    with pytest.raises(StoreError, match="no backup"):
        Store.restore(folder, url)
    assert not (tmp_path / "restored.db").exists()


def test_nothing_is_overwritten(store: Store, tmp_path: Path) -> None:
    fill(store)
    folder = store.backup(tmp_path / "backup")
    with pytest.raises(StoreError, match="exists already"):
        store.backup(folder)
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    Store.restore(folder, url)
    with pytest.raises(StoreError, match=r"exists already|is a store already"):
        Store.restore(folder, url)
