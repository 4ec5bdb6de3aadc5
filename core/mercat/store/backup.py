"""Backups: a copy of an SQLite file, or every row as JSON lines; always with a manifest that restore checks.

An SQLite store is copied by SQLite's online backup. A PostgreSQL store is written as JSON lines, table by table in one
snapshot; for large ones `pg_dump` is faster. JSON lines can be restored into either database.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, LargeBinary, MetaData, Table, func, insert, select, text

from mercat.errors import StoreError
from mercat.registry import TableSet
from mercat.store import schema
from mercat.store.database import Database
from mercat.store.faults import told_as_store_error
from mercat.store.transaction import chunks
from mercat.store.types import UtcDateTime

MANIFEST = "manifest.json"
FORMAT = 1


def write(database: Database, folder: Path, sets: Sequence[TableSet], *, now: datetime) -> Path:
    """Write a backup into a new folder, which appears complete or not at all.

    Raises StoreError for a folder that exists.
    """
    if folder.exists():
        raise StoreError(f"No backup was written to {folder}", "It exists already", "a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    try:
        (_copy_file if database.is_sqlite else _dump_rows)(database, making, sets)
        files = {path.name: _sum_of(path) for path in sorted(making.iterdir())}
        manifest = {"format": FORMAT, "made_at": now.isoformat(), "files": files}
        (making / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def restore(folder: Path, database: Database, sets: Sequence[TableSet]) -> None:
    """Check the manifest and put the rows into a database that is not there yet, or empty."""
    names = _checked(folder)
    if "mercat.db" in names:
        _place_file(folder / "mercat.db", database)
    else:
        _load_rows(folder, names, database, sets)


def _copy_file(database: Database, folder: Path, sets: Sequence[TableSet]) -> None:
    with told_as_store_error("No backup was written", database.where), database.reading() as connection:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        with closing(sqlite3.connect(folder / "mercat.db")) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, no log beside it


def _place_file(file: Path, database: Database) -> None:
    if not database.is_sqlite:
        raise StoreError(
            f"{file.parent} was not restored", "It is a copy of an SQLite file", "sqlite:////folder/mercat.db"
        )
    if database.file.exists():
        raise StoreError(f"{file.parent} was not restored", f"{database.file} exists already", "move it away first")
    database.file.parent.mkdir(parents=True, exist_ok=True)
    making = database.file.with_name(database.file.name + ".restoring")
    shutil.copyfile(file, making)
    making.rename(database.file)


def _dump_rows(database: Database, folder: Path, sets: Sequence[TableSet]) -> None:
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        for of in _tables(connection):
            with gzip.open(folder / f"{of.name}.jsonl.gz", "wt", encoding="utf-8") as file:
                for row in connection.execution_options(yield_per=1000).execute(select(of)):
                    file.write(json.dumps(_told(row._mapping), ensure_ascii=False) + "\n")


def _load_rows(folder: Path, names: Sequence[str], database: Database, sets: Sequence[TableSet]) -> None:
    with database.reading() as connection:
        if not schema.is_new(connection):
            raise StoreError(f"{folder} was not restored", f"{database.where} is a store already", "a new database")
    schema.upgrade(database, sets)
    with database.writing() as connection:
        for of in _tables(connection):
            if f"{of.name}.jsonl.gz" in names and not of.name.startswith("mercat_version"):
                connection.execute(of.delete())
                for chunk in chunks(_read(folder / f"{of.name}.jsonl.gz", of)):
                    connection.execute(insert(of), chunk)
                _catch_up(connection, of)


def _tables(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    for of in found.sorted_tables:
        for column in of.c:
            if isinstance(column.type, DateTime):
                column.type = UtcDateTime()
    return found.sorted_tables


def _catch_up(connection: Connection, of: Table) -> None:
    """Let PostgreSQL go on numbering after the restored ids."""
    if connection.dialect.name == "postgresql" and of.autoincrement_column is not None:
        last = connection.execute(select(func.max(of.autoincrement_column))).scalar()
        if last is not None:
            asked = text("SELECT setval(pg_get_serial_sequence(:name, :column), :last)")
            connection.execute(asked, {"name": of.name, "column": of.autoincrement_column.name, "last": last})


def _told(row: Any) -> dict[str, Any]:
    return {name: _word(value) for name, value in row.items()}


def _word(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes | memoryview) else value


def _read(file: Path, of: Table) -> Iterator[dict[str, Any]]:
    times = [column.name for column in of.c if isinstance(column.type, UtcDateTime)]
    blobs = [column.name for column in of.c if isinstance(column.type, LargeBinary)]
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            row.update({name: datetime.fromisoformat(row[name]) for name in times if row[name]})
            row.update({name: bytes.fromhex(row[name]) for name in blobs if row[name] is not None})
            yield row


def _checked(folder: Path) -> list[str]:
    """Return the files of a backup. Raises StoreError when one is missing, changed, or the manifest is."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"{folder} was not restored", f"It is no backup: {error!r}", "the folder of a backup"
        ) from error
    if manifest.get("format") != FORMAT:
        raise StoreError(f"{folder} was not restored", "A newer mercat wrote it", "pip install --upgrade mercat")
    for name, expected in files.items():
        path = folder / Path(name).name
        if not path.is_file() or _sum_of(path) != expected:
            raise StoreError(f"{folder} was not restored", f"{name} is missing or damaged", "another backup")
    return list(files)


def _sum_of(path: Path) -> str:
    with path.open("rb") as file:
        summed = sha256()
        while block := file.read(1 << 20):
            summed.update(block)
    return summed.hexdigest()
