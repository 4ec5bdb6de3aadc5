"""Server-sent events: a stream of pieces of HTML or text that htmx puts into the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent


def stream(events: AsyncIterator[str | ServerSentEvent], *, ping_s: int = 15) -> Any:
    """Return a response that sends each item as it comes; strings become unnamed messages, which htmx swaps in.

    A comment is sent every `ping_s` seconds so that proxies keep the connection, and the client's going away ends
    the iterator.
    """
    return EventSourceResponse(_events(events), ping=ping_s, headers={"X-Accel-Buffering": "no"})


async def _events(items: AsyncIterator[str | ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    async for item in items:
        yield item if isinstance(item, ServerSentEvent) else ServerSentEvent(data=item)
