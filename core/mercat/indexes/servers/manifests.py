"""What a server knows of an index without its rows: the manifest, a note that names the table that counts."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from mercat.errors import ArtifactError
from mercat.indexes import storage
from mercat.indexes.base import IndexInfo
from mercat.indexes.servers.base import Server

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """A manifest, the table that it names, and the sequence of a save that was begun, if one was."""

    manifest: storage.Manifest
    table: str
    unfinished: int | None = None
    save: str = ""  # differs from save to save

    @property
    def note(self) -> str:
        """What a reader should know."""
        if self.unfinished is None:
            return ""
        return f"a save of change {self.unfinished} is going on or was cut off; the next refresh makes it whole"

    def info(self) -> IndexInfo:
        """Say what is saved."""
        found = self.manifest
        return IndexInfo(
            found.backend,
            found.kind,
            "",
            found.dimensions,
            found.rows,
            found.fingerprint,
            found.sequence,
            self.note,
            found.contents,
        )

    def expect(self, section: str, *, backend: str, dimensions: int, fingerprint: str, contents: str) -> None:
        """Raise FingerprintError or ArtifactError unless what is stored is what is asked for."""
        stored = storage.Stored(self.manifest, Path(section) / self.table)
        storage.expect(stored, backend=backend, dimensions=dimensions, fingerprint=fingerprint, contents=contents)


def read(server: Server, name: str, section: str) -> Shown | None:
    """Return the manifest of an index, None if there is none. ArtifactError if this version cannot read it."""
    text = server.note(name)
    if text is None:
        return None
    asked = f"Opening the index '{section}' on {server.backend}"
    try:
        data = json.loads(text)
        schema = data.pop("schema")
        if schema != SCHEMA:
            found = f"Its manifest has the schema {schema}; this version of mercat reads {SCHEMA}"
            raise ArtifactError(asked, found, "pip install --upgrade mercat")
        return Shown(storage.Manifest(**data.pop("index")), **data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(asked, f"Its manifest cannot be read: {error}", storage.REMEDY) from error


def written(shown: Shown) -> str:
    """Return a manifest as a note."""
    described = asdict(shown)
    return json.dumps({"schema": SCHEMA, "index": described.pop("manifest"), **described}, ensure_ascii=False)


def new_table(name: str) -> str:
    """Return a name for a new table of an index."""
    return f"{name}_{uuid.uuid4().hex[:12]}"


def is_of(table: str, name: str) -> bool:
    """Say whether a table was made for the index of that name."""
    return re.fullmatch(rf"{re.escape(name)}_[0-9a-f]{{12}}", table) is not None
