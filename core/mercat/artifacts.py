"""What training leaves behind: versioned folders of plain files, checked before they are read. No pickle.

artifacts/intents/0001/artifact.json      what it is, made from what, with a sha256 of every other file
                      /head.safetensors …
                 /current                 the version that services use, one line of text
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.errors import ArtifactError, unknown_name

SCHEMA = 1
_KEYS = (
    "kind",
    "recipe",
    "provider",
    "config",
    "encoder_fingerprint",
    "data_digest",
    "seed",
    "metrics",
    "details",
    "files",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


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
    """An artifact being made. Put files into `folder`; they count once the `create` block is left."""

    name: str
    folder: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    encoder_fingerprint: str = ""
    data_digest: str = ""
    artifact: Artifact | None = None

    def note(self, key: str, value: Any) -> None:
        """Keep a JSON-able fact in artifact.json."""
        self.details[key] = value


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """One line of `mercat artifacts list`."""

    name: str
    version: str
    current: bool
    kind: str
    recipe: str
    created_at: datetime
    metrics: Mapping[str, Any]


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
        """Open a temporary folder; on leaving the block make it the next version, or remove it after an exception."""
        parent = self._parent(name)
        parent.mkdir(parents=True, exist_ok=True)
        temporary = parent / f".new-{os.getpid()}-{os.urandom(4).hex()}"
        temporary.mkdir()
        writer = ArtifactWriter(name, temporary, encoder_fingerprint=encoder_fingerprint, data_digest=data_digest)
        try:
            yield writer
            meta = {
                "schema": SCHEMA,
                "name": name,
                "kind": kind,
                "recipe": recipe,
                "provider": provider,
                "config": dict(config or {}),
                "encoder_fingerprint": writer.encoder_fingerprint,
                "data_digest": writer.data_digest,
                "seed": seed,
                "metrics": {key: _plain(value) for key, value in writer.metrics.items()},
                "created_at": self._clock().isoformat(),
                "details": _plain(writer.details),
            }
            version = self._publish(parent, temporary, meta)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if promote or not (parent / "current").exists():
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
        for relative, expected in meta["files"].items():
            self._check(folder, relative, expected, name)
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
        return sorted(path.parent.name for path in self._parent(name).glob("[0-9]*/artifact.json"))

    def list(self) -> list[ArtifactRow]:
        """Return a row per version of every artifact, without checking their files."""
        rows = []
        for name in self.names():
            current = self.current(name)
            for version in self.versions(name):
                meta = self._meta(self._parent(name) / version, name, version)
                created = datetime.fromisoformat(meta["created_at"])
                rows.append(
                    ArtifactRow(
                        name, version, version == current, meta["kind"], meta["recipe"], created, meta["metrics"]
                    )
                )
        return rows

    def promote(self, name: str, version: str) -> None:
        """Make `version` the one that services use. The change of the pointer is atomic."""
        parent = self._parent(name)
        if version not in self.versions(name):
            raise unknown_name(
                f"version of artifact '{name}'", version, self.versions(name), next="mercat artifacts list"
            )
        history = parent / "history"
        pointer = parent / "current"
        previous = pointer.read_text().strip() if pointer.exists() else ""
        if previous and previous != version:
            lines = history.read_text().splitlines() if history.exists() else []
            _write_durably(history, "\n".join([*lines, previous]) + "\n")
        _write_durably(pointer, version + "\n")

    def rollback(self, name: str) -> str:
        """Go back to the version that was current before, and return it."""
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
        _write_durably(parent / "current", previous + "\n")
        _write_durably(history, "\n".join(lines) + ("\n" if lines else ""))
        return previous

    def _parent(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ArtifactError(
                f"'{name}' cannot be the name of an artifact",
                "Names have 1 to 80 characters of a-z, 0-9, dot, hyphen and underscore",
                "another name in mercat.toml",
            )
        return self.root / name

    def _publish(self, parent: Path, temporary: Path, meta: dict[str, Any]) -> str:
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        meta["files"] = {str(path.relative_to(temporary)): _sha256(path) for path in files}
        for path in files:
            _fsync(path)
        _write_durably(temporary / "artifact.json", json.dumps(meta, indent=2, ensure_ascii=False, sort_keys=True))
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
        _fsync(parent)
        return version

    def _meta(self, folder: Path, name: str, version: str) -> dict[str, Any]:
        path = folder / "artifact.json"
        if not path.is_file():
            raise unknown_name(
                f"version of artifact '{name}'", version, self.versions(name), next="mercat artifacts list"
            )
        try:
            meta = json.loads(path.read_text())
            schema = meta["schema"]
            if schema == SCHEMA:
                datetime.fromisoformat(meta["created_at"])
                _ = [meta[key] for key in _KEYS]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"Artifact '{name}' version {version} cannot be read",
                f"artifact.json is damaged ({error})",
                _cure(name),
            ) from error
        if schema != SCHEMA:
            raise ArtifactError(
                f"Artifact '{name}' version {version} has schema {schema}",
                f"This mercat reads schema {SCHEMA}",
                "pip install --upgrade mercat",
            )
        return dict(meta)

    def _check(self, folder: Path, relative: str, expected: str, name: str) -> None:
        path = (folder / relative).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ArtifactError(
                f"Artifact '{name}' names the file {relative}", "It lies outside its folder", _cure(name)
            )
        if not path.is_file() or _sha256(path) != expected:
            found = "Its contents have changed" if path.is_file() else "It is missing"
            raise ArtifactError(f"Artifact '{name}' needs its file {relative}", found, _cure(name))


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as safetensors."""
    from safetensors.numpy import save_file

    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, str(path))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read named arrays from a safetensors file."""
    from safetensors.numpy import load_file

    return dict(load_file(str(path)))


def _cure(name: str) -> str:
    return f"mercat artifacts rollback {name}, or mercat train {name}"


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(text)
    _fsync(temporary)
    temporary.replace(path)
    _fsync(path.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
