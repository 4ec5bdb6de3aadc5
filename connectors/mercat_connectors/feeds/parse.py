"""From the bytes of a feed to its items. Only bytes: feedparser would fetch an address and open a path."""

from __future__ import annotations

import hashlib
import io
import json
import re
import xml.sax
import xml.sax.handler
from calendar import timegm
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from mercat_connectors.feeds.plain import canonical_link, plain_text

_DTD = re.compile(rb"<\0?!\0?(D\0?O\0?C\0?T\0?Y\0?P\0?E|E\0?N\0?T\0?I\0?T\0?Y)", re.IGNORECASE)
_LONGEST_ID = 200


class Unreadable(Exception):
    """Bytes that are no feed; the argument is a short reason that can be counted."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a feed. `id` is the same at every reading; times are those that the feed states."""

    id: str
    title: str
    text: str
    url: str = ""
    published: datetime | None = None
    updated: datetime | None = None
    authors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    locale: str = ""

    def digest(self) -> str:
        """A hash of what a reader sees: when it changes, the item was revised."""
        return hashlib.sha256(f"{self.title}\x1f{self.text}\x1f{self.url}".encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed that was read. `ttl_s` is how long it says that it stays as it is, 0 when it says nothing."""

    title: str
    items: Sequence[Item]
    ttl_s: float = 0.0


def parse_feed(data: bytes, *, address: str, content_type: str = "") -> Feed:
    """Read RSS, Atom or JSON Feed. Errors: Unreadable ("DTD", "not a feed")."""
    if data.lstrip()[:1] == b"{":
        return _json_feed(data, address)
    _refuse_dtd(data)
    import feedparser

    # without a charset in the header the XML declaration counts, not the default of text/xml
    stated = content_type if "charset" in content_type.lower() else "application/xml"
    headers = {"content-type": stated, "content-location": address}
    parsed = feedparser.parse(io.BytesIO(data), response_headers=headers)
    if not parsed.get("version") and not parsed.entries:
        raise Unreadable("not a feed")
    locale = str(parsed.feed.get("language") or "")
    items = [_item(entry, address=address, locale=locale) for entry in parsed.entries]
    return Feed(plain_text(str(parsed.feed.get("title") or "")), items, _minutes(parsed.feed.get("ttl")))


def item_id(guid: str, link: str, *, title: str, date: str, address: str) -> str:
    """The identity of an item: its guid, else its link without tracking parameters, else a hash.

    A guid that is not a URI means something within its feed only, so the feed goes into the id.
    """
    guid = guid.strip()
    if guid and re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", guid) and len(guid) <= _LONGEST_ID:
        return guid
    if guid:
        return f"{_hash(address)[:8]}:{guid if len(guid) <= _LONGEST_ID else _hash(guid)}"
    if link:
        return link if len(link) <= _LONGEST_ID else f"link:{_hash(link)}"
    return f"item:{_hash(f'{title}{chr(31)}{date}{chr(31)}{address}')}"


def _item(entry: Any, *, address: str, locale: str) -> Item:
    bodies = [str(part.get("value") or "") for part in entry.get("content", [])] or [str(entry.get("summary") or "")]
    title, text = plain_text(str(entry.get("title") or "")), plain_text(max(bodies, key=len))
    link = canonical_link(str(entry.get("link") or ""))
    updated = dict.get(entry, "updated_parsed")  # entry.get would give the other date when this one is missing
    published = dict.get(entry, "published_parsed") or updated
    date = str(dict.get(entry, "published") or dict.get(entry, "updated") or "")
    return Item(
        item_id(str(entry.get("id") or ""), link, title=title, date=date, address=address),
        title,
        text,
        url=link,
        published=_time(published),
        updated=_time(updated),
        authors=tuple(dict.fromkeys(str(a.get("name") or "") for a in entry.get("authors", []) if a.get("name"))),
        tags=tuple(dict.fromkeys(str(tag.get("term") or "") for tag in entry.get("tags", []) if tag.get("term"))),
        locale=locale,
    )


def _json_feed(data: bytes, address: str) -> Feed:
    try:
        feed = json.loads(data)
        if not str(feed["version"]).startswith("https://jsonfeed.org/version/"):
            raise Unreadable("not a feed")
        locale = str(feed.get("language") or "")
        items = [_json_item(item, address=address, locale=locale) for item in feed["items"] if isinstance(item, dict)]
        return Feed(plain_text(str(feed.get("title") or "")), items)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unreadable("not a feed") from None


def _json_item(item: Mapping[str, Any], *, address: str, locale: str) -> Item:
    def text_of(key: str) -> str:
        return str(item.get(key) or "")

    title = plain_text(text_of("title"))
    body = text_of("content_text") or plain_text(text_of("content_html") or text_of("summary"))
    link, date = canonical_link(text_of("url")), text_of("date_published")
    authors = [author.get("name") for author in item.get("authors") or () if isinstance(author, dict)]
    return Item(
        item_id(text_of("id"), link, title=title, date=date, address=address),
        title,
        body.replace("\0", ""),
        url=link,
        published=_iso(date),
        updated=_iso(text_of("date_modified")),
        authors=tuple(str(name) for name in authors if name),
        tags=tuple(str(tag) for tag in item.get("tags") or ()),
        locale=text_of("language") or locale,
    )


def _refuse_dtd(data: bytes) -> None:
    """Look through the XML before feedparser does: a document type can hold entity bombs and name local files."""
    import defusedxml.sax
    from defusedxml.common import DefusedXmlException

    quiet = xml.sax.handler.ErrorHandler()
    try:
        defusedxml.sax.parseString(data, xml.sax.handler.ContentHandler(), errorHandler=quiet, forbid_dtd=True)
    except DefusedXmlException:
        raise Unreadable("not a feed" if _is_html(data) else "DTD") from None
    except (xml.sax.SAXException, ValueError, LookupError):  # malformed: feedparser may still make sense of it
        if _DTD.search(data):
            raise Unreadable("not a feed" if _is_html(data) else "DTD") from None


def _is_html(data: bytes) -> bool:
    head = data[:1000].lower()
    return b"<!doctype html" in head or b"<html" in head


def _time(parsed: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(timegm(parsed), tz=UTC) if parsed else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def _minutes(value: Any) -> float:
    text = str(value or "").strip()
    return float(text) * 60 if text.isascii() and text.isdigit() and len(text) < 9 else 0.0


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def shown(address: str) -> str:
    """An address fit for messages: without user name and query, which may hold a key."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
