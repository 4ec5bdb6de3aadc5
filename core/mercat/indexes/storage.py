"""Files of an index on disk, such that a kill at any moment leaves the old save or the new one, never a mixture.

    folder/
    ├── current          the name of the version that counts, replaced in one step
    ├── savers           locked by the process that saves
    ├── writer           locked, for longer, by the process that brings the index up to date
    ├── readers          locked, shared, by processes that load: until then nothing is removed
    └── 0000007/         manifest.json beside the files; complete and on the disk before `current` names it

Each file's SHA-256 is in the manifest and is checked when the version is opened. Numbers are kept as npy, text as JSON.
A version may share files with the one before it (as hard links), and may have a log beside its files, which grows.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mercat.errors import ArtifactError, FingerprintError

SCHEMA = 1
SEGMENTS_SCHEMA = 2  # segments with a log, see `indexes.faiss.saving`
_KNOWN = (SCHEMA, SEGMENTS_SCHEMA)
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
REMEDY = "mercat index build --anew"
SHARDS = ".shards-"  # how folders of parts begin that were built for the next save
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
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Stored:
    """An opened version: its manifest, the folder with its checked files, and the checks that were left for later."""

    manifest: Manifest
    folder: Path
    unchecked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that the current version has already and the next one shares."""

    path: Path


def write(folder: Path, manifest: Manifest, files: Mapping[str, Writer]) -> None:
    """Save a new version and make it the current one; older versions are removed when nobody loads them.

    Two processes that save into one folder wait for each other; the later one counts. ArtifactError for a full disk.
    """
    with saving(folder):
        add_version(folder, manifest, files)


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Be the only one who saves into a folder, for the block. A full disk is said as an ArtifactError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "savers", "exclusive"):
            yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ArtifactError(
            f"Saving the index in {folder}",
            f"There is no room: {error.strerror}; what was saved before is untouched",
            "free some space, then: mercat index build",
        ) from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the right to bring an index up to date, for the block. ArtifactError while another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "writer", "exclusive unless busy") as alone:
        if not alone:
            raise ArtifactError(
                f"Writing the index in {folder}",
                "Another process is writing it",
                "wait until it has ended, then: mercat index build",
            )
        yield


def add_version(
    folder: Path, manifest: Manifest, files: Mapping[str, Writer | Kept], *, beside: Mapping[str, Writer] | None = None
) -> str:
    """Write a version, make it the current one and return its name. The caller is `saving`.

    Files `beside` belong to the version without a checksum: they grow.
    """
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
    try:
        _write_files(building, manifest, files, beside or {})
        version = _next_version(folder)
        building.rename(folder / version)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    _sync_folder(folder)
    _point_to(folder, version)
    with suppress(OSError):  # the next save removes them
        _remove_all_but(folder, version)
    return version


def current_version(folder: Path) -> str:
    """Return the name of the version that counts, "" if nothing was ever saved."""
    return _current(folder).name if (folder / _CURRENT).exists() else ""


def born(folder: Path, version: str) -> int:
    """Return when a version was written, in nanoseconds; 0 if it is not there."""
    path = folder / version / _MANIFEST
    return path.stat().st_mtime_ns if version and path.exists() else 0


def read_manifest(folder: Path, *, also: Callable[[Manifest, Path], Manifest] | None = None) -> Manifest | None:
    """Return the manifest of the current version without checking the files; None if nothing was ever saved.

    `also` may add what lies beside it, in the folder of the version.
    """
    if not (folder / _CURRENT).exists():
        return None
    with _locked(folder / "readers", "shared"):
        version = _current(folder)
        found = _parse(version / _MANIFEST)[0]
        return also(found, version) if also else found


@contextmanager
def opened(folder: Path, *, later: Callable[[str, int], bool] = lambda name, size: False) -> Iterator[Stored | None]:
    """Check the current version and keep its files in place for the block; None if nothing was ever saved.

    Files for which `later(name, bytes)` holds are not checked here but named in `Stored.unchecked`, for `check_sums`.
    ArtifactError if it is broken.
    """
    if not (folder / _CURRENT).exists():
        yield None
        return
    with _locked(folder / "readers", "shared"):
        version = _current(folder)
        manifest, sums = _parse(version / _MANIFEST)
        left = {name: sum_ for name, sum_ in sums.items() if later(name, int(sum_["bytes"]))}
        _check_there(version, sums)
        check_sums(version, {name: sum_ for name, sum_ in sums.items() if name not in left})
        yield Stored(manifest, version, left)


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


def _write_files(
    building: Path, manifest: Manifest, files: Mapping[str, Writer | Kept], beside: Mapping[str, Writer]
) -> None:
    sums: dict[str, Any] = {}
    for name, write_to in files.items():
        path = building / name
        if isinstance(write_to, Kept):
            sums[name] = _share(write_to.path, path)
            continue
        write_to(path)
        _sync_file(path)
        sums[name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    for name, write_beside in beside.items():
        write_beside(building / name)
        _sync_file(building / name)
    described = asdict(manifest)
    text = json.dumps({"schema": described.pop("schema"), **described, "files": sums}, ensure_ascii=False, indent=1)
    (building / _MANIFEST).write_text(text, encoding="utf-8")
    _sync_file(building / _MANIFEST)
    _sync_folder(building)


def _share(there: Path, here: Path) -> dict[str, Any]:
    """Link a file of another version, or copy it where the file system has no links; return its checksum from there."""
    try:
        os.link(there, here)
    except OSError:
        shutil.copyfile(there, here)
        _sync_file(here)
    return dict(_parse(there.parent / _MANIFEST)[1][there.name])


def _parse(path: Path) -> tuple[Manifest, dict[str, dict[str, Any]]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        schema = data["schema"]
        if schema not in _KNOWN:
            raise broken(path, f"its schema is {schema}, this version of mercat reads {max(_KNOWN)} and older")
        sums = data.pop("files")
        return Manifest(**data), sums
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(path, f"{path.name} cannot be read: {error}") from error


def _check_there(version: Path, sums: Mapping[str, Mapping[str, Any]]) -> None:
    for name, expected in sums.items():
        path = version / name
        if Path(name).name != name or not path.is_file():
            raise broken(path, f"{name} is missing")
        if path.stat().st_size != expected["bytes"]:
            raise broken(path, f"{name} is not what was saved")


def check_sums(version: Path, sums: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare the files of a version with their checksums. Raises ArtifactError."""
    for name, expected in sums.items():
        if _sha256(version / name) != expected["sha256"]:
            raise broken(version / name, f"{name} is not what was saved")


def broken(path: Path, why: str) -> ArtifactError:
    """Return the error for a file of a version that cannot be used."""
    place = path.parent.parent
    return ArtifactError(f"Opening the index in {place}", f"It is broken: {why}", REMEDY)


def _current(folder: Path) -> Path:
    try:
        name = (folder / _CURRENT).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise broken(folder / "-" / _CURRENT, f"{_CURRENT} cannot be read: {error}") from error
    if not name.isdigit():
        raise broken(folder / "-" / _CURRENT, f"{_CURRENT} names no version")
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
        old = (folder / name for name in _versions(folder) if name != version)
        left = [*folder.glob(".building-*"), *folder.glob(f"{SHARDS}*"), *old]
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
