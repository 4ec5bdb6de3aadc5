"""Files of an index on disk, such that a kill at any moment leaves the old save or the new one, never a mixture.

    folder/
    ├── current          the name of the version that counts, replaced in one step
    ├── savers           locked by the process that saves
    ├── readers          locked, shared, by processes that load: until then nothing is removed
    └── 0000007/         manifest.json beside the files; complete and on the disk before `current` names it

Each file's SHA-256 is in the manifest and is checked when the version is opened. Numbers are kept as npy, text as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mercat.errors import ArtifactError, FingerprintError

SCHEMA = 1
REMEDY = "mercat index build --anew"
_MANIFEST = "manifest.json"
_CURRENT = "current"

Writer = Callable[[Path], object]  # writes one file at the path given


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is saved in a version; `details` are the backend's own."""

    backend: str
    kind: str
    dimensions: int
    rows: int
    fingerprint: str
    sequence: int
    contents: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """An opened version: its manifest and the folder with its checked files."""

    manifest: Manifest
    folder: Path


def write(folder: Path, manifest: Manifest, files: Mapping[str, Writer]) -> None:
    """Save a new version and make it the current one; older versions are removed when nobody loads them.

    Two processes that save into one folder wait for each other; the later one counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "savers", "exclusive"):
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
        try:
            _write_files(building, manifest, files)
            version = _next_version(folder)
            building.rename(folder / version)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        _sync_folder(folder)
        _point_to(folder, version)
        _remove_all_but(folder, version)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of the current version without checking the files; None if nothing was ever saved."""
    if not (folder / _CURRENT).exists():
        return None
    with _locked(folder / "readers", "shared"):
        return _parse(_current(folder) / _MANIFEST)[0]


@contextmanager
def opened(folder: Path) -> Iterator[Stored | None]:
    """Check the current version and keep its files in place for the block; None if nothing was ever saved.

    ArtifactError if it is broken.
    """
    if not (folder / _CURRENT).exists():
        yield None
        return
    with _locked(folder / "readers", "shared"):
        version = _current(folder)
        manifest, sums = _parse(version / _MANIFEST)
        _check_sums(version, sums)
        yield Stored(manifest, version)


def expect(stored: Stored, *, backend: str, dimensions: int, fingerprint: str, contents: str) -> None:
    """Raise FingerprintError or ArtifactError unless what is stored is what is asked for."""
    found, place = stored.manifest, stored.folder.parent.name
    if found.backend != backend:
        raise ArtifactError(
            f"Index '{place}' was asked for as '{backend}'", f"It was saved as '{found.backend}'", REMEDY
        )
    if found.fingerprint != fingerprint or found.dimensions != dimensions:
        raise FingerprintError(
            f"Index '{place}' was asked with vectors of {fingerprint} ({dimensions} wide)",
            f"It holds vectors of {found.fingerprint} ({found.dimensions} wide); their distances mean nothing",
            REMEDY,
        )
    if contents and found.contents and found.contents != contents:
        raise ArtifactError(f"Index '{place}' was asked for {contents}", f"It holds {found.contents}", REMEDY)


def _write_files(building: Path, manifest: Manifest, files: Mapping[str, Writer]) -> None:
    sums = {}
    for name, write_to in files.items():
        path = building / name
        write_to(path)
        _sync_file(path)
        sums[name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    text = json.dumps({"schema": SCHEMA, **asdict(manifest), "files": sums}, ensure_ascii=False, indent=1)
    (building / _MANIFEST).write_text(text, encoding="utf-8")
    _sync_file(building / _MANIFEST)
    _sync_folder(building)


def _parse(path: Path) -> tuple[Manifest, dict[str, dict[str, Any]]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        schema = data.pop("schema")
        if schema != SCHEMA:
            raise _broken(path, f"its schema is {schema}, this version reads {SCHEMA}")
        sums = data.pop("files")
        return Manifest(**data), sums
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, f"{path.name} cannot be read: {error}") from error


def _check_sums(version: Path, sums: Mapping[str, Mapping[str, Any]]) -> None:
    for name, expected in sums.items():
        path = version / name
        if Path(name).name != name or not path.is_file():
            raise _broken(path, f"{name} is missing")
        if path.stat().st_size != expected["bytes"] or _sha256(path) != expected["sha256"]:
            raise _broken(path, f"{name} is not what was saved")


def _broken(path: Path, why: str) -> ArtifactError:
    place = path.parent.parent
    return ArtifactError(f"Opening the index in {place}", f"It is broken: {why}", REMEDY)


def _current(folder: Path) -> Path:
    try:
        name = (folder / _CURRENT).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise _broken(folder / "-" / _CURRENT, f"{_CURRENT} cannot be read: {error}") from error
    if not name.isdigit():
        raise _broken(folder / "-" / _CURRENT, f"{_CURRENT} names no version")
    return folder / name


def _versions(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.iterdir() if child.name.isdigit())


def _next_version(folder: Path) -> str:
    return f"{max((int(name) for name in _versions(folder)), default=0) + 1:07d}"


def _point_to(folder: Path, version: str) -> None:
    new = folder / f".{_CURRENT}"
    new.write_text(version, encoding="ascii")
    _sync_file(new)
    new.replace(folder / _CURRENT)
    _sync_folder(folder)


def _remove_all_but(folder: Path, version: str) -> None:
    """Remove older versions, and what killed saves left. If somebody is loading, the next save does it."""
    with _locked(folder / "readers", "exclusive unless busy") as alone:
        left = [*folder.glob(".building-*"), *(folder / name for name in _versions(folder) if name != version)]
        for path in left if alone else ():
            shutil.rmtree(path, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # folders cannot be synced there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path, how: Literal["shared", "exclusive", "exclusive unless busy"]) -> Iterator[bool]:
    """Hold a lock between processes and say whether it was had; the system frees it however the process ends."""
    if sys.platform == "win32":
        yield True  # no such locks there: one process at a time
        return
    import fcntl

    flags = {
        "shared": fcntl.LOCK_SH,
        "exclusive": fcntl.LOCK_EX,
        "exclusive unless busy": fcntl.LOCK_EX | fcntl.LOCK_NB,
    }
    handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, flags[how])
            had = True
        except BlockingIOError:
            had = False
        yield had
    finally:
        os.close(handle)
