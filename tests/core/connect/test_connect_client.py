"""The client against a real server on loopback: retries, limits, redirects, secrets."""

from __future__ import annotations

import gzip
import json
import logging
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from mercat.connect import ApiKey, Basic, Bearer, Client, RequestFailed
from mercat.connect.paging import by_cursor, by_link_header, by_next_url, by_page_number
from mercat.errors import ConnectError
from mercat.testing.connect import LocalServer, Say, Seen

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Script:
    """Answers in turn; the last one for ever."""

    def __init__(self, *says: Say) -> None:
        self.says = list(says)

    def __call__(self, seen: Seen) -> Say:
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


class World:
    """A server, a client that may reach it, and the pauses that the client made."""

    def __init__(self) -> None:
        self.server = LocalServer(Script(Say(body=b"ok")))
        self.pauses: list[float] = []
        self.clients: list[Client] = []

    def client(self, **options: Any) -> Client:
        given: dict[str, Any] = {"allow": [self.server.host], "sleep": self.pauses.append, "clock": lambda: NOW}
        self.clients.append(Client(**(given | options)))
        return self.clients[-1]

    def says(self, *says: Say) -> None:
        self.server.answer = Script(*says)

    @property
    def url(self) -> str:
        return self.server.url


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with world.server:
        yield world
        for client in world.clients:
            client.close()


def test_an_answer_is_plain_data(world: World) -> None:
    world.says(Say(body=b'{"a": 1}', headers={"Content-Type": "application/json", "ETag": '"x"'}))
    answer = world.client().get(world.url + "/a", params={"q": "ä b", "none": None})
    assert (answer.status, answer.json(), answer.header("ETAG")) == (200, {"a": 1}, '"x"')
    seen = world.server.seen[0]
    assert seen.path == "/a?q=%C3%A4+b"
    assert seen.headers["user-agent"].startswith("mercat/")
    assert "cookie" not in seen.headers
    assert type(answer).__module__ == "mercat.connect.response"


def test_json_is_sent_and_html_is_not_taken_for_it(world: World) -> None:
    world.says(Say(body=b"<html>", headers={"content-type": "text/html; charset=utf-8"}))
    answer = world.client().post(world.url, json={"text": "ü"})
    assert json.loads(world.server.seen[0].body) == {"text": "ü"}
    assert world.server.seen[0].headers["content-type"] == "application/json"
    with pytest.raises(ConnectError, match=r"JSON was expected.*6 bytes of text/html"):
        answer.json()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_passing_failures_are_tried_again(world: World, status: int) -> None:
    world.says(Say(status), Say(status), Say(body=b"at last"))
    assert world.client(backoff_base_s=0.5).get(world.url).content == b"at last"
    assert len(world.pauses) == 2
    assert 0.25 <= world.pauses[0] <= 0.5 <= world.pauses[1] <= 1.0


def test_the_jitter_follows_the_seed(world: World) -> None:
    for seed in (1, 1, 2):
        world.says(Say(503), Say(503), Say(503), Say(200))
        world.client(seed=seed).get(world.url)
    first, second, third = world.pauses[:3], world.pauses[3:6], world.pauses[6:]
    assert first == second != third


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 500, 501])
def test_lasting_failures_are_not(world: World, status: int) -> None:
    world.says(Say(status, body=b"no such\nthing"))
    with pytest.raises(RequestFailed, match=f"Status {status}: no such thing") as caught:
        world.client().get(world.url)
    assert (len(world.server.seen), world.pauses, caught.value.status) == (1, [], status)


def test_the_caller_may_accept_other_statuses(world: World) -> None:
    world.says(Say(304, headers={"etag": "a"}))
    assert world.client().get(world.url, accept=(200, 304)).status == 304


@pytest.mark.parametrize(("value", "pause_s"), [("7", 7.0), ("Mon, 02 Mar 2026 12:00:30 GMT", 30.0), ("0", None)])
def test_retry_after_is_obeyed(world: World, value: str, pause_s: float | None) -> None:
    world.says(Say(429, headers={"Retry-After": value}), Say(200))
    world.client(backoff_base_s=0.01).get(world.url)
    assert world.pauses[0] == pytest.approx(pause_s) if pause_s else world.pauses[0] <= 0.01


@pytest.mark.parametrize("value", ["3600", "Mon, 02 Mar 2026 13:00:00 GMT"])
def test_a_long_retry_after_is_handed_to_the_caller(world: World, value: str) -> None:
    world.says(Say(503, headers={"Retry-After": value}))
    with pytest.raises(RequestFailed) as caught:
        world.client().get(world.url)
    assert (caught.value.retry_after_s, world.pauses) == (3600.0, [])


def test_an_unreadable_retry_after_does_no_harm(world: World) -> None:
    world.says(Say(503, headers={"Retry-After": "soon"}), Say(200))
    assert world.client().get(world.url).status == 200


