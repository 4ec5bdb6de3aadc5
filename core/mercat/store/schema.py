"""Which tables the database has, and bringing it to what the code needs: one Alembic branch per distribution.

Each branch keeps its place in a version table of its own (`mercat_version`, `mercat_version_<plugin>`), so a plugin
that is not installed any more stands in nobody's way. The core's branch always goes first; none depends on a plugin's.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text

from mercat.errors import PluginError, StoreError
from mercat.registry import TableSet
from mercat.store.database import Database

CORE = TableSet("mercat", "mercat.store.tables:metadata", "mercat.store.migrations")
_UPGRADE_LOCK = 0x6D657263  # "merc": one upgrade at a time on PostgreSQL


def version_table(name: str) -> str:
    """Return the table in which a branch keeps its place."""
    return "mercat_version" if name == CORE.name else f"mercat_version_{slug(name)}"


def slug(name: str) -> str:
    """Return the prefix of a plugin's tables, without the last underscore."""
    return name.replace("-", "_").replace(".", "_").lower()


def metadata_of(tables: TableSet) -> MetaData:
    """Import a plugin's MetaData. Raises PluginError when it cannot be, or a table is not prefixed with its name."""
    module, _, attribute = tables.metadata.partition(":")
    try:
        metadata = cast(MetaData, getattr(importlib.import_module(module), attribute or "metadata"))
    except (ImportError, AttributeError) as error:
        raise PluginError(f"The tables of '{tables.name}' cannot be loaded", str(error), f"check {module}") from error
    wrong = [name for name in metadata.tables if tables != CORE and not name.startswith(slug(tables.name) + "_")]
    if wrong:
        raise PluginError(
            f"The tables of '{tables.name}' cannot be used",
            f"A plugin's tables start with its name, {', '.join(wrong)} does not",
            f"rename it to {slug(tables.name)}_{wrong[0]}",
        )
    return metadata


def is_new(connection: Connection) -> bool:
    """Return whether this database has never been a store."""
    return not inspect(connection).has_table(version_table(CORE.name))


def behind(connection: Connection, sets: Sequence[TableSet]) -> list[str]:
    """Return the names of the branches whose tables are not those of the code."""
    known = set(inspect(connection).get_table_names())
    return [tables.name for tables in (CORE, *sets) if _place(connection, tables, known) != _heads(tables)]


def upgrade(database: Database, sets: Sequence[TableSet]) -> None:
    """Run what is missing of all branches, in one transaction: all of it happens or nothing."""
    with _migrating(database) as connection:
        for tables in (CORE, *sets):
            _run(connection, tables)


def drift(connection: Connection, tables: TableSet) -> list[str]:
    """Return in words where a distribution's migrations and its table classes differ: nothing, when both are right."""
    metadata = metadata_of(tables)

    def is_own(item: Any, name: str | None, type_: str, reflected: bool, other: Any) -> bool:
        of = name if type_ == "table" else item.table.name
        return of in metadata.tables

    options = {"version_table": version_table(tables.name), "include_object": is_own, "compare_type": False}
    context = MigrationContext.configure(connection, opts=options)
    return [_words(each) for each in compare_metadata(context, metadata)]


def _words(difference: Any) -> str:
    first = difference[0] if isinstance(difference, list) else difference
    return f"{first[0]}: {', '.join(str(part) for part in first[1:] if part is not None)}"


def drop(database: Database, plugin: str, sets: Sequence[TableSet]) -> list[str]:
    """Drop a plugin's tables, installed or not, and forget its place. Return the names of the tables.

    Raises StoreError for the core's, and where there are none.
    """
    if plugin == CORE.name:
        raise StoreError("The core's tables cannot be dropped", "They hold everything", "mercat db drop PLUGIN")
    with _migrating(database) as connection:
        names = inspect(connection).get_table_names()
        others = [slug(tables.name) for tables in sets] + [
            name.removeprefix("mercat_version_") for name in names if name.startswith("mercat_version_")
        ]
        own = [name for name in names if _owner(name, [*others, slug(plugin)]) == slug(plugin)]
        if not own and version_table(plugin) not in names:
            raise StoreError(
                f"The tables of '{plugin}' cannot be dropped",
                f"There are none. Plugins with tables: {', '.join(sorted(set(others))) or 'none'}",
                "mercat plugins",
            )
        reflected = MetaData()
        reflected.reflect(connection, only=[*own, *({version_table(plugin)} & set(names))])
        doomed = [each for each in reflected.sorted_tables if each.name in own or each.name == version_table(plugin)]
        reflected.drop_all(connection, tables=doomed)
        return sorted(own)


def _owner(name: str, slugs: Sequence[str]) -> str:
    """Return the longest prefix that fits: `customer_service_x` is not of a plugin named `customer`."""
    fitting = [each for each in slugs if name.startswith(each + "_")]
    return max(fitting, key=len, default="")


@contextmanager
def _migrating(database: Database) -> Iterator[Connection]:
    try:
        with database.writing(migrates=True) as connection:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
            yield connection
    finally:
        database.close()  # the next connection checks foreign keys again


def _scripts(tables: TableSet) -> ScriptDirectory:
    spec = importlib.util.find_spec(tables.migrations)
    folders = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    if not folders:
        raise PluginError(
            f"The migrations of '{tables.name}' cannot be found", f"'{tables.migrations}' is no package", "reinstall it"
        )
    folder = folders[0] / "versions" if (folders[0] / "versions").is_dir() else folders[0]
    return ScriptDirectory(str(folder), version_locations=[str(folder)])


def _heads(tables: TableSet) -> set[str]:
    return set(_scripts(tables).get_heads())


def _place(connection: Connection, tables: TableSet, known: set[str]) -> set[str]:
    if version_table(tables.name) not in known:
        return set()
    context = MigrationContext.configure(connection, opts={"version_table": version_table(tables.name)})
    return set(context.get_current_heads())


def _run(connection: Connection, tables: TableSet) -> None:
    scripts = _scripts(tables)
    known = {script.revision for script in scripts.walk_revisions()}
    newer = _place(connection, tables, set(inspect(connection).get_table_names())) - known
    if newer:
        raise StoreError(
            f"The tables of '{tables.name}' cannot be upgraded",
            f"The store is newer than the installed code (revision {', '.join(sorted(newer))})",
            f"pip install --upgrade {tables.name if tables == CORE else 'mercat-' + tables.name}",
        )

    def steps(revision: Any, context: MigrationContext) -> Any:
        return scripts._upgrade_revs("heads", revision)

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(
            connection=connection,
            version_table=version_table(tables.name),
            transactional_ddl=True,
        )
        with environment.begin_transaction():
            environment.run_migrations()
