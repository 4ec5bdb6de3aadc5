"""What the file sources share: which files, where to go on, batches, rejections."""

from __future__ import annotations

import glob
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from mercat.connect.base import Batch, Rejection
from mercat.errors import DataError
from mercat.values import Row
from mercat_connectors.files.lines import Lines, Position, damaged
from mercat_connectors.files.rows import Rejected, RowMaker, To

_COUNTED_BYTES = 100_000_000
_FULL = 10_000  # rejections after which a batch ends, so that a file of rubbish does not fill the memory


class FileSource(ABC):
    """Reads rows from one file or from every file that a pattern such as `data/*.csv` finds, in the order of names.

    - `to`: "documents", "examples" or "interactions".
    - `columns`: the column of each field, `{text = "body"}`; `defaults`: values for fields that are empty;
      `where`: keep only records with these values.
    - `encoding`: of the files; times are ISO 8601 or Unix seconds.

    A row without an id gets one from file name, content and row number. The cursor holds name, length and SHA-256 of
    what was read of each file: a file that grew goes on where it stopped, a file that changed starts anew.
    Errors: DataError when there is no file, when it is empty, has not the columns, or is in another encoding.
    """

    def __init__(
        self,
        path: Path,
        *,
        to: To = "documents",
        columns: Mapping[str, str] | None = None,
        defaults: Mapping[str, str] | None = None,
        where: Mapping[str, Any] | None = None,
        encoding: str = "utf-8",
        batch_rows: int = 1000,
    ) -> None:
        if batch_rows < 1:
            raise DataError(f"batch_rows = {batch_rows}", "A batch has at least one row", "batch_rows = 1000")
        self.path, self.encoding, self.batch_rows = str(path), encoding, batch_rows
        self._filtered = bool(where)
        self._maker = RowMaker(
            to, columns=columns or {}, defaults=defaults or {}, where=where or {}, label=f"The source of '{path}'"
        )

    def read(self, cursor: str | None) -> Iterator[Batch]:
        """Yield the rows after `cursor` in batches of `batch_rows`. Raises DataError for an empty file."""
        state = _positions(cursor)
        paths = self._paths()
        total = self._total(paths)
        anything = False
        for name, path in paths.items():
            for rows, rejected, position in self._batches(name, path, state.get(name, Position())):
                state[name] = position
                anything = anything or position.row > 0
                if rows or rejected:
                    yield Batch(rows, _cursor(state), rejected, total)
        if cursor is None and not anything:
            raise DataError(f"File '{self.path}' was read", "It is empty", "a file with a header and rows")

    @abstractmethod
    def _records(self, lines: Lines, *, name: str) -> Iterator[Mapping[str, Any] | Rejected | None]:
        """Yield each record after where `lines` stands: None for a blank line, Rejected for a broken one."""

    def _prepare(self, lines: Lines, *, name: str) -> None:  # noqa: B027 - most files have nothing there
        """Read what comes before the records, when `lines` stands at the beginning."""

    def _count(self, path: Path) -> int:
        """Count the records of a file."""
        lines = self._at_first_record(path.name, path)
        try:
            return sum(record is not None for record in self._records(lines, name=path.name))
        finally:
            lines.close()

    def _batches(
        self, name: str, path: Path, position: Position
    ) -> Iterator[tuple[list[Row], list[Rejection], Position]]:
        lines, number = self._open(name, path, position)
        rows: list[Row] = []
        rejected: list[Rejection] = []
        start = lines.offset
        last = position.start if start == position.offset else -1
        try:
            for record in self._records(lines, name=name):
                if record is not None:
                    number += 1
                    self._take(record, name=name, number=number, rows=rows, rejected=rejected)
                last, start = (-1 if lines.terminated else start), lines.offset
                if len(rows) >= self.batch_rows or len(rejected) >= _FULL:
                    yield rows, rejected, Position(lines.offset, number, lines.sha256(), last)
                    rows, rejected = [], []
            yield rows, rejected, Position(lines.offset, number, lines.sha256(), last)
        finally:
            lines.close()

    def _open(self, name: str, path: Path, position: Position) -> tuple[Lines, int]:
        if position.offset:
            self._at_first_record(name, path).close()  # for the header
            lines = Lines(path, encoding=self.encoding)
            if lines.go_to(position):
                return lines, position.row - (lines.offset < position.offset)
            lines.close()
        return self._at_first_record(name, path), 0

    def _at_first_record(self, name: str, path: Path) -> Lines:
        lines = Lines(path, encoding=self.encoding)
        try:
            self._prepare(lines, name=name)
        except BaseException:
            lines.close()
            raise
        return lines

    def _take(
        self,
        record: Mapping[str, Any] | Rejected,
        *,
        name: str,
        number: int,
        rows: list[Row],
        rejected: list[Rejection],
    ) -> None:
        try:
            if isinstance(record, Rejected):
                raise record
            if any(isinstance(value, str) and damaged(value) for value in record.values()):
                raise Rejected("bad encoding", f"not {self.encoding}")
            if self._maker.matches(record):
                rows.append(self._maker.row(record, file=name, number=number))
        except Rejected as error:
            rejected.append(Rejection(f"{name}:{number}", error.reason, error.detail))

    def _paths(self) -> dict[str, Path]:
        if not glob.has_magic(self.path) or Path(self.path).is_file():
            path = Path(self.path)
            if not path.is_file():
                found = "It is a folder" if path.is_dir() else "It is not there"
                cure = f'path = "{self.path}/*"' if path.is_dir() else "check path and the folder you are in"
                raise DataError(f"File '{self.path}' was opened", found, cure)
            return {path.name: path}
        found_paths = sorted(path for path in map(Path, glob.glob(self.path, recursive=True)) if path.is_file())  # noqa: PTH207
        if not found_paths:
            raise DataError(
                f"Files '{self.path}' were looked for", "There are none", "check the pattern and the folder"
            )
        root = _fixed_part(self.path)
        return {path.relative_to(root).as_posix(): path for path in found_paths}

    def _total(self, paths: Mapping[str, Path]) -> int | None:
        if self._filtered or sum(path.stat().st_size for path in paths.values()) > _COUNTED_BYTES:
            return None
        return sum(self._count(path) for path in paths.values())


def _fixed_part(pattern: str) -> Path:
    fixed: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _cursor(state: Mapping[str, Position]) -> str:
    return json.dumps({"files": {name: astuple(position) for name, position in state.items()}}, ensure_ascii=False)


def _positions(cursor: str | None) -> dict[str, Position]:
    if cursor is None:
        return {}
    try:
        return {name: Position(*values) for name, values in json.loads(cursor)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError("A cursor of a file source was read", "It is of another kind", "read the source anew") from None
