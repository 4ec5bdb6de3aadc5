"""The core's tables. Rows are written with core statements, for speed; the classes say what there is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from mercat.store.types import ID, JsonText, UtcDateTime

_REGISTRY = registry(
    metadata=MetaData(
        naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
    )
)


class Base(SQLModel, registry=_REGISTRY):
    """What the core's tables share: one MetaData of their own."""


def _text(default: str = "") -> Any:
    return Field(default=default, sa_type=Text)


def _id() -> Any:
    return Field(primary_key=True, sa_type=ID)


def _time(**options: Any) -> Any:
    return Field(sa_type=UtcDateTime, **options)


def _json() -> Any:
    return Field(default_factory=dict, sa_type=JsonText, nullable=False)


def _of_a_person(table: str, column: str = "subject") -> Index:
    where = Column(column, Text) != ""
    return Index(f"ix_{table}_{column}", column, sqlite_where=where, postgresql_where=where)


class RowBase(Base):
    """What every row that came in carries beside its content.

    `sequence` is the store-wide number of the row's last change; `digest` tells an unchanged row; a deleted row stays
    as an emptied tombstone, so that whoever follows `sequence` learns of it. `details` holds `metadata` as JSON text.
    """

    collection: str = _id()
    id: str = _id()
    source: str = _text()
    details: str = _text("{}")
    sequence: int = Field(sa_type=BigInteger)
    digest: str = _text()
    deleted: bool = False
    stored_at: datetime = _time()


class DocumentRow(RowBase, table=True):
    __tablename__ = "documents"
    __table_args__ = (Index("ix_documents_sequence", "collection", "sequence"), _of_a_person("documents"))

    text: str = _text()
    title: str = _text()
    url: str = _text()
    locale: str = _text()
    published_at: datetime | None = _time(default=None, nullable=True)
    updated_at: datetime | None = _time(default=None, nullable=True)
    subject: str = _text()


class PassageRow(RowBase, table=True):
    __tablename__ = "passages"
    __table_args__ = (
        Index("ix_passages_sequence", "collection", "sequence"),
        Index("ix_passages_document_id", "collection", "document_id"),
        _of_a_person("passages"),
    )

    document_id: str = _text()
    text: str = _text()
    start_char: int = 0
    end_char: int = 0
    subject: str = _text()


class ExampleRow(RowBase, table=True):
    __tablename__ = "examples"
    __table_args__ = (Index("ix_examples_sequence", "collection", "sequence"), _of_a_person("examples"))

    text: str = _text()
    label: str = _text()
    text_pair: str = _text()
    split: str = _text()
    group_key: str = _text()
    at: datetime | None = _time(default=None, nullable=True)
    subject: str = _text()


class InteractionRow(RowBase, table=True):
    """`user_id` is the person: erasure looks there."""

    __tablename__ = "interactions"
    __table_args__ = (
        Index("ix_interactions_sequence", "collection", "sequence"),
        _of_a_person("interactions", "user_id"),
    )

    user_id: str = _text()
    item_id: str = _text()
    kind: str = _text()
    at: datetime | None = _time(default=None, nullable=True)  # empty in a tombstone only
    weight: float = 1.0
    session: str = _text()


class CursorRow(Base, table=True):
    """Where a source or a task stands."""

    __tablename__ = "cursors"

    name: str = _id()
    value: str = _text()
    updated_at: datetime = _time()


class CounterRow(Base, table=True):
    """One row, "sequence". Whoever writes locks it first, so the order of commits is the order of numbers."""

    __tablename__ = "counters"

    name: str = _id()
    value: int = Field(default=0, sa_type=BigInteger)


class OutboxEntry(Base, table=True):
    """Something to send, written in the transaction that decided it. `state`: waiting, delivered or dead."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("sink", "key"),
        Index("ix_outbox_due", "state", "sink", "not_before"),
        Index("ix_outbox_order", "sink", "order_key", "state", "id"),
        _of_a_person("outbox"),
        {"sqlite_autoincrement": True},  # the id of an erased row is never given to another
    )

    id: int | None = Field(default=None, primary_key=True)
    sink: str = _text()
    kind: str = _text()
    key: str = _text()
    order_key: str = _text()
    subject: str = _text()
    payload: dict[str, Any] = _json()
    state: str = _text("waiting")
    attempts: int = 0
    created_at: datetime = _time()
    not_before: datetime = _time()
    leased_until: datetime | None = _time(default=None, nullable=True)
    finished_at: datetime | None = _time(default=None, nullable=True)
    error: str = _text()
    receipt: dict[str, Any] = _json()


class ObjectionRow(Base, table=True):
    """An answer that was withheld, with who objected and why."""

    __tablename__ = "objections"
    __table_args__ = (_of_a_person("objections"),)

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = _time()
    service: str = _text()
    plugin: str = _text()
    reason: str = _text()
    request_id: str = _text()
    subject: str = _text()
    request: dict[str, Any] = _json()
    answer: dict[str, Any] = _json()


class ErasureRow(Base, table=True):
    """That somebody was erased, and when: a SHA-256 of the subject, never the subject."""

    __tablename__ = "erasures"

    subject_sha256: str = _id()
    at: datetime = _time()
    counts: dict[str, Any] = _json()


class ApiKeyRow(Base, table=True):
    """An API key: its SHA-256 and the part that may be shown."""

    __tablename__ = "api_keys"

    prefix: str = _id()
    sha256: str = Field(sa_type=Text, unique=True)
    name: str = _text()
    scopes: list[str] = Field(default_factory=list, sa_type=JsonText, nullable=False)
    created_at: datetime = _time()
    revoked_at: datetime | None = _time(default=None, nullable=True)


class AccountRow(Base, table=True):
    """A person who may sign in. `password_hash` is an Argon2 string."""

    __tablename__ = "accounts"

    name: str = _id()
    password_hash: str = _text()
    scopes: list[str] = Field(default_factory=list, sa_type=JsonText, nullable=False)
    created_at: datetime = _time()
    disabled: bool = False


metadata = Base.metadata


def table(name: str) -> Table:
    """Return a core table by name."""
    return metadata.tables[name]
