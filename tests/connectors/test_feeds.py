"""`feeds/rss` against a feed server on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from mercat.connect import Batch, Source
from mercat.errors import AddressRefused, ConfigError, ConnectError, DataError
from mercat.testing.connect import LocalServer, Say, Seen, SourceContract
from mercat_connectors.feeds.parse import Unreadable, item_id, parse_feed
from mercat_connectors.feeds.plain import canonical_link, plain_text
from mercat_connectors.feeds.rss import Rss

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def item(
    number: int, *, text: str = "", at: datetime | None = START - timedelta(hours=1), guid: str | None = None
) -> str:
    guid = f"tag:news.example,2026:{number}" if guid is None else guid
    date = f"<pubDate>{format_datetime(at)}</pubDate>" if at else ""
    return (
        f"<item><title>Title {number}</title><link>http://news.example/{number}?utm_source=rss</link>"
        f"{f'<guid>{guid}</guid>' if guid else ''}{date}<description>{text or f'Body {number}'}</description></item>"
    )


def rss(*items: str, more: str = "") -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?><rss version="2.0"><channel><title>Daily</title>'
        f"<language>en</language>{more}{''.join(items)}</channel></rss>"
    ).encode()


class Newsroom:
    """Feeds by path, a clock that the tests turn, and a source that may reach the server."""

    def __init__(self) -> None:
        self.now = START
        self.pages: dict[str, Say] = {}
        self.server = LocalServer(self._answer)
        self.sources: list[Rss] = []

    def _answer(self, seen: Seen) -> Say:
        return self.pages.get(seen.path, Say(404))

    def source(self, *paths: str, **options: Any) -> Rss:
        urls = [self.server.url + path for path in paths or ("/a",)]
        given: dict[str, Any] = {"allow": [self.server.host], "clock": lambda: self.now, "per_host_interval_s": 0}
        self.sources.append(Rss(urls, **(given | options)))
        return self.sources[-1]

    def read(self, source: Source, cursor: str | None = None) -> tuple[list[Any], list[str], str]:
        batches = list(source.read(cursor))
        reasons = [r.reason for batch in batches for r in batch.rejected]
        return (
            [row for batch in batches for row in batch.rows],
            reasons,
            batches[-1].cursor if batches else cursor or "",
        )

    def requests(self) -> int:
        return len(self.server.seen)


@pytest.fixture
def room() -> Iterator[Newsroom]:
    room = Newsroom()
    with room.server:
        yield room
        for source in room.sources:
            source.close()


class TestFeedsKeepTheContract(SourceContract):
    expected_rows, expected_rejections = 7, 1

    @pytest.fixture(autouse=True)
    def _room(self, room: Newsroom) -> None:
        self.room = room
        nothing = "<item><guid>tag:x,1:empty</guid></item>"
        room.pages = {
            "/a": Say(body=rss(item(1), item(2), nothing)),
            "/b": Say(body=rss(item(3), item(3), item(4))),
            "/c": Say(body=rss(item(5), item(6), item(7))),
        }

    def make_source(self) -> Source:
        return self.room.source("/a", "/b", "/c")


def test_an_item_becomes_a_document(room: Newsroom) -> None:
    text = "&lt;p&gt;One &amp;amp; two&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;p&gt;three&lt;/p&gt;"
    room.pages["/a"] = Say(body=rss(item(1, text=text)))
    (row,), _, _ = room.read(room.source())
    assert (row.id, row.title, row.text) == ("tag:news.example,2026:1", "Title 1", "One & two\nthree")
    assert (row.url, row.source, row.locale) == ("http://news.example/1", "Daily", "en")
    assert row.published_at == START - timedelta(hours=1)
    assert (row.metadata["time"], row.metadata["revision"]) == ("published", 0)


ATOM = b"""<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Atom news</title>
<entry><id>urn:uuid:1</id><title type="html">A &lt;b&gt;bold&lt;/b&gt; title</title><link href="/story/1"/>
<updated>2026-03-02T11:00:00Z</updated><author><name>Ada</name></author><category term="markets"/>
<content type="html">&lt;p&gt;Long &lt;i&gt;content&lt;/i&gt;&lt;/p&gt;</content><summary>short</summary></entry></feed>"""
JSON_FEED = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "JSON news",
    "language": "de",
    "items": [
        {"id": 7, "url": "http://x.example/7", "title": "Größe", "content_html": "<p>Ein <b>Text</b></p>",
         "date_published": "2026-03-02T12:30:00+01:00", "authors": [{"name": "Bo"}], "tags": ["t"]},
        "rubbish",
    ],
}  # fmt: skip


def test_atom_and_json_feed(room: Newsroom) -> None:
    room.pages["/a"] = Say(body=ATOM, headers={"content-type": "text/xml"})
    room.pages["/b"] = Say(body=json.dumps(JSON_FEED).encode(), headers={"content-type": "application/feed+json"})
    (atom, feed), rejected, _ = room.read(room.source("/a", "/b"))
    assert (atom.id, atom.title, atom.text, atom.url) == (
        "urn:uuid:1",
        "A bold title",
        "Long content",
        room.server.url + "/story/1",
    )
    assert (atom.metadata["authors"], atom.metadata["tags"]) == (["Ada"], ["markets"])
    assert (feed.id.partition(":")[2], feed.text, feed.locale) == ("7", "Ein Text", "de")
    assert feed.published_at == START - timedelta(minutes=30)
    assert rejected == []


def test_validators_go_back_as_they_came(room: Newsroom) -> None:
    headers = {"ETag": 'W/"odd, quoted"', "Last-Modified": "Mon, 2 Mar 2026 9:00:00 +0000 (odd)"}
    room.pages["/a"] = Say(body=rss(item(1)), headers=headers)
    source = room.source()
    _, _, cursor = room.read(source)
    assert "if-none-match" not in room.server.seen[0].headers
    room.now += timedelta(hours=2)
    room.pages["/a"] = Say(304)
    rows, rejected, cursor = room.read(source, cursor)
    sent = room.server.seen[1].headers
    assert (sent["if-none-match"], sent["if-modified-since"]) == (headers["ETag"], headers["Last-Modified"])
    assert (rows, rejected) == ([], [])
    room.now += timedelta(hours=2)
    room.read(source, cursor)
    assert room.server.seen[2].headers["if-none-match"] == headers["ETag"]  # kept through the 304


def test_the_other_validator_is_tried_when_both_are_ignored(room: Newsroom) -> None:
    room.pages["/a"] = Say(body=rss(item(1)), headers={"ETag": '"e"', "Last-Modified": "d"})
    source, cursor = room.source(), None
    for _ in range(4):
        _, _, cursor = room.read(source, cursor)
        room.now += timedelta(hours=2)
    sent = [sorted({"if-none-match", "if-modified-since"} & set(seen.headers)) for seen in room.server.seen]
    assert sent == [[], ["if-modified-since", "if-none-match"], ["if-none-match"], ["if-modified-since"]]


@pytest.mark.parametrize(
    ("headers", "more", "hours"),
    [
        ({"ETag": '"x"'}, "", 1),
        ({}, "", 24),
        ({"ETag": '"x"', "Cache-Control": "public, max-age=18000"}, "", 5),
        ({"ETag": '"x"', "Cache-Control": "s-maxage=9, max-age=60"}, "", 1),
        ({"ETag": '"x"'}, "<ttl>180</ttl>", 3),
        ({"ETag": '"x"'}, "<ttl>never</ttl>", 1),
    ],
)
def test_next_due(room: Newsroom, headers: dict[str, str], more: str, hours: int) -> None:
    room.pages["/a"] = Say(body=rss(item(1), more=more), headers=headers)
    _, _, cursor = room.read(room.source())
    room.now = START + timedelta(hours=hours, seconds=-1)
    assert room.read(room.source(), cursor) == ([], [], cursor)  # a new source, as after a restart
    assert room.requests() == 1
    room.now = START + timedelta(hours=hours * 1.1, seconds=1)
    room.read(room.source(), cursor)
    assert room.requests() == 2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(room: Newsroom, status: int) -> None:
    room.pages["/a"] = Say(status, headers={"Retry-After": "7200"})
    batches: list[Batch] = []
    with pytest.raises(ConnectError, match=f"Status {status}"):
        batches.extend(_keep(batches, room.source()))
    assert [r.reason for r in batches[0].rejected] == ["no answer"]
    room.now += timedelta(seconds=7199)
    assert list(room.source().read(batches[0].cursor)) == []
    assert room.requests() == 1
    room.now += timedelta(seconds=800)
    room.pages["/a"] = Say(body=rss(item(1)))
    assert len(room.read(room.source(), batches[0].cursor)[0]) == 1


def _keep(into: list[Batch], source: Source) -> list[Batch]:
    for batch in source.read(None):
        into.append(batch)
    return []


def test_gone_stops_for_good(room: Newsroom) -> None:
    room.pages["/a"] = Say(410)
    _, rejected, cursor = room.read(room.source())
    assert rejected == ["gone"]
    room.now += timedelta(days=100)
    assert room.read(room.source(), cursor) == ([], [], cursor)
    assert room.requests() == 1


@pytest.mark.parametrize(("status", "moves"), [(301, True), (308, True), (302, False), (307, False)])
def test_lasting_redirects_update_the_address(room: Newsroom, status: int, moves: bool) -> None:
    room.pages["/a"] = Say(status, headers={"location": "/new"})
    room.pages["/new"] = Say(body=rss(item(1)))
    _, _, cursor = room.read(room.source())
    room.now += timedelta(days=2)
    rows, _, _ = room.read(room.source(), cursor)
    assert rows == []  # the same items, whatever the address
    assert room.server.paths()[2:] == (["/new"] if moves else ["/a", "/new"])


def test_one_bad_feed_does_not_stop_the_others(room: Newsroom) -> None:
    room.pages = {"/b": Say(body=rss(item(1)))}
    rows, rejected, cursor = room.read(room.source("/a", "/b"))
    assert (len(rows), rejected) == (1, ["no answer"])
    room.now += timedelta(minutes=20)  # the bad one is due sooner
    with pytest.raises(ConnectError, match="Status 404"):
        room.read(room.source("/a", "/b"), cursor)


def test_an_inner_address_is_refused(room: Newsroom) -> None:
    with pytest.raises(AddressRefused):
        room.read(room.source(allow=[]))
    assert room.requests() == 0


def test_revisions_come_again_under_their_id(room: Newsroom) -> None:
    room.pages["/a"] = Say(body=rss(item(1), item(2)), headers={"ETag": '"1"'})
    source = room.source()
    first, _, cursor = room.read(source)
    room.now += timedelta(hours=2)
    room.pages["/a"] = Say(body=rss(item(1), item(2, text="Corrected"), item(3)), headers={"ETag": '"2"'})
    second, _, cursor = room.read(source, cursor)
    assert {(row.id[-1], row.text, row.metadata["revision"]) for row in second} == {
        ("2", "Corrected", 1),
        ("3", "Body 3", 0),
    }
    again = next(row for row in second if row.id.endswith("2"))
    assert again.metadata["first_seen"] == first[0].metadata["first_seen"]
    room.now += timedelta(hours=2)
    assert room.read(source, cursor)[0] == []


@pytest.mark.parametrize(
    ("offset", "believed"),
    [
        (timedelta(0), True),
        (timedelta(days=-6, hours=-23), True),
        (timedelta(days=-7, seconds=-2), False),
        (timedelta(minutes=9), True),
        (timedelta(minutes=11), False),
        (timedelta(days=4000), False),
        (None, False),
    ],
)
def test_event_time(room: Newsroom, offset: timedelta | None, believed: bool) -> None:
    at = START + offset if offset is not None else None
    room.pages["/a"] = Say(body=rss(item(1, at=at)))
    (row,), _, _ = room.read(room.source())
    assert row.published_at == (at if believed else START)
    assert row.metadata["time"] == ("published" if believed else "first seen")
    assert row.metadata.get("published") == (at.isoformat() if at else None)


def test_identity() -> None:
    same = {"title": "t", "date": "d", "address": "http://a.example/feed"}
    assert item_id("tag:x,1:2", "http://l", **same) == "tag:x,1:2"
    assert item_id("42", "", **same) != item_id("42", "", **(same | {"address": "http://b.example/feed"}))
    assert item_id("", "http://l.example/1", **same) == "http://l.example/1"
    hashed = item_id("", "", **same)
    assert hashed.startswith("item:")
    assert hashed != item_id("", "", **(same | {"title": "u"}))
    assert len(item_id("x" * 5000, "", **same)) < 60


@pytest.mark.parametrize(
    ("link", "canonical"),
    [
        ("HTTP://X.Example/A?utm_source=r&id=3&UTM_Medium=x&fbclid=9#top", "http://x.example/A?id=3"),
        ("https://x.example/a?b=&c=%20d", "https://x.example/a?b=&c=+d"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("http://[::1", ""),
        ("", ""),
    ],
)
def test_canonical_links(link: str, canonical: str) -> None:
    assert canonical_link(link) == canonical


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("plain", "plain"),
        ("a < b & c > d", "a < b & c > d"),
        ("<p>a</p><p>b</p>", "a\nb"),
        ("a<br/>b", "a\nb"),
        ("<script>x</script>y", "y"),
        ("<SCRIPT src=a>x</ScRiPt >y", "y"),
        ("a<script>never closed", "a"),
        ("a<!-- <script> -->b", "a b"),
        ("a<!-- never closed", "a"),
        ("<img src=x onerror=alert(1)>seen", "seen"),
        ("&lt;b&gt; stays text", "<b> stays text"),
        ("<style>p{}</style>t", "t"),
        ("a<b", "a"),
        ("", ""),
    ],
)
def test_plain_text(markup: str, text: str) -> None:
    assert plain_text(markup) == text


@pytest.mark.parametrize("piece", ["<", "<!--", "<script>", "<a", "</", "<p>", "&", "<![CDATA[", "<script></"])
def test_plain_text_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    plain_text(piece * 200_000)
    assert time.process_time() - start < 3


BOMB = b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">' + b"".join(
    b'<!ENTITY %c "&%c;&%c;&%c;&%c;&%c;&%c;&%c;&%c;">' % ((97 + n,) + (96 + n,) * 8) for n in range(1, 15)
)
HOSTILE = {
    "entity bomb": (b"<?xml version='1.0'?>" + BOMB + b"]><rss version='2.0'><channel><title>&o;</title></channel></rss>", "DTD"),
    "file entity": (b"<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><rss version='2.0'><channel><title>&x;</title></channel></rss>", "DTD"),
    "outer DTD": (b"<!DOCTYPE r SYSTEM 'http://127.0.0.1/x.dtd'><rss version='2.0'><channel/></rss>", "DTD"),
    "broken before it": (b"<a & ><!DOCTYPE r [<!ENTITY x 'y'>]><rss version='2.0'><channel/></rss>", "DTD"),
    "wide": ("<?xml version='1.0' encoding='utf-16'?><!DOCTYPE r [<!ENTITY x 'y'>]><rss/>".encode("utf-16"), "DTD"),
    "HTML": (b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Hello</body></html>", "not a feed"),
    "text": (b"nothing here", "not a feed"),
    "nothing": (b"", "not a feed"),
    "a path": (b"/etc/passwd", "not a feed"),
    "JSON": (b'{"a": 1}', "not a feed"),
    "deep JSON": (b'{"version":' + b"[" * 200_000, "not a feed"),
    "JSON list": (b'{"version": "https://jsonfeed.org/version/1", "items": 3}', "not a feed"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_feeds_are_refused_quickly(name: str) -> None:
    data, reason = HOSTILE[name]
    start = time.process_time()
    with pytest.raises(Unreadable, match=f"^{reason}$"):
        parse_feed(data, address="http://x.example/feed")
    assert time.process_time() - start < 1


def test_a_hostile_feed_is_an_error_with_a_cure(room: Newsroom) -> None:
    room.pages["/a"] = Say(body=HOSTILE["entity bomb"][0])
    with pytest.raises(ConnectError, match=r"It cannot be used: DTD. Try: "):
        room.read(room.source())


def test_malformed_and_strangely_encoded_feeds_are_read() -> None:
    torn = rss(item(1), item(2))[:-60]
    assert [i.title for i in parse_feed(torn, address="http://x/").items][:1] == ["Title 1"]
    latin = rss(item(1, text="Größe")).decode().replace("utf-8", "iso-8859-1").encode("iso-8859-1")
    assert parse_feed(latin, address="http://x/").items[0].text == "Größe"
    assert parse_feed(latin, address="http://x/", content_type="text/xml").items[0].text == "Größe"
    stated = rss(item(1, text="Größe")).decode().encode("cp1252")
    assert parse_feed(stated, address="http://x/", content_type="text/xml; charset=cp1252").items[0].text == "Größe"


def test_feedparser_opens_no_file(tmp_path: Path) -> None:
    (tmp_path / "feed.xml").write_bytes(rss(item(1)))
    with pytest.raises(Unreadable):
        parse_feed(str(tmp_path / "feed.xml").encode(), address="http://x/")


def test_a_large_answer_is_a_failure(room: Newsroom) -> None:
    room.pages["/a"] = Say(body=rss(*(item(n) for n in range(300))))
    with pytest.raises(ConnectError, match="larger than 10,000 bytes"):
        room.read(room.source(max_bytes=10_000))


def test_secrets_in_the_address_stay_out_of_rows_and_messages(room: Newsroom) -> None:
    room.pages["/a?key=s3cret"] = Say(body=rss(item(1)))
    (row,), _, _ = room.read(room.source("/a?key=s3cret"))
    assert "s3cret" not in repr(row)
    with pytest.raises(ConnectError) as caught:
        room.read(room.source("/b?key=s3cret"))
    assert "s3cret" not in str(caught.value)


def test_wrong_settings_stop_early(room: Newsroom) -> None:
    for urls in ([], "http://x.example/", ["http://x/", "http://x/"]):
        with pytest.raises(ConfigError, match="list of different addresses"):
            Rss(urls)
    with pytest.raises(DataError, match="of another kind"):
        room.read(room.source(), '{"files": {}}')
