"""`files/jsonl`: one JSON object per line, also packed as .gz."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mercat_connectors.files.lines import Lines, damaged
from mercat_connectors.files.rows import Rejected
from mercat_connectors.files.source import FileSource


class Jsonl(FileSource):
    """Reads files with one JSON object per line. See `FileSource`.

    Keys are the columns; values that are objects or lists go into the metadata as they are.
    """

    def _records(self, lines: Lines, *, name: str) -> Iterator[Mapping[str, Any] | Rejected | None]:
        while True:
            try:
                line = next(lines)
            except StopIteration:
                return
            except Rejected as error:
                yield error
                continue
            yield _record(line) if line.strip() else None


def _record(line: str) -> Mapping[str, Any] | Rejected:
    if damaged(line):
        return Rejected("bad encoding")
    try:
        record = json.loads(line, parse_constant=_refuse)
        json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair cannot be stored
    except (ValueError, RecursionError) as error:
        return Rejected("bad JSON", str(error)[:120])
    return record if isinstance(record, dict) else Rejected("not an object", type(record).__name__)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
