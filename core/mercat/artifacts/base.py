"""An artifact: finished, in the making, and as a line of a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Artifact:
    """One finished version. `folder` holds its files; all of them have been checked against their sha256."""

    name: str
    version: str
    folder: Path
    kind: str
    recipe: str
    provider: str
    config: Mapping[str, Any]
    encoder_fingerprint: str
    data_digest: str
    seed: int
    metrics: Mapping[str, Any]
    created_at: datetime
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ArtifactWriter:
    """An artifact being made. Put files into `folder`; they count once the `create` block is left.

    `withheld` says why it must not become current by itself, although that was asked for; empty for no reason.
    """

    name: str
    folder: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    encoder_fingerprint: str = ""
    data_digest: str = ""
    withheld: str = ""
    artifact: Artifact | None = None

    def note(self, key: str, value: Any) -> None:
        """Keep a JSON-able fact in artifact.json."""
        self.details[key] = value


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """One line of `mercat artifacts list`. Of a version whose description is damaged only `cause` is known."""

    name: str
    version: str
    current: bool
    kind: str = ""
    recipe: str = ""
    created_at: datetime | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    cause: str = ""
