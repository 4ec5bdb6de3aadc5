"""`files/csv`: rows of CSV and TSV files (RFC 4180), also packed as .gz."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mercat.errors import ConfigError
from mercat_connectors.files.lines import Lines
from mercat_connectors.files.rows import Rejected, To
from mercat_connectors.files.source import FileSource


class Csv(FileSource):
    """Reads files whose first line names the columns. See `FileSource` for what all file sources share.

    - `delimiter`: one character; a tab for files named `.tsv`, a comma for others unless given.
    - `quote`: the character around fields that hold delimiters or line ends; "" when the files have none.

    A field may hold 131,072 characters (the limit of Python's csv module), a line 8 MB. Raises ConfigError for a
    delimiter or quote of several characters.
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
        delimiter: str = "",
        quote: str = '"',
        batch_rows: int = 1000,
    ) -> None:
        super().__init__(
            path, to=to, columns=columns, defaults=defaults, where=where, encoding=encoding, batch_rows=batch_rows
        )
        is_tsv = Path(str(path).removesuffix(".gz")).suffix == ".tsv"
        self._delimiter = delimiter or ("\t" if is_tsv else ",")
        if len(self._delimiter) != 1 or len(quote) > 1:
            raise ConfigError(
                f"delimiter = {delimiter!r}, quote = {quote!r}", "Each is one character", 'delimiter = ";"'
            )
        self._quote = quote
        self._header: list[str] = []

    def _prepare(self, lines: Lines, *, name: str) -> None:
        self._header = [column.strip() for column in next(self._reader(lines), [])]
        if self._header:
            self._maker.check_header(self._header, file=name, delimiter=self._delimiter)

    def _records(self, lines: Lines, *, name: str) -> Iterator[Mapping[str, Any] | Rejected | None]:
        reader, header = self._reader(lines), self._header
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except Rejected as error:
                reader = self._reader(lines)
                yield error
                continue
            except csv.Error as error:
                yield Rejected("field too large" if "limit" in str(error) else "bad row", str(error))
                continue
            if not fields:
                yield None
            elif len(fields) != len(header):
                yield Rejected("ragged row", f"{len(fields)} fields, {len(header)} columns")
            else:
                yield dict(zip(header, fields, strict=True))

    def _reader(self, lines: Lines) -> Iterator[list[str]]:
        if not self._quote:
            return csv.reader(lines, delimiter=self._delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self._delimiter, quotechar=self._quote)
