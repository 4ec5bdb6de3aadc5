"""What the databases say when they cannot, told as StoreError in three parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoneFree

from mercat.errors import StoreError

_SIGNS = (
    # (words in the message or an SQLSTATE, what was found, what to do next)
    (("disk is full", "53100", "No space left"), "The disk is full", "free some space and run it again"),
    (("database is locked", "55P03", "40P01"), "Another writer holds it for too long", "run it again in a moment"),
    (("readonly database", "42501", "25006"), "It may not be written by this user", "give this user write access"),
    (("unable to open",), "The file cannot be opened", "check the folder and its permissions"),
    (("not a database", "malformed"), "The file is damaged or no database", "mercat restore BACKUP NEW_FOLDER"),
    (("disk I/O error", "58030"), "The disk did not read or write", "check it, then mercat restore BACKUP NEW_FOLDER"),
    (("no such table", "no such column", "42P01", "42703"), "A table is missing", "mercat db upgrade"),
    (
        ("connection", "08", "57P", "could not translate host", "password authentication"),
        "The database server does not answer",
        "check that it runs and that the url is right",
    ),
)


@contextmanager
def told_as_store_error(asked: str, where: str) -> Iterator[None]:
    """Turn a fault of the database into StoreError; a wrong statement or a broken constraint stays itself."""
    try:
        yield
    except NoneFree as error:
        raise StoreError(asked, f"No connection to {where} came free", "run it again in a moment") from error
    except DBAPIError as error:
        found = _sign_of(error)
        if found is None:
            raise
        raise StoreError(asked, f"{found[0]} ({where}: {_first_line(error)})", found[1]) from error


def _sign_of(error: DBAPIError) -> tuple[str, str] | None:
    if isinstance(error, IntegrityError):
        return None
    message, state = str(error.orig), getattr(error.orig, "sqlstate", None) or ""
    for words, found, following in _SIGNS:
        if any(state.startswith(word) if state and word[:2].isdigit() else word in message for word in words):
            return found, following
    return None


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]
