"""What is remembered of a feed between two polls; all of it travels in the cursor."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from mercat.connect import Response
from mercat.errors import DataError

_DAY_S = 86_400.0
_LONGEST_PAUSE_S = 7 * _DAY_S
_FIRST_PAUSE_S = 900.0
_FORGET_AFTER_S = 30 * _DAY_S
_MOST_SEEN = 5_000
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
# which validators to send: some servers answer wrongly when they get both
BOTH, ONLY_ETAG, ONLY_DATE = 0, 1, 2


@dataclass(slots=True)
class Seen:
    """An item that was yielded: a digest of its content, when it was first and last there (Unix seconds), revisions."""

    digest: str
    first_s: float
    last_s: float
    revision: int = 0


@dataclass(slots=True)
class FeedState:
    """One feed. `etag` and `modified` are kept as they came, byte by byte; `due_s` is Unix seconds."""

    address: str
    etag: str = ""
    modified: str = ""
    validators: int = BOTH
    body: str = ""
    due_s: float = 0.0
    failures: int = 0
    gone: bool = False
    seen: dict[str, Seen] = field(default_factory=dict)

    def conditions(self) -> dict[str, str]:
        """The headers of a conditional GET."""
        wanted = {"if-none-match": self.etag, "if-modified-since": self.modified}
        if self.validators == ONLY_ETAG:
            del wanted["if-modified-since"]
        if self.validators == ONLY_DATE:
            del wanted["if-none-match"]
        return {name: value for name, value in wanted.items() if value}

    def learn(self, response: Response, *, body: str) -> None:
        """Keep the validators. `body` is a hash of the content."""
        if body == self.body and self.etag and self.modified:  # the same again, though it was asked for changes
            self.validators = (self.validators + 1) % 3
        self.etag, self.modified = response.header("etag"), response.header("last-modified")
        self.body = body

    def schedule(self, response: Response, *, now_s: float, ttl_s: float, poll_s: float, blind_poll_s: float) -> None:
        """Keep a lasting new address, and set the next poll: never sooner than the feed or its server asks."""
        if response.redirects and all(status in (301, 308) for status, _ in response.redirects):
            self.address = response.url
        self.failures = 0
        least = poll_s if self.etag or self.modified else max(poll_s, blind_poll_s)
        found = _MAX_AGE.search(response.header("cache-control"))
        self._after(max(least, ttl_s, float(found[1]) if found else 0.0), now_s=now_s)

    def postpone(self, *, now_s: float, retry_after_s: float | None) -> None:
        """Set the next poll after a failure: as asked, or 15 minutes that double each time up to a day."""
        pause_s = min(_DAY_S, _FIRST_PAUSE_S * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self._after(max(pause_s, retry_after_s or 0.0), now_s=now_s)

    def forget(self, *, now_s: float) -> None:
        """Drop items that left the feed long ago."""
        kept = [(key, seen) for key, seen in self.seen.items() if now_s - seen.last_s < _FORGET_AFTER_S]
        kept.sort(key=lambda entry: entry[1].last_s, reverse=True)
        self.seen = dict(kept[:_MOST_SEEN])

    def _after(self, pause_s: float, *, now_s: float) -> None:
        spread = 1.0 + zlib.crc32(self.address.encode()) % 100 / 1000  # up to a tenth, so that feeds part ways
        self.due_s = now_s + min(pause_s, _LONGEST_PAUSE_S) * spread


def dump(states: Mapping[str, FeedState]) -> str:
    """All feeds as a cursor."""
    feeds = {url: {**asdict(state), "seen": _packed(state)} for url, state in states.items()}
    return json.dumps({"feeds": feeds}, ensure_ascii=False, separators=(",", ":"))


def load(cursor: str | None, urls: Sequence[str]) -> dict[str, FeedState]:
    """The state of each of `urls`; new ones are due at once. Errors: DataError for a foreign cursor."""
    try:
        known = json.loads(cursor)["feeds"] if cursor else {}
        return {url: _state(known[url]) if url in known else FeedState(url) for url in urls}
    except (ValueError, KeyError, TypeError):
        raise DataError("A cursor of a feed source was read", "It is of another kind", "read the source anew") from None


def _packed(state: FeedState) -> dict[str, list[object]]:
    return {key: [seen.digest, seen.first_s, seen.last_s, seen.revision] for key, seen in state.seen.items()}


def _state(values: Mapping[str, object]) -> FeedState:
    seen = values["seen"]
    if not isinstance(seen, dict):
        raise TypeError
    given = {**values, "seen": {key: Seen(*entry) for key, entry in seen.items()}}
    return FeedState(**given)  # type: ignore[arg-type]
