"""Mentions and alerts."""

import sqlalchemy as sa
from alembic import op

from mercat.store.types import JsonText, UtcDateTime

revision = "financial_sentiment_0001"
down_revision = None
branch_labels = ("financial_sentiment",)
depends_on = None


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, primary_key=key)


def upgrade() -> None:
    mentions = "financial_sentiment_mentions"
    op.create_table(
        mentions,
        *(_text(name, key=True) for name in ("monitor", "article", "topic")),
        sa.Column("event_at", UtcDateTime, nullable=False),
        _text("label"),
        sa.Column("negative", sa.Float, nullable=False),
        sa.Column("positive", sa.Float, nullable=False),
        sa.Column("abstained", sa.Boolean, nullable=False),
        *(_text(name) for name in ("copy_of", "title", "url", "source", "locale", "subject")),
    )
    op.create_index(f"ix_{mentions}_topic", mentions, ["monitor", "topic", "event_at"])
    op.create_index(f"ix_{mentions}_event", mentions, ["monitor", "event_at"])
    alerts = "financial_sentiment_alerts"
    op.create_table(
        alerts,
        _text("id", key=True),
        *(_text(name) for name in ("monitor", "topic")),
        sa.Column("fired_at", UtcDateTime, nullable=False),
        _text("state"),
        sa.Column("stories", sa.Integer, nullable=False),
        sa.Column("negative", sa.Integer, nullable=False),
        sa.Column("baseline", sa.Float, nullable=False),
        sa.Column("p_value", sa.Float, nullable=False),
        _text("reason"),
        sa.Column("drivers", JsonText, nullable=False),
        _text("acknowledged_by"),
        sa.Column("changed_at", UtcDateTime, nullable=False),
    )
    op.create_index(f"ix_{alerts}_topic", alerts, ["monitor", "topic", "fired_at"])


def downgrade() -> None:
    op.drop_table("financial_sentiment_alerts")
    op.drop_table("financial_sentiment_mentions")
