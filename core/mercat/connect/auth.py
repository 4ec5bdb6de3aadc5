"""Ways to sign in to another system. None of them shows its secret in `repr`."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Protocol


class Auth(Protocol):
    """Adds headers to a request, and names the secrets in them so that messages can leave them out."""

    def headers(self) -> dict[str, str]:
        """Return the headers to add, names in lower case."""
        ...

    def secrets(self) -> list[str]:
        """Return the texts that no message may show."""
        ...


@dataclass(frozen=True, slots=True)
class Basic:
    """User name and password (RFC 7617)."""

    username: str
    password: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """Return the header `authorization`."""
        return {"authorization": f"Basic {self._encoded()}"}

    def secrets(self) -> list[str]:
        """Return the password and the encoded pair."""
        return [self.password, self._encoded()]

    def _encoded(self) -> str:
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token (RFC 6750)."""

    token: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """Return the header `authorization`."""
        return {"authorization": f"Bearer {self.token}"}

    def secrets(self) -> list[str]:
        """Return the token."""
        return [self.token]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in a header of its own, such as `X-Api-Key`."""

    header: str
    key: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """Return the header with the key."""
        return {self.header.lower(): self.key}

    def secrets(self) -> list[str]:
        """Return the key."""
        return [self.key]
