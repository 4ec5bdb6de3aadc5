"""The first tables of the core."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from mercat.store.types import ID, JsonText, UtcDateTime

revision = "mercat_0001"
down_revision = None
branch_labels = ("mercat",)
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, ID, nullable=False, primary_key=True)


def _row_table(name: str, *content: sa.Column[Any], person: str = "subject") -> None:
    op.create_table(
        name,
        _key("collection"),
        _key("id"),
        _text("source"),
        _text("details"),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        _text("digest"),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("stored_at", UtcDateTime, nullable=False),
        *content,
    )
    op.create_index(f"ix_{name}_sequence", name, ["collection", "sequence"])
    _index_of_a_person(name, person)


def _index_of_a_person(name: str, column: str = "subject") -> None:
    where = sa.text(f"{column} != ''")
    op.create_index(f"ix_{name}_{column}", name, [column], sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    _row_tables()
    _state_tables()
    _outbox()
    _people_tables()
    counters = sa.table("counters", sa.column("name", sa.Text), sa.column("value", sa.BigInteger))
    op.bulk_insert(counters, [{"name": "sequence", "value": 0}])


def _row_tables() -> None:
    _row_table(
        "documents",
        *(_text(name) for name in ("text", "title", "url", "locale")),
        sa.Column("published_at", UtcDateTime),
        sa.Column("updated_at", UtcDateTime),
        _text("subject"),
    )
    _row_table(
        "passages",
        _text("document_id"),
        _text("text"),
        sa.Column("start_char", sa.Integer, nullable=False),
        sa.Column("end_char", sa.Integer, nullable=False),
        _text("subject"),
    )
    op.create_index("ix_passages_document_id", "passages", ["collection", "document_id"])
    _row_table(
        "examples",
        *(_text(name) for name in ("text", "label", "text_pair", "split", "group_key")),
        sa.Column("at", UtcDateTime),
        _text("subject"),
    )
    _row_table(
        "interactions",
        *(_text(name) for name in ("user_id", "item_id", "kind")),
        sa.Column("at", UtcDateTime),
        sa.Column("weight", sa.Float, nullable=False),
        _text("session"),
        person="user_id",
    )


def _state_tables() -> None:
    op.create_table("cursors", _key("name"), _text("value"), sa.Column("updated_at", UtcDateTime, nullable=False))
    op.create_table("counters", _key("name"), sa.Column("value", sa.BigInteger, nullable=False))


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        *(_text(name) for name in ("sink", "kind", "key", "order_key", "subject")),
        sa.Column("payload", JsonText, nullable=False),
        _text("state"),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("not_before", UtcDateTime, nullable=False),
        sa.Column("leased_until", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        _text("error"),
        sa.Column("receipt", JsonText, nullable=False),
        sa.UniqueConstraint("sink", "key", name="uq_outbox_sink_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_due", "outbox", ["state", "sink", "not_before"])
    op.create_index("ix_outbox_order", "outbox", ["sink", "order_key", "state", "id"])
    _index_of_a_person("outbox")


def _people_tables() -> None:
    op.create_table(
        "objections",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", UtcDateTime, nullable=False),
        *(_text(name) for name in ("service", "plugin", "reason", "request_id", "subject")),
        sa.Column("request", JsonText, nullable=False),
        sa.Column("answer", JsonText, nullable=False),
    )
    _index_of_a_person("objections")
    op.create_table(
        "erasures",
        _key("subject_sha256"),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("counts", JsonText, nullable=False),
    )
    op.create_table(
        "api_keys",
        _key("prefix"),
        _text("sha256"),
        _text("name"),
        sa.Column("scopes", JsonText, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("revoked_at", UtcDateTime),
        sa.UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )
    op.create_table(
        "accounts",
        _key("name"),
        _text("password_hash"),
        sa.Column("scopes", JsonText, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    for name in ("accounts", "api_keys", "erasures", "objections", "outbox", "counters", "cursors"):
        op.drop_table(name)
    for name in ("interactions", "examples", "passages", "documents"):
        op.drop_table(name)
