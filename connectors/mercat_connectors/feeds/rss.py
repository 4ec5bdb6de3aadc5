"""`feeds/rss`: news as Documents, polled as its publishers ask to be polled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mercat.connect import Batch, Client, Rejection, RequestFailed, Response
from mercat.errors import ConfigError, ConnectError
from mercat.values import Document
from mercat_connectors.feeds.parse import Feed, Item, Unreadable, parse_feed, shown
from mercat_connectors.feeds.state import FeedState, Seen, dump, load

_OLDEST, _AHEAD = timedelta(days=7), timedelta(minutes=10)
_ACCEPT = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5"


class Rss:
    """Reads RSS, Atom and JSON feeds, one batch per feed that is due.

    - `urls`: the feeds. `allow`: hosts of private networks that may be reached, by name.
    - `poll_s`: the least time between two polls of a feed; `blind_poll_s` for feeds without ETag and Last-Modified.
      What the feed (`ttl`) or its server (`max-age`, `Retry-After`) asks for beyond that is kept.

    A Document's `published_at` is the stated time if that lies within 7 days before and 10 minutes after the item was
    first seen; otherwise it is when the item was first seen, and metadata `time` says so. An item whose content changes
    comes again under its id with metadata `revision` counted up. Titles and texts are plain text.

    A feed that fails is a rejection and waits; when every feed that was due failed, the last error is raised. Raises
    ConfigError unless `urls` are different addresses, at least one.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        allow: Sequence[str] = (),
        poll_s: float = 3_600.0,
        blind_poll_s: float = 86_400.0,
        timeout_s: float = 15.0,
        max_bytes: int = 5_000_000,
        per_host_interval_s: float = 1.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if isinstance(urls, str) or not urls or len(set(urls)) != len(urls):
            raise ConfigError("urls of a feed source", "They are a list of different addresses", 'urls = ["https://…"]')
        self.urls, self._poll_s, self._blind_poll_s, self._clock = list(urls), poll_s, blind_poll_s, clock
        self._client = Client(
            allow=allow,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            retries=1,
            per_host_interval_s=per_host_interval_s,
            max_wait_s=5.0,
            headers={"accept": _ACCEPT},
            clock=clock,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read(self, cursor: str | None) -> Iterator[Batch]:
        """Poll each feed that is due and yield its new and revised items, oldest first."""
        states = load(cursor, self.urls)
        worked, failure = 0, None
        for state in states.values():
            if state.gone or state.due_s > self._clock().timestamp():
                continue
            try:
                rows, rejected = self._poll(state)
                worked += 1
            except (ConnectError, Unreadable) as error:
                rows, rejected = [], [self._failed(state, error)]
                failure = error
            yield Batch(rows, dump(states), rejected)
        if failure and not worked:
            raise _raisable(failure)

    def _poll(self, state: FeedState) -> tuple[list[Document], list[Rejection]]:
        now = self._clock()
        response = self._client.get(state.address, headers=state.conditions(), accept=(200, 304, 410))
        if response.status == 410:
            state.gone = True
            return [], [Rejection(shown(state.address), "gone", "the feed ended for good; take it out of urls")]
        feed = None
        if response.status == 200:
            feed = parse_feed(response.content, address=state.address, content_type=response.header("content-type"))
            state.learn(response, body=hashlib.sha256(response.content).hexdigest()[:16])
        self._schedule(state, response, now=now, feed=feed)
        return self._documents(feed, state, now=now) if feed else ([], [])

    def _schedule(self, state: FeedState, response: Response, *, now: datetime, feed: Feed | None) -> None:
        state.schedule(
            response,
            now_s=now.timestamp(),
            ttl_s=feed.ttl_s if feed else 0.0,
            poll_s=self._poll_s,
            blind_poll_s=self._blind_poll_s,
        )

    def _documents(self, feed: Feed, state: FeedState, *, now: datetime) -> tuple[list[Document], list[Rejection]]:
        rows: dict[str, Document] = {}
        rejected = []
        for item in feed.items:
            if not (item.text or item.title):
                rejected.append(Rejection(f"{shown(state.address)}#{item.id}", "no text"))
            elif item.id not in rows and (seen := _changed(item, state, now_s=now.timestamp())):
                rows[item.id] = _document(item, seen, feed=feed, address=state.address)
        state.forget(now_s=now.timestamp())
        return sorted(rows.values(), key=lambda row: (row.published_at or now, row.id)), rejected

    def _failed(self, state: FeedState, error: Exception) -> Rejection:
        asked = error.retry_after_s if isinstance(error, RequestFailed) else None
        state.postpone(now_s=self._clock().timestamp(), retry_after_s=asked)
        if isinstance(error, Unreadable):
            return Rejection(shown(state.address), str(error))
        return Rejection(shown(state.address), "no answer", str(error))


def _changed(item: Item, state: FeedState, *, now_s: float) -> Seen | None:
    """Remember the item; return what is known of it if it is new or revised."""
    digest = item.digest()
    seen = state.seen.get(item.id)
    if seen is None:
        state.seen[item.id] = seen = Seen(digest, now_s, now_s)
        return seen
    seen.last_s = now_s
    if seen.digest == digest:
        return None
    seen.digest, seen.revision = digest, seen.revision + 1
    return seen


def _document(item: Item, seen: Seen, *, feed: Feed, address: str) -> Document:
    first_seen = datetime.fromtimestamp(seen.first_s, tz=UTC)
    believable = item.published is not None and first_seen - _OLDEST <= item.published <= first_seen + _AHEAD
    metadata: dict[str, Any] = {
        "feed": shown(address),
        "time": "published" if believable else "first seen",
        "first_seen": first_seen.isoformat(),
        "revision": seen.revision,
    }
    if item.published:
        metadata["published"] = item.published.isoformat()
    if item.authors:
        metadata["authors"] = list(item.authors)
    if item.tags:
        metadata["tags"] = list(item.tags)
    return Document(
        item.id,
        item.text or item.title,
        title=item.title,
        url=item.url,
        source=feed.title,
        locale=item.locale,
        published_at=item.published if believable else first_seen,
        updated_at=item.updated,
        metadata=metadata,
    )


def _raisable(error: Exception) -> ConnectError:
    if isinstance(error, ConnectError):
        return error
    cure = "open the address in a browser; a feed is RSS, Atom or JSON Feed without a document type"
    return ConnectError("A feed was read", f"It cannot be used: {error}", cure)
