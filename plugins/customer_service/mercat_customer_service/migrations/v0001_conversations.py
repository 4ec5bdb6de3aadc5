"""Conversations and their turns."""

import sqlalchemy as sa
from alembic import op

from mercat.store.types import JsonText, UtcDateTime

revision = "customer_service_0001"
down_revision = None
branch_labels = ("customer_service",)
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    op.create_table(
        "customer_service_conversations",
        sa.Column("id", sa.Text, primary_key=True),
        *(_text(name) for name in ("service", "subject", "state", "locale")),
        sa.Column("offered", JsonText, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("questions_asked", "turns", "handed_over")),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_customer_service_conversations_subject", "customer_service_conversations", ["subject"])
    op.create_table(
        "customer_service_turns",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        _text("conversation"),
        sa.Column("number", sa.Integer, nullable=False),
        *(_text(name) for name in ("speaker", "text", "action", "intent")),
        sa.Column("confidence", sa.Float, nullable=False),
        *(_text(name) for name in ("reason", "request_id", "subject")),
        sa.Column("reply", JsonText, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("conversation", "number", name="uq_customer_service_turns_number"),
    )
    op.create_index("ix_customer_service_turns_request", "customer_service_turns", ["request_id"])
    op.create_index("ix_customer_service_turns_subject", "customer_service_turns", ["subject"])


def downgrade() -> None:
    op.drop_table("customer_service_turns")
    op.drop_table("customer_service_conversations")
