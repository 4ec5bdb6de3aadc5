"""Every error that a user of mercat can mend, each in three parts: what was asked, what was found, what to type next.

MercatError
├── ConfigError            mercat.toml does not say something it must, or says it wrongly
│   ├── UnknownName        no part, section or artifact of that name
│   ├── UnknownKey         a key that the factory's signature does not have
│   └── MissingSecret      an environment variable that the config names is not set
├── MissingExtra           an optional package is not installed
├── PluginError            a plugin cannot be loaded or broke its contract
├── ArtifactError          an artifact is missing, broken or of a newer schema
│   └── FingerprintError   an index or head was asked with another encoder's vectors
├── DataError              rows or files that cannot be used: empty, wrong encoding, a label seen once
├── StoreError             the database is behind, locked, full or unreachable
├── ConnectError           another system did not answer as it should
│   └── AddressRefused     the address guard does not allow this target
├── WorkerLost             a process that computes together with others has ended
└── AccessError            who asks is not known, or may not do this
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MercatError(Exception):
    """Base of all. `str(error)` is one line: asked, found, next."""

    def __init__(self, asked: str, found: str = "", next: str = "") -> None:
        self.asked, self.found, self.next = asked, found, next
        super().__init__(asked, found, next)

    def __str__(self) -> str:
        parts = [_sentence(part) for part in (self.asked, self.found) if part]
        if self.next:
            parts.append(_sentence(f"Try: {self.next}", stop=False))
        return " ".join(parts)


class ConfigError(MercatError):
    """The configuration cannot be used as it stands."""


class UnknownName(ConfigError):
    """No part, section or artifact of that name."""


class UnknownKey(ConfigError):
    """A key that the factory behind a section does not take."""


class MissingSecret(ConfigError):
    """A secret is named in the config and not set in the environment."""


class MissingExtra(MercatError):
    """An optional package is not installed."""


class PluginError(MercatError):
    """A plugin cannot be loaded, or broke its contract."""


class ArtifactError(MercatError):
    """An artifact is missing, broken, or of a schema this version cannot read."""


class FingerprintError(ArtifactError):
    """An index or head was asked with another encoder's vectors."""


class DataError(MercatError):
    """Rows or files that cannot be used."""


class StoreError(MercatError):
    """The database is behind the code, locked, full or unreachable."""


class ConnectError(MercatError):
    """Another system did not answer as it should."""


class AddressRefused(ConnectError):
    """The address guard does not allow this target."""


class WorkerLost(MercatError):
    """A process that computes together with others was killed or has failed."""


class AccessError(MercatError):
    """Who asks is not known, or may not do this."""


def unknown_name(
    what: str, name: str, known: Iterable[str], *, cause: str = "", next: str = "mercat plugins"
) -> UnknownName:
    """Build the error for a name that is not there, with the nearest match and the known names.

    >>> print(unknown_name("encoder", "minilm-l6", ["hashing", "minilm"]))
    No encoder named 'minilm-l6'. Did you mean 'minilm'? Known: hashing, minilm. Try: mercat plugins
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    found = f"Did you mean '{near[0]}'? " if near else ""
    found += f"Known: {', '.join(names) if names else 'none'}"
    if cause:
        found += f". {cause}"
    return UnknownName(f"No {what} named '{name}'", found, next)


def missing_extra(what: str, package: str, extra: str) -> MissingExtra:
    """Build the error for an optional package that is not installed."""
    return MissingExtra(
        f"{what} needs the package '{package}'", "It is not installed", f'pip install "mercat[{extra}]"'
    )


def _sentence(text: str, *, stop: bool = True) -> str:
    text = text.strip()
    return text if not stop or text.endswith((".", "?", "!", ":")) else text + "."
