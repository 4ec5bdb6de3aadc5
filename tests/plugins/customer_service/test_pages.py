"""The chat page, the desk and the API, over HTTP: who may do what, what is shown, and that nothing is shown raw."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fastapi.testclient import TestClient

import mercat_customer_service as plugin
from mercat.plugins import discover
from mercat.serve import create_app
from mercat.serve.middleware import json_log
from mercat.web.passwords import hash_password
from mercat.workspace import Workspace

PASSWORD = "correct horse battery"
HASHED = hash_password(PASSWORD)
CARD, HUMAN, BAD = (
    "when will my new card arrive",
    "can I talk to a person please",
    "<script>alert(1)</script> & <b>refund</b>",
)
HTMX = {"HX-Request": "true"}


@dataclass
class Site:
    """A served desk. `browser(name)` is signed in as ana (ask) or olga (operate), or as nobody."""

    app: Any
    client: TestClient

    @property
    def workspace(self) -> Workspace:
        found: Workspace = self.app.state.host.workspace
        return found

    def key(self, scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.workspace.store.accounts.create_key(scope, [scope])[0]}"}

    def browser(self, name: str = "", *, language: str = "en") -> Browser:
        client = TestClient(self.app, base_url="http://localhost", follow_redirects=False)
        client.portal = self.client.portal
        client.headers["Accept-Language"] = language
        browser = Browser(client)
        if name:
            form = {"name": name, "password": PASSWORD, "csrf_token": browser.csrf("/sign-in")}
            assert client.post("/sign-in", data=form).status_code == 303
        return browser


@dataclass
class Browser:
    client: TestClient

    def csrf(self, path: str) -> str:
        found = re.search(r'name="csrf-token" content="([0-9a-f]+)"', self.get(path))
        assert found
        return found[1]

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == status, answer.text[:300]
        return str(answer.text)

    def send(self, path: str, page: str, status: int = 200, **form: str) -> str:
        headers = {**HTMX, "X-CSRF-Token": self.csrf(page)}
        answer = self.client.post(path, data=form, headers=headers)
        assert answer.status_code == status, answer.text[:300]
        return str(answer.text)

    def say(self, text: str, conversation: str = "c1") -> str:
        return self.send(f"/desk/chat/{conversation}", f"/desk/chat?conversation={conversation}", text=text)


@pytest.fixture
def serve(open_desk: Callable[..., Workspace]) -> Iterator[Callable[..., Site]]:
    clients: list[TestClient] = []

    def start(**options: Any) -> Site:
        workspace = open_desk(**options)
        for name, scope in (("ana", "ask"), ("olga", "operate")):
            workspace.store.accounts.set_user(name, HASHED, [scope])
        app = create_app(lambda: workspace, preload=True, log=json_log(io.StringIO()))
        clients.append(TestClient(app, base_url="http://localhost", follow_redirects=False))
        clients[-1].__enter__()
        return Site(app, clients[-1])

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    return serve()


def test_a_tester_asks_and_sees_the_reply_with_its_reasons(site: Site) -> None:
    ana = site.browser("ana")
    where = ana.client.get("/desk/chat").headers["location"]
    assert re.fullmatch(r"/desk/chat\?conversation=[0-9a-f]{32}", where)
    assert "Good to see you" in ana.get(where)
    shown = ana.say(CARD)
    assert "Cards arrive within 5 days." in shown
    assert "Approved reply" in shown
    assert re.search(r"My card · \d+ %", shown)
    quoted = ana.say("wire transfers abroad take how many days fees")
    assert (
        '<a href="https://help.example/1" target="_blank" rel="noopener noreferrer">Wire transfers abroad</a>' in quoted
    )
    assert "Cards arrive within 5 days." in ana.get("/desk/chat?conversation=c1"), "it is there again after a reload"


def test_what_a_customer_writes_is_never_markup_and_never_a_script(site: Site) -> None:
    ana, olga = site.browser("ana"), site.browser("olga")
    shown = [ana.say(BAD), olga.get("/desk/conversations"), olga.get("/desk/conversations/c1")]
    for html in shown:
        assert "<script>alert" not in html
        assert "<b>refund" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    chinese = ana.say("储蓄罐的年利率是多少", "c2")
    assert "储蓄罐的利率" in chinese
    assert "javascript:" not in chinese, "only web addresses become links"


def test_a_poll_without_news_is_empty(site: Site) -> None:
    ana = site.browser("ana")
    seen = re.search(r'data-seen="(\w+)"', ana.say(CARD))
    assert seen
    assert ana.get(f"/desk/chat/c1?seen={seen[1]}", 204) == ""
    site.workspace.get("services", "desk").desk.answer("c1", "Hello from Mia")
    assert "Hello from Mia" in ana.get(f"/desk/chat/c1?seen={seen[1]}")
    olga = site.browser("olga")
    listed = re.search(r"seen=(\w+)", olga.get("/desk/list"))
    assert listed
    assert olga.get(f"/desk/list?seen={listed[1]}", 204) == ""


def test_a_person_takes_over_answers_and_gives_back(site: Site) -> None:
    ana, olga = site.browser("ana"), site.browser("olga")
    ana.say(CARD, "calm")
    assert "A colleague has this conversation" in ana.say(HUMAN)
    listed = olga.get("/desk/conversations")
    assert listed.index("/desk/conversations/c1") < listed.index("/desk/conversations/calm"), "who waits comes first"
    assert "Waits for a person" in listed
    page = "/desk/conversations/c1"
    answered = olga.send(f"{page}/answer", page, text="Mia here, your card comes today", id="p1")
    olga.send(f"{page}/answer", page, text="Mia here, your card comes today", id="p1")
    assert answered.count("Mia here") == 1
    assert olga.get(page).count("Mia here") == 2, "once in the talk, once in the list"
    assert "Mia here" in ana.get("/desk/chat/c1")
    assert "Cards arrive" not in ana.say(CARD), "the desk is silent"
    olga.send(f"{page}/state", page, state="bot")
    assert "Cards arrive" in ana.say(CARD)
    assert "Closed" in olga.send(f"{page}/state", page, state="closed")
    assert "was closed" in ana.get("/desk/chat/c1")
    olga.send(f"{page}/state", page, 422, state="melted")


def test_a_form_from_elsewhere_changes_nothing(site: Site) -> None:
    ana, olga = site.browser("ana"), site.browser("olga")
    ana.say(HUMAN)
    for browser, path, form in (
        (ana, "/desk/chat/c1", {"text": "hello"}),
        (olga, "/desk/conversations/c1/answer", {"text": "hello"}),
        (olga, "/desk/conversations/c1/state", {"state": "closed"}),
    ):
        assert browser.client.post(path, data=form, headers=HTMX).status_code == 403
    row, turns = site.workspace.get("services", "desk").desk.read("c1")
    assert (row.state, len(turns)) == ("person", 2)


def test_who_may_open_what(site: Site) -> None:
    nobody, ana, olga = site.browser(), site.browser("ana"), site.browser("olga")
    ana.say(CARD)
    for path in ("/desk", "/desk/chat", "/desk/conversations", "/desk/conversations/c1"):
        nobody.get(path, 303)  # to the sign-in page
    for path in ("/desk/conversations", "/desk/conversations/c1", "/desk/list", "/desk/conversations/c1/pane"):
        ana.get(path, 403)
        olga.get(path)
    assert ana.client.get("/desk").headers["location"] == "/desk/chat"
    assert olga.client.get("/desk").headers["location"] == "/desk/conversations"
    for path in ("/desk/conversations/nothing", "/desk/conversations/nothing/pane", "/desk/chat?conversation=a%20b"):
        olga.get(path, 404)
    assert 'href="/desk/conversations"' not in ana.get("/desk/chat?conversation=c1")


def test_a_visitor_has_its_own_conversation_and_no_other(serve: Callable[..., Site]) -> None:
    site = serve(routers={"visitors": True})
    ann, bob = site.browser(), site.browser()
    page = ann.get("/desk/chat")
    token = re.search(r"Bearer (mcv_[^\"]+)\"", page)
    where = re.search(r'action="(/desk/chat/[0-9a-f]{32})"', page)
    assert token
    assert where
    bearer = {"Authorization": f"Bearer {token[1]}", **HTMX}
    said = ann.client.post(where[1], data={"text": CARD}, headers=bearer)
    assert "Cards arrive within 5 days." in said.text
    assert "Approved reply" not in said.text, "how sure the desk was is not for visitors"
    assert "Cards arrive within 5 days." in ann.get("/desk/chat"), "the cookie brings the conversation back"
    assert "Cards arrive" not in ann.get("/desk/chat?new=1")
    bob.get("/desk/chat")
    assert bob.client.get(where[1]).status_code == 401
    assert bob.client.post(where[1], data={"text": "hello"}, headers=HTMX).status_code in (401, 403)
    assert ann.client.get("/desk/conversations").status_code == 403
    assert "frame-ancestors 'none'" in ann.client.get("/desk/chat").headers["content-security-policy"]


def test_a_chat_window_elsewhere_uses_the_api(site: Site) -> None:
    ask = site.key("ask")
    begun = site.client.post("/desk/api/conversations", json={"customer": "anna", "locale": "en"}, headers=ask).json()
    url = f"/desk/api/conversations/{begun['conversation']}/turns"
    visitor = {"Authorization": f"Bearer {begun['token']}"}
    reply = site.client.post(url, json={"text": CARD, "id": "r1"}, headers=visitor).json()
    again = site.client.post(url, json={"text": CARD, "id": "r1"}, headers=visitor).json()
    assert reply == again
    assert (reply["value"], reply["action"]) == ("Cards arrive within 5 days.", "reply")
    told = site.client.get(url, headers=visitor).json()
    assert told["state"] == "bot"
    assert [(turn["number"], turn["speaker"]) for turn in told["turns"]] == [(1, "customer"), (2, "desk")]
    assert [turn["number"] for turn in site.client.get(url + "?after=1", headers=visitor).json()["turns"]] == [2]
    assert site.workspace.get("services", "desk").desk.read(begun["conversation"])[0].subject == "anna"
    assert site.client.post("/desk/api/conversations", json={}, headers=visitor).status_code == 403
    assert site.client.get(url.replace(begun["conversation"], "c9"), headers=visitor).status_code == 401
    assert site.client.post(url, json={"text": ""}, headers=visitor).status_code == 422
    assert site.client.post(url, json={"text": "a", "customer": "bert"}, headers=visitor).status_code in (200, 422)
    assert site.workspace.get("services", "desk").desk.read(begun["conversation"])[0].subject == "anna"


def test_a_reviewers_objection_holds_on_the_chat_page_too(serve: Callable[..., Site]) -> None:
    point = EntryPoint("objecting", "objecting", "mercat")
    with mock.patch("mercat.plugins.discover", lambda: {**discover(), "objecting": point}):
        site = serve(review=["objecting"])
    ana = site.browser("ana")
    shown = ana.say(CARD)
    assert "5 days" not in shown
    assert "I am passing this to a colleague" in shown
    assert "We are open from nine to five." in ana.say("when are you open", "c2")
    asked = {"text": CARD, "id": "r1"}
    reply = site.client.post("/desk/api/conversations/c3/turns", json=asked, headers=site.key("ask")).json()
    assert (reply["action"], reply["abstained"]) == ("hand_over", True)
    assert "5 days" not in str(reply)


def test_the_pages_speak_chinese(site: Site) -> None:
    olga = site.browser("olga", language="zh-CN,zh;q=0.9")
    assert "有什么可以帮您" in olga.get("/desk/chat?conversation=c1")
    assert "转人工" in olga.say(HUMAN)
    assert "等待人工" in olga.get("/desk/conversations")


def test_both_languages_have_every_text() -> None:
    folder = Path(plugin.__file__).parent
    english, chinese = (json.loads((folder / "messages" / f"{code}.json").read_text("utf-8")) for code in ("en", "zh"))
    assert english.keys() == chinese.keys()
    used = {
        key
        for path in (folder / "templates").glob("*.html")
        for key in re.findall(r'(?<![a-z])t\("([a-z_.]+?)"[,)]', path.read_text("utf-8"))
    }
    assert used <= english.keys()
