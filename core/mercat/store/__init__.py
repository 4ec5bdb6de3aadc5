"""The store: rows, cursors, outbox, erasure and accounts in SQLite by default, PostgreSQL by URL.

What a call has returned for survives a kill and a power cut. Only this room, and a plugin's `tables.py` and
migrations, know SQLAlchemy.
"""

from mercat.registry import TableSet
from mercat.store import tables
from mercat.store.accounts import Accounts, ApiKey, User
from mercat.store.mapping import problem_of
from mercat.store.objections import StoredObjection, plain
from mercat.store.outbox import OutboxRow
from mercat.store.reader import Change
from mercat.store.store import Store
from mercat.store.transaction import Transaction, Upserted
from mercat.store.types import JsonText, UtcDateTime

__all__ = [
    "Accounts",
    "ApiKey",
    "Change",
    "JsonText",
    "OutboxRow",
    "Store",
    "StoredObjection",
    "TableSet",
    "Transaction",
    "Upserted",
    "User",
    "UtcDateTime",
    "plain",
    "problem_of",
    "tables",
]