@pytest.mark.parametrize(
    ("method", "headers", "requests"),
    [("GET", {}, 4), ("PUT", {}, 4), ("POST", {}, 1), ("PATCH", {}, 1), ("POST", {"Idempotency-Key": "k"}, 4)],
)
@pytest.mark.parametrize("say", [Say(hang_up=True), Say(502), Say(504)])
def test_what_may_have_been_done_is_repeated_only_when_harmless(
    world: World, method: str, headers: dict[str, str], requests: int, say: Say
) -> None:
    world.says(say)
    with pytest.raises(RequestFailed) as caught:
        world.client().request(method, world.url, headers=headers, json={"a": 1})
    assert caught.value.maybe_done
    assert len(world.server.seen) == requests
    assert {seen.body for seen in world.server.seen} == {b'{"a": 1}'}


def test_what_was_not_done_is_repeated_in_any_case(world: World) -> None:
    world.says(Say(429), Say(201))
    assert world.client().post(world.url, json={}).status == 201


def test_a_connection_that_fails_is_repeated_even_for_a_post(world: World) -> None:
    client = world.client(allow=["localhost"])
    world.server.__exit__(None, None, None)
    with pytest.raises(RequestFailed, match=r"No connection.*refused") as caught:
        client.post(world.url, json={})
    assert (len(world.pauses), caught.value.maybe_done) == (3, False)
    world.server = LocalServer(Script(Say()))
    world.server.__enter__()


def test_the_second_address_is_tried_when_the_first_is_dead(world: World) -> None:
    client = world.client(resolver=lambda host, port: ["127.0.0.9", "127.0.0.1"], retries=0)
    assert client.get(world.url).content == b"ok"


def test_the_total_time_counts_not_the_pauses_between_bytes(world: World) -> None:
    world.says(Say(chunks=(b"x",) * 50, pause_s=0.05))
    start = time.monotonic()
    with pytest.raises(RequestFailed, match=r"No whole answer within 0.3 s"):
        world.client(timeout_s=0.3, retries=0).get(world.url)
    assert time.monotonic() - start < 1.0


