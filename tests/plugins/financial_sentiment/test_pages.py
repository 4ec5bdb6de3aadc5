"""The trend page over HTTP: what it shows as of a moment, to whom, and that nothing is shown raw."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from small_news import DAY, HOUR, SURGE, burst, calm, take_in

import mercat_financial_sentiment as plugin
from mercat.serve import create_app
from mercat.serve.middleware import json_log
from mercat.values import Document
from mercat.web.passwords import hash_password
from mercat.workspace import Workspace

PASSWORD = "correct horse battery"
HASHED = hash_password(PASSWORD)
AT = f"{SURGE + 5 * HOUR:%Y-%m-%dT%H:%M}"
BAD = Document(
    "bad", "Acme: a heavy loss", "Acme <script>alert(1)</script>", "javascript:alert(1)", published_at=SURGE - HOUR
)


@pytest.fixture
def site(workspace: Workspace) -> Iterator[TestClient]:
    take_in(workspace, [*calm(), *calm(topic="Globex"), *burst("negative", 14), BAD])
    for name, scope in (("ana", "ask"), ("olga", "operate")):
        workspace.store.accounts.set_user(name, HASHED, [scope])
    app = create_app(lambda: workspace, preload=True, log=json_log(io.StringIO()))
    with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
        yield client


@pytest.fixture
def sign_in(site: TestClient) -> Callable[..., TestClient]:
    def start(name: str, *, language: str = "en") -> TestClient:
        browser = TestClient(site.app, base_url="http://localhost", follow_redirects=False)
        browser.portal = site.portal
        browser.headers.update({"Accept-Language": language, "Accept": "text/html"})
        form = {"name": name, "password": PASSWORD, "csrf_token": csrf(browser.get("/sign-in").text)}
        assert browser.post("/sign-in", data=form).status_code == 303
        return browser

    return start


def csrf(html: str) -> str:
    found = re.search(r'name="csrf-token" content="([0-9a-f]+)"', html)
    assert found
    return found[1]


def series(browser: TestClient, **query: Any) -> dict[str, Any]:
    answer = browser.get("/signals/series.json", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_page_tells_topics_change_alerts_and_stories(sign_in: Callable[..., TestClient]) -> None:
    html = sign_in("ana").get("/signals").text  # as of the newest article, which is of the surge
    assert html.index("Acme") < html.index("Globex"), "the surge comes first"
    assert "15 of 15 negative" in html
    assert re.search(r"15 of \d+ stories in 24 hours are negative", html)
    assert "Firing" in html
    assert "The articles behind it" in html
    assert 'href="https://news.example/Acme-s00"' in html
    assert "Acknowledge" not in html, "that is for those who operate"


def test_as_of_an_earlier_moment_nothing_of_the_surge_is_there(sign_in: Callable[..., TestClient]) -> None:
    ana = sign_in("ana")
    early = f"{SURGE - 10 * HOUR:%Y-%m-%dT%H:%M}"
    html = ana.get("/signals", params={"at": early}).text
    assert "No alerts" in html
    assert "Surge" not in html
    assert "Acme-s" not in html
    shown = series(ana, topic="acme", at=early)
    assert shown["alerts"] == []
    assert sum(shown["series"][0]["values"]) == 15  # the negative ones among 105 in a calm month
    assert "Acme-s" not in ana.get(f"/signals/days/acme/{SURGE:%Y-%m-%d}", params={"at": early}).text


def test_the_series_counts_stories_per_day_and_marks_alerts(sign_in: Callable[..., TestClient]) -> None:
    shown = series(sign_in("ana"), topic="acme", at=AT, days=30)
    assert len(shown["x"]) == len(shown["days"]) == 30
    assert shown["days"][-1] == f"{SURGE:%Y-%m-%d}"
    assert all(b - a == 86400 for a, b in zip(shown["x"], shown["x"][1:], strict=False))
    last = {item["name"]: item["values"][-1] for item in shown["series"]}
    assert last == {"negative": 15, "neutral": 0, "positive": 0}
    assert [mark["state"] for mark in shown["alerts"]] == ["firing"]


def test_a_day_opens_and_copies_are_counted_not_listed(
    workspace: Workspace, sign_in: Callable[..., TestClient]
) -> None:
    story = "Globex opens the largest shop that this town has ever seen"
    take_in(workspace, burst("positive", 4, topic="Globex", at=SURGE + DAY, title=story))
    html = sign_in("ana").get(f"/signals/days/globex/{SURGE + DAY:%Y-%m-%d}").text
    assert html.count(story) == 1
    assert "copied 3 ×" in html


def test_an_alert_is_acknowledged_by_who_may_and_with_the_forms_token(sign_in: Callable[..., TestClient]) -> None:
    ana, olga = sign_in("ana"), sign_in("olga")
    page = olga.get("/signals").text
    found = re.search(r"/signals/alerts/(\w+)/acknowledge", page)
    assert found
    path, htmx = found[0], {"HX-Request": "true"}
    assert olga.post(path, headers=htmx).status_code == 403
    assert ana.post(path, headers={**htmx, "X-CSRF-Token": csrf(ana.get("/signals").text)}).status_code == 403
    done = olga.post(path, headers={**htmx, "X-CSRF-Token": csrf(page)})
    assert "Acknowledged by olga" in done.text
    assert "Acknowledged by olga" in ana.get("/signals").text
    missing = "/signals/alerts/nothing/acknowledge"
    assert olga.post(missing, headers={**htmx, "X-CSRF-Token": csrf(page)}).status_code == 404


def test_headlines_are_never_markup_and_only_web_addresses_are_links(sign_in: Callable[..., TestClient]) -> None:
    html = sign_in("ana").get("/signals").text
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
    assert "javascript:" not in html


def test_what_cannot_be_asked_is_refused(site: TestClient, sign_in: Callable[..., TestClient]) -> None:
    assert site.get("/signals", headers={"Accept": "text/html"}).status_code == 303
    assert site.get("/signals/series.json?topic=acme").status_code == 401
    ana = sign_in("ana")
    assert ana.get("/signals?at=yesterday").status_code == 422
    assert ana.get("/signals/series.json?topic=nobody").status_code == 404
    assert ana.get("/signals/days/acme/2026-13-45").status_code == 422
    assert ana.get("/signals?topic=nobody&days=7").status_code == 200
    assert ana.get("/signals?at=0001-01-01T00:00").status_code == 422
    assert ana.get("/signals/days/acme/0001-01-01").status_code == 422
    assert ana.get("/signals/days/acme/9999-12-31").status_code == 422
    assert ana.get("/signals/days/acme/2100-12-31").status_code == 200


def test_the_page_speaks_chinese(sign_in: Callable[..., TestClient]) -> None:
    html = sign_in("ana", language="zh-CN").get("/signals").text
    assert "顶点公司" in html
    assert "激增" in html
    assert "15 条中 15 条负面" in html


def test_a_store_without_news_has_a_page_too(workspace: Workspace) -> None:
    workspace.store.accounts.set_user("ana", HASHED, ["ask"])
    key, _ = workspace.store.accounts.create_key("k", ["ask"])
    app = create_app(lambda: workspace, preload=True, log=json_log(io.StringIO()))
    with TestClient(app, base_url="http://localhost") as client:
        html = client.get("/signals", headers={"Authorization": f"Bearer {key}"}).text
    assert "Too little history" in html
    assert "No alerts" in html


def test_both_languages_have_every_text_of_the_trend_page() -> None:
    folder = Path(plugin.__file__).parent
    english, chinese = (json.loads((folder / "messages" / f"{code}.json").read_text("utf-8")) for code in ("en", "zh"))
    assert english.keys() == chinese.keys()
    used = {
        key
        for path in (folder / "templates").glob("*.html")
        for key in re.findall(r'(?<![a-z])t\("([a-z_.]+?)"[,)]', path.read_text("utf-8"))
    }
    assert used <= english.keys()
