"""Keep a workspace and bring it back: store, artifacts, the configuration and the files that it names.

kept/mercat.toml   the configuration
    /files/…       what services and other parts read beside it, such as replies.toml
    /artifacts/…   all finished versions
    /store/…       a consistent copy of the database, with a manifest
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mercat.artifacts import Artifacts
from mercat.config import Config
from mercat.errors import ArtifactError, ConfigError
from mercat.store import Store
from mercat.workspace import Workspace

CONFIG, STORE, ARTIFACTS, FILES = "mercat.toml", "store", "artifacts", "files"
_NOT_KEPT = ("sources", "sinks")


def back_up(workspace: Workspace, folder: Path, config: Path) -> Path:
    """Copy a workspace into a new folder, consistently while others serve and write.

    Artifacts are copied before the store, which then never names one that the backup lacks. Indexes are left out: they
    are made from the store. So are the files of sources and sinks: their rows are in the store. Raises ConfigError for
    a folder that exists.
    """
    folder = folder.resolve()
    if folder.exists():
        raise ConfigError(f"No backup was written to {folder}", "It exists already", "a new folder")
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        shutil.copy2(config, making / CONFIG)
        for path in named_files(workspace.config):
            kept = making / FILES / path.relative_to(workspace.config.folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kept)
        if workspace.artifacts.root.is_dir():
            _copy_artifacts(workspace.artifacts.root, making / ARTIFACTS)
        workspace.store.backup(making / STORE)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def bring_back(backup: Path, folder: Path) -> Path:
    """Restore a backup into an empty folder and return the path of its configuration.

    The copies of artifacts and store are checked against their sums before anything is written. Raises ArtifactError
    for what is no backup or is damaged, ConfigError for a folder that is not empty.
    """
    folder = folder.resolve()
    if not (backup / CONFIG).is_file() or not (backup / STORE).is_dir():
        raise ArtifactError(f"{backup} cannot be restored", "It is not a backup", "the folder of `mercat backup`")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"Nothing was restored to {folder}", "It is not empty", "a new folder")
    kept = Artifacts(backup / ARTIFACTS)
    for name in kept.names():
        kept.open(name)
    config = Config.read(backup / CONFIG)
    config.folder = folder
    with Workspace(config) as workspace:
        Store.restore(backup / STORE, config.store_url, tables=workspace.registry.tables.sets)
        if kept.root.is_dir():
            shutil.copytree(kept.root, workspace.artifacts.root)
    if (backup / FILES).is_dir():
        shutil.copytree(backup / FILES, folder, dirs_exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(backup / CONFIG, folder / CONFIG)
    return folder / CONFIG


def named_files(config: Config) -> list[Path]:
    """Return the files below the configuration's folder that its sections name by a relative path."""
    found = []
    for kind in config.kinds():
        for section in config.sections(kind).values() if kind not in _NOT_KEPT else ():
            for text in _texts(section.parameters):
                path = (config.folder / text).resolve()
                if path.is_relative_to(config.folder) and not path.is_relative_to(config.workspace) and path.is_file():
                    found.append(path)
    return sorted(set(found))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value and "\0" not in value and len(value) < 255:
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _copy_artifacts(root: Path, into: Path) -> None:
    """Read where each name points before its versions are copied: versions only grow, so the pointer finds its own."""
    for parent in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        pointers = {name: (parent / name).read_text() for name in ("history", "current") if (parent / name).is_file()}
        (into / parent.name).mkdir(parents=True)
        for version in sorted(parent.glob("[0-9]*")):
            shutil.copytree(version, into / parent.name / version.name)
        for name, text in pointers.items():
            (into / parent.name / name).write_text(text)