def test_a_large_answer_stops_early(world: World) -> None:
    world.says(Say(chunks=(b"x" * 10_000,) * 100))
    with pytest.raises(RequestFailed, match="larger than 20,000 bytes"):
        world.client(max_bytes=20_000).get(world.url)
    assert len(world.server.seen) == 1


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_the_limit_counts_after_unpacking(world: World, pack: Any) -> None:
    name = "gzip" if pack is gzip.compress else "deflate"
    bomb = pack(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    world.says(Say(body=bomb, headers={"content-encoding": name}))
    with pytest.raises(RequestFailed, match="larger than 1,000,000 bytes"):
        world.client(max_bytes=1_000_000).get(world.url)
    world.says(Say(body=pack(b"y" * 1_000_000), headers={"content-encoding": name}))
    assert world.client(max_bytes=1_000_000).get(world.url).content == b"y" * 1_000_000


def test_members_of_a_gzip_are_joined_and_a_torn_one_is_not_taken(world: World) -> None:
    both = gzip.compress(b"one ") + gzip.compress(b"two")
    world.says(Say(body=both, headers={"content-encoding": "gzip"}))
    assert world.client().get(world.url).content == b"one two"
    world.says(Say(body=both[:-5], headers={"content-encoding": "gzip"}))
    with pytest.raises(RequestFailed, match="cut off"):
        world.client(retries=0).get(world.url)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x"])
def test_other_packings_are_refused(world: World, encoding: str) -> None:
    world.says(Say(body=b"data", headers={"content-encoding": encoding}))
    with pytest.raises(RequestFailed, match="packed as"):
        world.client(retries=0).get(world.url)


def test_redirects_are_followed_and_told(world: World) -> None:
    world.says(
        Say(301, headers={"location": "/b?x=1"}), Say(302, headers={"location": world.url + "/c"}), Say(body=b"c")
    )
    answer = world.client().get(world.url + "/a")
    assert (answer.content, answer.url) == (b"c", world.url + "/c")
    assert answer.redirects == ((301, world.url + "/b?x=1"), (302, world.url + "/c"))


def test_at_most_three_redirects(world: World) -> None:
    world.says(Say(302, headers={"location": "/again"}))
    with pytest.raises(RequestFailed, match="More than 3 redirects"):
        world.client().get(world.url)
    assert len(world.server.seen) == 4


def test_a_post_is_not_turned_into_a_get(world: World) -> None:
    world.says(Say(302, headers={"location": "/elsewhere"}))
    with pytest.raises(RequestFailed, match=r"Status 302 sends it on to .*/elsewhere"):
        world.client().post(world.url, json={})
    world.says(Say(303, headers={"location": "/done"}), Say(body=b"done"))
    assert world.client().post(world.url, json={"a": 1}).content == b"done"
    last = world.server.seen[-1]
    assert (last.method, last.body, "content-type" in last.headers) == ("GET", b"", False)
    world.says(Say(307, headers={"location": "/new"}), Say(201))
    assert world.client().post(world.url, json={"a": 1}).status == 201
    assert (world.server.seen[-1].path, world.server.seen[-1].body) == ("/new", b'{"a": 1}')


def test_credentials_do_not_follow_to_another_origin(world: World) -> None:
    with LocalServer(Script(Say(body=b"other"))) as other:
        allow = [world.server.host, other.host]
        client = world.client(allow=allow, auth=Bearer("s3cret"), headers={"X-Key": "k3y"})
        world.says(Say(302, headers={"location": "/same"}), Say(302, headers={"location": other.url + "/x"}))
        assert client.get(world.url, headers={"X-Once": "0nce"}).content == b"other"
        for seen in world.server.seen:
            assert (seen.headers["authorization"], seen.headers["x-key"]) == ("Bearer s3cret", "k3y")
        assert not {"authorization", "x-key", "x-once"} & set(other.seen[0].headers)
        assert other.seen[0].headers["host"] == other.host
        world.says(Say(307, headers={"location": other.url}))
        with pytest.raises(RequestFailed, match="Status 307 sends it on"):
            client.post(world.url, json={"private": "data"})
        assert len(other.seen) == 1


@pytest.mark.parametrize("auth", [Basic("ada", "s3cret"), Bearer("s3cret"), ApiKey("X-Api-Key", "s3cret")])
def test_secrets_are_in_no_message_log_or_repr(world: World, caplog: pytest.LogCaptureFixture, auth: Any) -> None:
    client = world.client(auth=auth, retries=1, secrets=["h00k"])
    echo = "you sent s3cret " + next(iter(auth.headers().values()))
    texts = [repr(auth), repr(client)]
    for say in (
        Say(400, body=echo.encode()),
        Say(503),
        Say(hang_up=True),
        Say(302, headers={"location": "/h00k/s3cret"}),
    ):
        world.says(say)
        # httpcore itself tells the headers of answers at DEBUG, and this answer gives the secret back
        caplog.set_level(logging.INFO if say.status == 302 else logging.DEBUG)
        with pytest.raises(RequestFailed) as caught:
            client.get(world.url + "/h00k/x", params={"token": "s3cret"})
        texts += [str(caught.value), repr(caught.value)]
    world.says(Say(body=b"fine"))
    caplog.set_level(logging.DEBUG)
    texts += [repr(client.get(world.url + "/h00k/x", params={"token": "s3cret"})), caplog.text]
    for text in texts:
        assert "s3cret" not in text
        assert "h00k" not in text
        assert Basic("ada", "s3cret").secrets()[1] not in text
    assert "you sent ***" in texts[2]


def test_requests_to_one_host_keep_their_distance(world: World) -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        world.pauses.append(seconds)
        now[0] += seconds

    client = world.client(per_host_interval_s=2.0, monotonic=lambda: now[0], sleep=sleep)
    for _ in range(3):
        client.get(world.url)
    assert world.pauses == [2.0, 2.0]


def _page(number: int, **more: Any) -> bytes:
    return json.dumps({"items": [number], **more}).encode()


def test_pages_by_link_header(world: World) -> None:
    def answer(seen: Seen) -> Say:
        number = int(seen.path.rpartition("=")[2])
        link = f'<{world.url}/x?page=1>; rel="first", </x?page={number + 1}>; title="a, b"; rel="prefetch next"'
        return Say(body=_page(number), headers={"Link": link} if number < 3 else {"Link": '</x?page=1>; rel="first"'})

    world.server.answer = answer
    pages = world.client().pages(world.url + "/x", params={"page": 1}, follow=by_link_header())
    assert [page.json()["items"] for page in pages] == [[1], [2], [3]]


def test_pages_by_next_url_cursor_and_number(world: World) -> None:
    world.says(Say(body=_page(1, links={"next": "/x?p=2"})), Say(body=_page(2, links={"next": None})))
    assert len(list(world.client().pages(world.url + "/x", follow=by_next_url("links.next")))) == 2
    world.says(Say(body=_page(1, meta={"after": "c1"})), Say(body=_page(2, meta={})))
    pages = world.client().pages(world.url + "/x", params={"size": 5}, follow=by_cursor("meta.after", param="after"))
    assert [page.json()["items"] for page in pages] == [[1], [2]]
    assert world.server.paths()[-2:] == ["/x?size=5", "/x?size=5&after=c1"]
    world.says(Say(body=_page(1)), Say(body=_page(2)), Say(body=b'{"items": []}'))
    assert len(list(world.client().pages(world.url + "/x", follow=by_page_number(items="items")))) == 3
    assert world.server.paths()[-2:] == ["/x?page=2", "/x?page=3"]


def test_pages_that_lead_astray_are_refused(world: World) -> None:
    client = world.client(auth=Bearer("s3cret"))
    world.says(Say(body=_page(1, next="/x")))
    with pytest.raises(RequestFailed, match="round in a circle"):
        list(client.pages(world.url + "/x", follow=by_next_url()))
    world.says(Say(body=_page(1, next="http://evil.example/steal")))
    with pytest.raises(RequestFailed, match="another server"):
        list(client.pages(world.url + "/x", follow=by_next_url()))
    world.says(Say(body=_page(1)))
    with pytest.raises(RequestFailed, match="more than 4 pages"):
        list(client.pages(world.url + "/x", follow=by_page_number(items="items"), max_pages=4))
