"""Who may ask: API keys, kept as SHA-256 of a key too long to guess, and people, kept with an Argon2 string."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from zlib import crc32

from sqlalchemy import delete, insert, select, update

from mercat.errors import AccessError
from mercat.store.clock import Clock
from mercat.store.objections import Opening
from mercat.store.tables import table


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; the key itself is shown once, when it is made."""

    prefix: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A person who may sign in."""

    name: str
    password_hash: str
    scopes: tuple[str, ...]
    created_at: datetime
    disabled: bool = False


class Accounts:
    """The keys and people of a store."""

    def __init__(self, reading: Opening, writing: Opening, clock: Clock) -> None:
        self._reading, self._writing, self._clock = reading, writing, clock

    def create_key(self, name: str, scopes: Iterable[str]) -> tuple[str, ApiKey]:
        """Make a key: `mercat_<prefix>_<256 random bits>_<checksum>`. Return it, for the only time, and its entry."""
        prefix, secret = secrets.token_hex(4), secrets.token_hex(32)
        body = f"mercat_{prefix}_{secret}"
        key = f"{body}_{crc32(body.encode()):08x}"
        entry = ApiKey(prefix, name, tuple(sorted(set(scopes))), self._clock())
        row = {
            "prefix": prefix,
            "sha256": _hash(key),
            "name": name,
            "scopes": list(entry.scopes),
            "created_at": entry.created_at,
        }
        with self._writing() as connection:
            connection.execute(insert(table("api_keys")).values(**row))
        return key, entry

    def find_key(self, key: str) -> ApiKey | None:
        """Return the entry of a valid key, None for a wrong or revoked one. A mistyped key costs no database."""
        body, _, checksum = key.rpartition("_")
        parts = body.split("_")
        if len(parts) != 3 or f"{crc32(body.encode(errors='replace')):08x}" != checksum:
            return None
        of = table("api_keys")
        asked = select(of.c.sha256, of.c.prefix, of.c.name, of.c.scopes, of.c.created_at, of.c.revoked_at)
        with self._reading() as connection:
            row = connection.execute(asked.where(of.c.prefix == parts[1])).one_or_none()
        if row is None or row.revoked_at is not None or not hmac.compare_digest(row.sha256, _hash(key)):
            return None
        return ApiKey(row.prefix, row.name, tuple(row.scopes), row.created_at)

    def revoke_key(self, prefix: str) -> None:
        """End a key. Raises AccessError when there is none."""
        of = table("api_keys")
        live = update(of).where(of.c.prefix == prefix, of.c.revoked_at.is_(None))
        with self._writing() as connection:
            if not connection.execute(live.values(revoked_at=self._clock())).rowcount:
                raise AccessError(f"Key '{prefix}' cannot be revoked", "No valid key has it", "mercat keys list")

    def keys(self) -> list[ApiKey]:
        """Return all keys ever made, oldest first."""
        of = table("api_keys")
        asked = select(of.c.prefix, of.c.name, of.c.scopes, of.c.created_at, of.c.revoked_at)
        with self._reading() as connection:
            rows = connection.execute(asked.order_by(of.c.created_at, of.c.prefix)).all()
        return [ApiKey(row[0], row[1], tuple(row[2]), row[3], row[4]) for row in rows]

    def set_user(self, name: str, password_hash: str, scopes: Iterable[str], *, disabled: bool = False) -> User:
        """Add a person or replace password and scopes. `password_hash` is an Argon2 string, "$argon2id$…".

        Raises AccessError for anything else.
        """
        if not password_hash.startswith("$argon2"):
            raise AccessError(
                f"The password of '{name}' cannot be kept", "It is not hashed with Argon2", "hash it first"
            )
        of = table("accounts")
        with self._writing() as connection:
            old = connection.execute(select(of.c.created_at).where(of.c.name == name)).scalar_one_or_none()
            user = User(name, password_hash, tuple(sorted(set(scopes))), old or self._clock(), disabled)
            connection.execute(delete(of).where(of.c.name == name))
            row = {"name": name, "password_hash": password_hash, "scopes": list(user.scopes)}
            connection.execute(insert(of).values(**row, created_at=user.created_at, disabled=disabled))
        return user

    def user(self, name: str) -> User | None:
        """Return a person, disabled ones too; None when there is no such."""
        return next((user for user in self.users() if user.name == name), None)

    def users(self) -> list[User]:
        """Return all people by name."""
        of = table("accounts")
        asked = select(of.c.name, of.c.password_hash, of.c.scopes, of.c.created_at, of.c.disabled).order_by(of.c.name)
        with self._reading() as connection:
            rows = connection.execute(asked).all()
        return [User(row[0], row[1], tuple(row[2]), row[3], row[4]) for row in rows]

    def remove_user(self, name: str) -> bool:
        """Remove a person. Return whether there was one."""
        of = table("accounts")
        with self._writing() as connection:
            return connection.execute(delete(of).where(of.c.name == name)).rowcount == 1


def _hash(key: str) -> str:
    return sha256(key.encode(errors="replace")).hexdigest()
