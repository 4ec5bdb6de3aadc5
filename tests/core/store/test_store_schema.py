import sys
from pathlib import Path
from textwrap import dedent

import pytest

from mercat.errors import PluginError, StoreError
from mercat.store import Store, TableSet, tables
from mercat.testing.store import TableSetContract
from mercat.values import Document

TABLES = """
from sqlmodel import Field, SQLModel
from sqlalchemy.orm import registry
from sqlalchemy import MetaData, Text

class Base(SQLModel, registry=registry(metadata=MetaData())): pass

class Case(Base, table=True):
    __tablename__ = "{slug}_cases"
    id: int | None = Field(default=None, primary_key=True)
    subject: str = Field(default="", sa_type=Text)
    note: str = Field(default="", sa_type=Text)

metadata = Base.metadata
"""
FIRST = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{slug}_1", None, ("{name}",), None
def upgrade():
    op.create_table("{slug}_cases", sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False), {note})
def downgrade():
    op.drop_table("{slug}_cases")
"""
NOTE = 'sa.Column("note", sa.Text, nullable=False)'
SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{slug}_2", "{slug}_1", None, None
def upgrade():
    op.add_column("{slug}_cases", sa.Column("note", sa.Text, nullable=False, server_default=""))
def downgrade():
    op.drop_column("{slug}_cases", "note")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a plugin's package with one table; `grow` adds the second revision."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, *, second: bool = False, note: str = NOTE) -> TableSet:
        slug = name.replace("-", "_")
        folder = tmp_path / f"made_{slug}"
        (folder / "migrations").mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder / "migrations" / "__init__.py").touch()
        (folder / "tables.py").write_text(dedent(TABLES.format(slug=slug)))
        first = FIRST.format(slug=slug, name=name, note="" if second else note)
        (folder / "migrations" / "v1.py").write_text(first)
        if second:
            (folder / "migrations" / "v2.py").write_text(SECOND.format(slug=slug))
        return TableSet(name, f"made_{slug}.tables:metadata", f"made_{slug}.migrations")

    yield make
    for module in [module for module in sys.modules if module.startswith("made_")]:
        del sys.modules[module]


def test_the_core_migrations_make_what_the_classes_say(database_url: str) -> None:
    with Store.open(database_url) as store:
        assert not store.is_current()
        store.upgrade()
        assert store.is_current()
        assert store.drift() == []


def test_drift_is_noticed(store_url: str, plugin) -> None:
    with Store.open(store_url, tables=[plugin("alpha", note="")]) as store:
        store.upgrade()
        assert any("note" in words for words in store.drift())


def test_two_plugins_tables_are_upgraded_with_the_core(database_url: str, plugin) -> None:
    sets = [plugin("alpha"), plugin("alpha-beta")]
    with Store.open(database_url, tables=sets) as store:
        assert store.behind() == ["mercat", "alpha", "alpha-beta"]
        store.upgrade()
        assert store.is_current()
        assert store.drift() == []
        store.upgrade()
        assert store.is_current()


def test_a_store_behind_its_code_is_refused_and_says_what_to_type(database_url: str, plugin) -> None:
    with Store.open(database_url, tables=[plugin("alpha", note="")]) as store:
        store.upsert([Document("a", "text")], collection="c")
    newer = plugin("alpha", second=True)
    with Store.open(database_url, tables=[newer]) as store:
        with pytest.raises(StoreError, match=r"not those of the installed code: alpha\. Try: mercat db upgrade"):
            store.count("documents", "c")
        store.upgrade()
        assert store.count("documents", "c") == 1
        assert store.drift() == []
    with Store.open(database_url, tables=[newer, plugin("beta")], migrate=True) as store:
        assert store.count("documents", "c") == 1
        assert store.is_current()


def test_a_store_newer_than_its_code_is_told(database_url: str, plugin) -> None:
    with Store.open(database_url, tables=[plugin("alpha", second=True)]) as store:
        store.upgrade()
    (Path(sys.path[0]) / "made_alpha" / "migrations" / "v2.py").unlink()
    with Store.open(database_url, tables=[plugin("alpha")]) as store, pytest.raises(StoreError, match="newer than"):
        store.upgrade()


def test_a_failed_upgrade_changes_nothing(database_url: str, plugin) -> None:
    good, bad = plugin("alpha"), plugin("beta", note="sa.Column('note', sa.Nothing)")
    with Store.open(database_url, tables=[good, bad]) as store:
        with pytest.raises(AttributeError):
            store.upgrade()
        assert store.behind() == ["mercat", "alpha", "beta"]


def test_tables_of_a_plugin_can_be_dropped_even_when_it_is_gone(database_url: str, plugin) -> None:
    with Store.open(database_url, tables=[plugin("alpha"), plugin("alpha-beta")]) as store:
        store.upgrade()
    with Store.open(database_url) as store:
        assert store.is_current(), "tables of a plugin that is not installed stand in nobody's way"
        assert store.drop("alpha") == ["alpha_cases"]
        assert store.drop("alpha-beta") == ["alpha_beta_cases"]
        with pytest.raises(StoreError, match="There are none"):
            store.drop("alpha")
        with pytest.raises(StoreError, match="core's tables"):
            store.drop("mercat")
        store.upsert([Document("a", "text")], collection="c")


def test_a_plugin_writes_its_rows_with_the_cores_or_not_at_all(database_url: str, plugin) -> None:
    alpha = plugin("alpha")
    with Store.open(database_url, tables=[alpha]) as store:
        store.upgrade()
        from made_alpha.tables import Case
        from sqlmodel import select

        with store.transaction() as tx:
            tx.session.add(Case(subject="anna", note="n"))
            tx.upsert([Document("a", "1")], collection="c")
        with pytest.raises(ZeroDivisionError), store.transaction() as tx:
            tx.session.add(Case(subject="bob", note="n"))
            tx.session.flush()
            tx.upsert([Document("b", "1")], collection="c")
            1 / 0
        with store.transaction() as tx:
            assert [case.subject for case in tx.session.exec(select(Case))] == ["anna"]
        assert store.count("documents", "c") == 1


def test_erasure_reaches_the_tables_of_plugins_installed_or_not(database_url: str, plugin) -> None:
    with Store.open(database_url, tables=[plugin("alpha")]) as store:
        store.upgrade()
        from made_alpha.tables import Case

        with store.transaction() as tx:
            tx.session.add_all([Case(subject="anna"), Case(subject="anna"), Case(subject="bob")])
    with Store.open(database_url) as store:
        assert store.erase("anna") == {"alpha_cases": 2}


def test_a_table_without_the_plugins_name_is_refused(database_url: str, plugin) -> None:
    made = plugin("alpha")
    wrong = TableSet("beta", made.metadata, made.migrations)
    with Store.open(database_url, tables=[wrong]) as store, pytest.raises(PluginError, match="start with its name"):
        store.drift()


def test_the_tables_can_be_named_from_outside() -> None:
    assert {"documents", "passages", "examples", "interactions", "outbox"} <= set(tables.metadata.tables)


class TestContractOnAPlugin(TableSetContract):
    @pytest.fixture(autouse=True)
    def _made(self, plugin) -> None:
        type(self).tables = plugin("gamma")

    @pytest.fixture
    def database_url(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'contract.db'}"


@pytest.mark.parametrize("question", ["is_new", "behind"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_somebody_else_makes_meanwhile_is_used(
    database_url: str, question: str, when: str, monkeypatch: pytest.MonkeyPatch
):
    """Two services that are started together on a new database: whoever is second finds the tables half-way through."""
    with Store.open(database_url) as second:
        asked = getattr(second, question)

        def made_meanwhile() -> object:
            monkeypatch.undo()
            answer = asked() if when == "after" else None
            with Store.open(database_url) as first:
                first.upgrade()
            return answer if when == "after" else asked()

        monkeypatch.setattr(second, question, made_meanwhile)
        assert second.count("documents", "help") == 0
        assert second.is_current()
