"""Files as sources and sinks: `files/csv`, `files/jsonl`, `files/outbox`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mercat.hooks import hookimpl

if TYPE_CHECKING:
    from mercat.registry import Registry


@hookimpl
def mercat_register(registry: Registry) -> None:
    registry.sources.add("files/csv", "mercat_connectors.files.csv:Csv", summary="Rows of CSV or TSV files, also .gz")
    registry.sources.add("files/jsonl", "mercat_connectors.files.jsonl:Jsonl", summary="Lines of JSON files, also .gz")
    registry.sinks.add(
        "files/outbox", "mercat_connectors.files.outbox:Outbox", summary="Append messages to a JSONL file"
    )
