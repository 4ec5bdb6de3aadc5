"""The artifacts of one workspace: made, opened, promoted, taken back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mercat.artifacts import description
from mercat.artifacts.base import Artifact, ArtifactRow, ArtifactWriter
from mercat.artifacts.files import fsync, plain, sha256, write_durably
from mercat.artifacts.unfinished import remove_abandoned, unfinished
from mercat.errors import ArtifactError, unknown_name

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


class Artifacts:
    """The artifacts of one workspace."""

    def __init__(self, root: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.root, self._clock = root, clock

    @contextmanager
    def create(
        self,
        name: str,
        *,
        kind: str,
        recipe: str,
        provider: str = "mercat",
        config: Mapping[str, Any] | None = None,
        encoder_fingerprint: str = "",
        data_digest: str = "",
        seed: int = 0,
        promote: bool = True,
    ) -> Iterator[ArtifactWriter]:
        """Open a temporary folder; on leaving the block make it the next version, or remove it after an exception.

        What killed processes left unfinished is removed first. The version becomes current if `promote` says so and the
        writer does not withhold it; the first one of a name always.
        """
        parent = self._parent(name)
        parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.root)
        with unfinished(parent) as temporary:
            writer = ArtifactWriter(name, temporary, encoder_fingerprint=encoder_fingerprint, data_digest=data_digest)
            yield writer
            meta = {
                "schema": description.SCHEMA,
                "name": name,
                "kind": kind,
                "recipe": recipe,
                "provider": provider,
                "config": dict(config or {}),
                "encoder_fingerprint": writer.encoder_fingerprint,
                "data_digest": writer.data_digest,
                "seed": seed,
                "metrics": {key: plain(value) for key, value in writer.metrics.items()},
                "created_at": self._clock().isoformat(),
                "details": plain({**writer.details, **({"withheld": writer.withheld} if writer.withheld else {})}),
            }
            version = _publish(parent, temporary, meta)
        if (promote and not writer.withheld) or not (parent / "current").exists():
            self.promote(name, version)
        writer.folder = parent / version
        writer.artifact = self.open(name, version)

    def open(self, name: str, version: str | None = None) -> Artifact:
        """Return a version (the current one by default) after checking its schema and every file.

        Raises UnknownName when there is none and ArtifactError when it is broken or of a newer schema.
        """
        chosen = version or self.current(name)
        folder = self._parent(name) / chosen
        meta = self._meta(folder, name, chosen)
        description.check_files(folder, meta["files"], name)
        return Artifact(
            name=name,
            version=chosen,
            folder=folder,
            kind=meta["kind"],
            recipe=meta["recipe"],
            provider=meta["provider"],
            config=meta["config"],
            encoder_fingerprint=meta["encoder_fingerprint"],
            data_digest=meta["data_digest"],
            seed=meta["seed"],
            metrics=meta["metrics"],
            created_at=datetime.fromisoformat(meta["created_at"]),
            details=meta["details"],
        )

    def current(self, name: str) -> str:
        """Return the version that services use."""
        pointer = self._parent(name) / "current"
        if not pointer.is_file():
            raise unknown_name("artifact", name, self.names(), next=f"mercat train {name}")
        return pointer.read_text().strip()

    def names(self) -> list[str]:
        """Return the names that have a current version."""
        return sorted(path.parent.name for path in self.root.glob("*/current"))

    def versions(self, name: str) -> list[str]:
        """Return all finished versions, oldest first."""
        return sorted(path.name for path in self._parent(name).glob("[0-9]*") if path.is_dir())

    def list(self) -> list[ArtifactRow]:
        """Return a row per version of every artifact, without checking their files.

        A version whose description cannot be read is a row with the cause.
        """
        return [
            self._row(name, version, current=version == current)
            for name in self.names()
            for current in [self.current(name)]
            for version in self.versions(name)
        ]

    def promote(self, name: str, version: str) -> None:
        """Make `version` the one that services use. The change of the pointer is atomic.

        Raises UnknownName when there is no such version and ArtifactError when its description is damaged.
        """
        parent = self._parent(name)
        if version not in self.versions(name):
            raise unknown_name(
                f"version of artifact '{name}'", version, self.versions(name), next="mercat artifacts list"
            )
        description.read(parent / version, name, version)
        history = parent / "history"
        pointer = parent / "current"
        previous = pointer.read_text().strip() if pointer.exists() else ""
        if previous and previous != version:
            lines = history.read_text().splitlines() if history.exists() else []
            write_durably(history, "\n".join([*lines, previous]) + "\n")
        write_durably(pointer, version + "\n")

    def rollback(self, name: str) -> str:
        """Go back to the version that was current before, and return it.

        Raises ArtifactError without an earlier one.
        """
        parent = self._parent(name)
        current = self.current(name)
        history = parent / "history"
        lines = history.read_text().splitlines() if history.exists() else []
        if not lines:
            raise ArtifactError(
                f"Artifact '{name}' cannot go back",
                f"{current} is its only promoted version",
                "mercat artifacts list",
            )
        previous = lines.pop()
        try:
            description.read(parent / previous, name, previous)
        except ArtifactError as error:
            cure = f"mercat artifacts list, then mercat artifacts promote {name} VERSION"
            raise ArtifactError(f"Artifact '{name}' cannot go back to {previous}", error.found, cure) from error
        write_durably(parent / "current", previous + "\n")
        write_durably(history, "\n".join(lines) + ("\n" if lines else ""))
        return previous

    def _parent(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ArtifactError(
                f"'{name}' cannot be the name of an artifact",
                "Names have 1 to 80 characters of a-z, 0-9, dot, hyphen and underscore",
                "another name in mercat.toml",
            )
        return self.root / name

    def _row(self, name: str, version: str, *, current: bool) -> ArtifactRow:
        try:
            meta = description.read(self._parent(name) / version, name, version)
        except ArtifactError as error:
            return ArtifactRow(name, version, current, cause=error.found)
        created = datetime.fromisoformat(meta["created_at"])
        return ArtifactRow(name, version, current, meta["kind"], meta["recipe"], created, meta["metrics"])

    def _meta(self, folder: Path, name: str, version: str) -> dict[str, Any]:
        if not folder.is_dir():
            raise unknown_name(
                f"version of artifact '{name}'", version, self.versions(name), next="mercat artifacts list"
            )
        return description.read(folder, name, version)


def _publish(parent: Path, temporary: Path, meta: dict[str, Any]) -> str:
    files = sorted(path for path in temporary.rglob("*") if path.is_file())
    meta["files"] = {str(path.relative_to(temporary)): sha256(path) for path in files}
    for path in files:
        fsync(path)
    write_durably(temporary / description.FILE, json.dumps(meta, indent=2, ensure_ascii=False, sort_keys=True))
    taken = [int(path.name) for path in parent.iterdir() if path.name.isdigit()]
    number = max(taken, default=0) + 1
    while True:  # another process may take the same number at this moment
        version = f"{number:04d}"
        try:
            temporary.rename(parent / version)
            break
        except OSError:
            if not (parent / version).exists():
                raise
            number += 1
    fsync(parent)
    return version
