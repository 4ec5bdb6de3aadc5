"""Segments and the tail on the disk: a version holds the segments, a log beside it what was written since.

    0000007/manifest.json      which segments, and the kind and effort of each
    0000007/NAME.rows          vectors as they came: a flat FAISS index, mapped when it is opened
    0000007/NAME.structure     what FAISS built over them; not there for a flat segment
    0000007/NAME.text, .ends   the ids
    0000007/NAME.alive         which rows are alive, as bits; not there if all are
    0000007/log                what was written since, see `mercat.indexes.log`

A save appends to the log while the segments are the same, otherwise it writes a version, which shares the files of
segments that stayed. Versions of the first format, one structure and a list of ids, are read and written anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from mercat.errors import ArtifactError
from mercat.indexes import log, storage
from mercat.indexes.base import Vectors
from mercat.indexes.faiss import merging
from mercat.indexes.faiss.index import BACKEND, Base, SegmentedIndex
from mercat.indexes.faiss.library import faiss
from mercat.indexes.faiss.segments import Originals, Segment, View
from mercat.indexes.kinds import FLAT, is_sparing
from mercat.indexes.names import Names

_LOG_BYTES = 64 << 20  # with more the next save writes a version
_CHECKED_AT_ONCE = 64 << 20  # larger files of vectors are checked in the background

_log = logging.getLogger(__name__)


def save(index: SegmentedIndex, folder: Path) -> None:
    """Put on the disk what is not there yet. Raises what `SegmentedIndex.save` raises, ArtifactError among it."""
    with index.writer, storage.saving(folder):
        base = index.base if index.base is not None and index.base.folder == folder else None
        if base is not None and changed_by_others(base):
            raise ArtifactError(
                f"Saving the index in {folder}",
                "Another process has written it since it was opened here",
                "open it again, or: mercat index build",
            )
        try:
            index.base = _appended(index, base) or _as_version(index, folder, base)
        except BaseException:  # a full disk, Ctrl-C at any point
            if base is not None:
                index.base = _lying(base)
            raise
        index.pending = []


def load(index: SegmentedIndex, stored: storage.Stored) -> None:
    """Fill an empty index with a saved version whose manifest was checked, and what its log adds.

    Raises ArtifactError for parts that do not fit each other, or a log that is broken.
    """
    manifest, version = stored.manifest, stored.folder
    index.contents = manifest.contents
    index.base = unwritten(version.parent, version.name)
    if manifest.schema == storage.SCHEMA:
        _load_first_format(index, stored)
        return
    views = views_of(stored, build=index.build, read=index.read)
    index.sequence = manifest.sequence
    index.take_over(views, manifest.kind)
    end = 0
    try:
        for mark, changes in log.read(version / log.FILE, index.dimensions):
            for change in changes:
                index.apply(change)
            index.sequence, end = mark.sequence, mark.end
    except (log.Torn, OSError, ValueError, UnicodeDecodeError) as error:
        raise storage.broken(version / log.FILE, f"{log.FILE}: {error}") from error
    index.base = replace(index.base, log_end=end, segments=frozenset(view.segment.name for view in views), sure=True)
    index.pending = [] if {view.segment.name for view in index.snapshot.views} == index.base.segments else None
    if stored.unchecked:
        index.checking = Thread(target=_check, args=(index, stored), name="mercat-index-check", daemon=True)
        index.checking.start()


def views_of(stored: storage.Stored, *, build: merging.Build, read: merging.Read) -> list[View]:
    """Return the segments of a saved version, mapped. Raises ArtifactError for parts that do not fit each other."""
    return [_view(stored.folder, each, build, read) for each in stored.manifest.details["segments"]]


def unwritten(folder: Path, version: str = "") -> Base:
    """Return what there is of an index that was never saved in this format; it tells when somebody else does."""
    return Base(folder, version, 0, frozenset(), sure=False, born=storage.born(folder, version))


def _lying(base: Base) -> Base:
    """Return what an interrupted save has left, while nobody else may write; its log is not appended to again."""
    version = storage.current_version(base.folder)
    end = 0
    try:
        for mark in log.marks(base.folder / version / log.FILE):
            end = mark.end
    except (log.Torn, OSError):
        pass  # nothing was saved, or the end of a write that failed
    segments = base.segments if base.version == version else frozenset()
    return replace(unwritten(base.folder, version), log_end=end, segments=segments)


def changed_by_others(base: Base) -> bool:
    """Say whether there is another version, or more in the log than was read or written here."""
    found = storage.current_version(base.folder)
    if storage.born(base.folder, found) != base.born:
        return True
    try:
        return found != base.version or any(log.marks(base.folder / found / log.FILE, after=base.log_end))
    except (log.Torn, OSError):
        return found != base.version  # the end of a write that failed


def later(name: str, size: int) -> bool:
    """Say whether a file is checked in the background."""
    return name.endswith(".rows") and size > _CHECKED_AT_ONCE


def _appended(index: SegmentedIndex, base: Base | None) -> Base | None:
    """Append what is new to the log; None if only a version will do."""
    names = frozenset(view.segment.name for view in index.snapshot.views)
    if base is None or not base.sure or index.pending is None or names != base.segments or base.log_end > _LOG_BYTES:
        return None
    record = log.packed(index.pending, sequence=index.sequence, rows=len(index))
    end = log.append(base.folder / base.version / log.FILE, record, at=base.log_end)
    return replace(base, log_end=end)


def _as_version(index: SegmentedIndex, folder: Path, base: Base | None) -> Base:
    snapshot = index.snapshot
    files: dict[str, storage.Writer | storage.Kept] = {}
    for view in snapshot.views:
        name = view.segment.name
        files |= _files(view, folder / base.version if base and name in base.segments else index.adopted.get(name))
    tail = snapshot.tail
    rows = tail.rows()
    change = log.Change([tail.ids[row] for row in rows.tolist()], tail.vectors[rows])
    record = log.packed([change] if change.ids else [], sequence=index.sequence, rows=len(index))
    details = {"segments": [_described(view) for view in snapshot.views]}
    manifest = storage.Manifest(
        BACKEND,
        index.kind,
        index.dimensions,
        len(snapshot),
        index.fingerprint,
        index.sequence,
        index.contents,
        details,
        storage.SEGMENTS_SCHEMA,
    )
    version = storage.add_version(folder, manifest, files, beside={log.FILE: lambda path: path.write_bytes(record)})
    index.adopted.clear()
    names = frozenset(view.segment.name for view in snapshot.views)
    return Base(folder, version, len(record), names, born=storage.born(folder, version))


def _described(view: View) -> dict[str, Any]:
    segment = view.segment
    details = dict(segment.structure.details()) if segment.structure else {}
    return {"name": segment.name, "kind": segment.kind, "rows": len(segment), "live": view.live, "details": details}


def _files(view: View, kept: Path | None) -> dict[str, storage.Writer | storage.Kept]:
    segment, name = view.segment, view.segment.name
    files: dict[str, storage.Writer | storage.Kept] = {
        f"{name}.rows": segment.originals.write,
        f"{name}.text": segment.names.write_text,
        f"{name}.ends": segment.names.write_ends,
    }
    if segment.structure is not None and segment.kind != FLAT:
        files[f"{name}.structure"] = segment.structure.write
    if kept is not None:
        files = {each: storage.Kept(kept / each) for each in files}
    if view.alive is not None:
        files[f"{name}.alive"] = view.alive.tofile
    return files


def _view(version: Path, described: Mapping[str, Any], build: merging.Build, read: merging.Read) -> View:
    name, kind, total = described["name"], described["kind"], described["rows"]
    place = version / f"{name}.rows"
    try:
        names = Names.read(version / f"{name}.text", version / f"{name}.ends")
        originals = Originals.read(place, sparing=is_sparing(kind, rows=total))
        fits = len(names) == len(originals) == total
        beside = place.with_suffix(".structure")
        structure = build(FLAT, originals.rows) if kind == FLAT else read(kind, beside, described["details"])
    except (RuntimeError, OSError, ValueError) as error:
        raise storage.broken(place, f"the segment {name} cannot be read: {error}") from error
    if not fits:
        raise storage.broken(place, f"the {len(names)} ids of segment {name} do not fit its {len(originals)} rows")
    segment = Segment(names, originals, structure, name=name)
    if described["live"] == total:
        return View.whole(segment)
    return View(segment, np.fromfile(version / f"{name}.alive", dtype=np.uint8), described["live"])


def _load_first_format(index: SegmentedIndex, stored: storage.Stored) -> None:
    """Take the rows over; the next save writes a version of today's format in its place."""
    ids = json.loads((stored.folder / "ids.json").read_text(encoding="utf-8"))
    saved = faiss.read_index(str(stored.folder / "index.faiss"))
    if saved.ntotal != len(ids):
        raise storage.broken(stored.folder / "ids.json", f"its {len(ids)} ids do not fit its {saved.ntotal} rows")
    rows = [row for row, key in enumerate(ids) if key is not None]
    if rows:
        vectors: Vectors = saved.reconstruct_n(0, saved.ntotal)[rows]
        segment = merging.sealed([ids[row] for row in rows], vectors, build=index.build)
        index.take_over([View.whole(segment)], FLAT)
    index.sequence = stored.manifest.sequence
    index.note = "; ".join(
        part for part in (index.note, "read from the first format, the next save writes anew") if part
    )


def _check(index: SegmentedIndex, stored: storage.Stored) -> None:
    """Check large files. A newer version may take the place of this one meanwhile; then there is nothing to say."""
    try:
        storage.check_sums(stored.folder, stored.unchecked)
    except ArtifactError as error:
        index.broken = error
    except OSError:
        _log.info("the version %s was replaced while it was checked", stored.folder)
