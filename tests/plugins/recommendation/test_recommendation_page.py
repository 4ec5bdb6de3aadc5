"""The page over HTTP: what it shows and withholds; and the way from files to a ranking through a configuration."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import small_shop
from fastapi.testclient import TestClient

import mercat
import mercat_recommendation as plugin
from mercat.plugins import discover
from mercat.serve import create_app
from mercat.serve.middleware import json_log
from mercat.training.train import evaluate, train
from mercat.values import Document
from mercat.workspace import Workspace
from mercat_recommendation.candidates import SHARES
from mercat_recommendation.features import NAMES
from mercat_recommendation.notes import TEXTS
from mercat_recommendation.values import RankRequest

PACKAGE = Path(plugin.__file__).parent


@dataclass
class Site:
    """A served shop and a client with a key for `ask`."""

    workspace: Workspace
    client: TestClient

    def get(self, path: str = "", *, language: str = "en", status: int = 200) -> str:
        answer = self.client.get(f"/shop{path}", headers={"Accept-Language": language, "Accept": "text/html"})
        assert answer.status_code == status, answer.text[:300]
        return unescape(answer.text)


@pytest.fixture
def serve(trained: Path, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    clients: list[TestClient] = []

    def start(**service: Any) -> Site:
        workspace = small_shop.open_shop(Path(shutil.copytree(trained, tmp_path / "shop")), **service)
        key, _ = workspace.store.accounts.create_key("tests", ["ask"])
        app = create_app(lambda: workspace, preload=True, log=json_log(io.StringIO()))
        clients.append(TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {key}"}))
        clients[-1].__enter__()
        return Site(workspace, clients[-1])

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    return serve()


def part(html: str, name: str) -> str:
    """Return one card of the page."""
    return html.split(f'data-test="{name}"')[1].split("</section>")[0]


def ranked(html: str) -> list[str]:
    return re.findall(r'data-item="([^"]+)"', part(html, "ranking"))


def test_the_list_follows_three_clicks(site: Site) -> None:
    html = site.get()
    assert "Nothing was touched yet: this is what is popular" in html
    first = ranked(html)
    for _ in range(3):
        link = re.search(r'href="/shop(\?[^"]+)" data-add="cycling', part(html, "shelf"))
        assert link
        html = site.get(link[1])
    after = ranked(html)
    assert after != first
    assert all(item.startswith("cycling") for item in after)
    assert part(html, "touched").count("just now") == 3
    assert "“bicycle" in html
    undo = re.search(r'class="undo" href="/shop(\?[^"]+)"', html)
    assert undo
    assert part(site.get(undo[1]), "touched").count("just now") == 2


def test_a_user_is_shown_with_their_history_and_a_reason_at_each_place(site: Site) -> None:
    html = site.get("?user=u00&k=5")
    assert "For u00" in html
    assert "Touched so far" in html
    reasons = re.findall(r'<p class="why">([^<]+)</p>', html)
    assert len(ranked(html)) == len(reasons) == 5
    assert any("also chose this" in reason or "Like “" in reason for reason in reasons)
    assert "Left out: 17 seen already" in html


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("en", {"near by text", "chosen together", "popular of late", "among all items"}),
        ("zh", {"文字相近", "常被一起选择", "近期热门", "来自全部商品"}),
    ],
)
def test_each_place_says_how_it_was_found(site: Site, language: str, names: set[str]) -> None:
    chosen = site.get("?item=tea01&item=tea02&k=5", language=language)  # 38 of 40 are open: more than are scored
    places = part(chosen, "ranking").split("<li data-item")[1:]
    found = [re.findall(r'data-source="(\w+)">([^<]+)<', place) for place in places]
    assert len(found) == 5
    assert all(found)
    assert {name for place in found for name, _ in place} <= {*SHARES}
    assert {"tied", "index"} & {name for place in found for name, _ in place}
    whole = site.get("?user=u00&k=5", language=language)  # 23 are open, and all of them are scored
    scored = re.findall(r'data-source="(\w+)">([^<]+)<', whole)
    assert {name for name, _ in scored} == {"all"}
    assert {text for _, text in [*scored, *(each for place in found for each in place)]} <= names


def test_it_speaks_chinese(site: Site) -> None:
    html = site.get("?item=tea01", language="zh")
    assert "给新访客的推荐" in html
    assert "相似" in html or "也选择了它" in html
    assert "文字相似" in html
    stranger = site.get("?user=nobody", language="zh")
    assert "对“nobody”还一无所知：以下是热门商品" in stranger
    assert "Nothing is known" not in stranger


def test_an_objection_withholds_the_ranking_from_the_page_too(serve: Callable[..., Site]) -> None:
    import objecting_to_tea

    objecting_to_tea.told.clear()
    point = EntryPoint("objecting", "objecting_to_tea", "mercat")
    with mock.patch("mercat.plugins.discover", lambda: {**discover(), "objecting": point}):
        site = serve(review=["objecting"])
    html = site.get("?user=u00&k=5")
    assert "This ranking was withheld" in html
    assert "<li>it lists tea</li>" in html
    ranking = part(html, "ranking")
    assert " tea no " not in ranking
    assert 'class="why"' not in ranking
    assert "of such lists had a hit" not in ranking
    assert "此推荐列表未予显示" in site.get("?user=u00&k=5", language="zh")
    shown = site.get("?user=u01&k=3")
    assert "withheld" not in shown
    assert len(ranked(shown)) == 3
    kept = site.workspace.store.objections.recent()
    assert [(each.service, each.plugin) for each in kept] == [("shop", "objecting")] * 2
    told = [event.data for event in objecting_to_tea.told if event.kind == "answered"]
    assert [(each["service"], each["abstained"]) for each in told] == [("shop", True), ("shop", True), ("shop", False)]


def test_what_others_wrote_is_never_markup_and_never_a_script(site: Site) -> None:
    bad = "<script>alert(1)</script>"
    store = site.workspace.store
    store.upsert([Document("evil", "x", title=bad, url="javascript:alert(1)")], collection="items")
    store.upsert([Document("good", "x", title="good", url="https://shop.example/good")], collection="items")
    for path in ("?item=evil&q=alert", f"?user={bad}&category={bad}&q={bad}", "?q=x"):
        raw = site.client.get(f"/shop{path}").text
        assert "<script>alert" not in raw
        assert "&lt;script&gt;alert(1)" in raw
        assert "javascript:" not in raw
    assert 'href="https://shop.example/good"' in raw


def test_what_is_asked_is_kept_from_click_to_click(site: Site) -> None:
    store = site.workspace.store
    store.upsert([Document("a,b & c", "odd", title="odd name", metadata={"category": "tea"})], collection="items")
    html = site.get("?user=u00&category=tea&diversity=0.4&k=3&q=odd")
    (link,) = re.findall(r'href="/shop(\?[^"]+)" data-add="a,b & c"', part(html, "shelf"))
    after = site.get(link)
    assert "odd name" in part(after, "touched")
    assert len(ranked(after)) == 3
    assert all(item.startswith("tea") for item in ranked(after))
    assert "<output>0.4</output>" in after
    assert "For u00" in after


def test_the_slider_stands_where_the_service_does(serve: Callable[..., Site]) -> None:
    site = serve(diversity=0.3)
    assert "<output>0.3</output>" in site.get()
    assert "<output>0.0</output>" in site.get("?diversity=0.0")


def test_a_filter_that_nothing_passes_says_so(site: Site) -> None:
    html = site.get("?category=nothing")
    assert "No item passes" in html
    assert "0 of 10 items: 40 outside the filters" in html


def test_an_address_that_cannot_be_is_refused(site: Site) -> None:
    for path in ("?k=0", "?k=101", "?diversity=2", "?user=" + "u" * 201):
        site.get(path, status=422)


def test_a_posted_event_counts_in_the_next_page(site: Site) -> None:
    event = {"id": "p1", "user_id": "guest", "item_id": "tea03", "kind": "click", "at": "2026-01-30T23:00:00Z"}
    assert site.client.post("/shop/events", json=[event]).json() == {"stored": 1}
    assert site.client.post("/shop/events", json=[event]).json() == {"stored": 0}
    assert all(item.startswith("tea") for item in ranked(site.get("?user=guest&k=5")))
    assert site.client.post("/shop/events", json=[{**event, "at": "2026-01-30T23:00:00"}]).status_code == 422


def test_it_is_not_for_everybody(site: Site) -> None:
    nobody = TestClient(site.client.app, base_url="http://localhost", follow_redirects=False)
    nobody.portal = site.client.portal
    assert nobody.get("/shop").status_code == 401
    assert nobody.get("/shop", headers={"Accept": "text/html"}).status_code == 303, "to the sign-in page"
    assert nobody.post("/shop/events", json=[]).status_code == 401


def test_both_languages_have_every_text() -> None:
    english, chinese = (json.loads((PACKAGE / "messages" / f"{code}.json").read_text("utf-8")) for code in ("en", "zh"))
    assert english.keys() == chinese.keys()
    used = {
        key
        for path in (PACKAGE / "templates").glob("*.html")
        for key in re.findall(r'(?<![a-z])t\("([a-z_.]+[a-z])"[,)]', path.read_text("utf-8"))
    }
    assert len(used) > 20
    made = {f"part.{name}" for name in NAMES} | {f"found.{name}" for name in (*SHARES, "all")}
    assert used | made <= english.keys()
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()


def test_the_invented_shop_goes_all_the_way(tmp_path: Path) -> None:
    """From the shipped CSV files through sources, recipe and service of a configuration; and it beats popularity."""
    data, example = PACKAGE / "demo", PACKAGE / "example.toml"
    text = example.read_text(encoding="utf-8").replace(
        'use = "transformer"\nmodel = "all-MiniLM-L6-v2"', 'use = "hashing"'
    )
    for name in ("items.csv", "events.csv"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    (tmp_path / "mercat.toml").write_text(text, encoding="utf-8")
    with mercat.open(tmp_path / "mercat.toml") as app:
        for name, collection in (("items", "items"), ("events", "events")):
            for batch in app.get("sources", name).read(None):
                assert not batch.rejected
                app.store.upsert(batch.rows, collection=collection, source=name)
        recipe = app.get("recipes", "ranker")
        options = {"store": app.store, "scratch_root": tmp_path / "scratch"}
        artifact = train(recipe, name="ranker", artifacts=app.artifacts, recipe_name="recommendation/ranker", **options)
        found = evaluate(recipe, artifact=artifact, **options)
        ranking = app.get("services", "shop").answer(RankRequest(user_id="u001", k=5))
        assert len(ranking.items) == 5
        assert all(item.reason for item in ranking.items)
        assert app.get("routers", "shop").pages
    assert found.differences["ndcg@10"].low > 0.1
