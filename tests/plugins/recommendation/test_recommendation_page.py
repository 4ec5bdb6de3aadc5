"""The page, with a client; and the whole way from files to a ranking through a configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mercat.store import Store
from mercat.values import Document
from mercat.web import Caller
from mercat.web.csrf import CsrfTokens
from mercat_recommendation.service import Recommender
from mercat_recommendation.web import shop as shop_router


class OpenGate:
    def __init__(self, caller: Caller) -> None:
        self.caller, self.csrf = caller, CsrfTokens(b"k" * 32)

    def identify(self, request: Any) -> Caller:
        return self.caller

    def admit(self, request: Any, caller: Caller, scope: str) -> None:
        pass


def client_for(service: Recommender, store: Store, *scopes: str) -> TestClient:
    app = FastAPI()
    app.state.gate, app.state.nav = OpenGate(Caller("key", frozenset(scopes), "key")), []
    app.include_router(shop_router(service, store, events="events"))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture
def client(recommender: Recommender, store: Store) -> TestClient:
    return client_for(recommender, store, "ask")


def ranked(html: str) -> list[str]:
    return re.findall(r'data-item="([^"]+)"', html.split('data-test="ranking"')[1].split("</ol>")[0])


def test_the_list_follows_three_clicks(client: TestClient) -> None:
    html = client.get("/").text
    assert "Nothing was touched yet" in html
    first = ranked(html)
    for _ in range(3):
        shelf = html.split('data-test="shelf"')[1]
        link = re.search(r'<a href="([^"]+)" data-item="cycling', shelf)
        assert link
        html = client.get(link[1].replace("&amp;", "&")).text
    after = ranked(html)
    assert after != first
    assert all(item.startswith("cycling") for item in after)
    assert len(re.findall(r"<li>", html.split('data-test="touched"')[1].split("</ul>")[0])) == 3
    assert "“bicycle" in html


def test_a_user_is_shown_with_their_history_and_reasons(client: TestClient) -> None:
    html = client.get("/?user=u00&k=5").text
    assert len(ranked(html)) == 5
    assert "For u00" in html
    assert "Touched so far" in html


def test_it_speaks_chinese(client: TestClient) -> None:
    html = client.get("/?items=tea01", headers={"Accept-Language": "zh"}).text
    assert "给新访客的推荐" in html
    assert "相似" in html or "也选择了它" in html


def test_titles_are_escaped(client: TestClient, store: Store) -> None:
    store.upsert([Document("evil", "x", title="<script>alert(1)</script>")], collection="items")
    html = client.get("/?items=evil").text
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_filter_that_nothing_passes_says_so(client: TestClient) -> None:
    assert "No item passes" in client.get("/?category=nothing").text


def test_a_posted_event_counts_in_the_next_page(client: TestClient) -> None:
    event = {"id": "p1", "user_id": "guest", "item_id": "tea03", "kind": "click", "at": "2026-01-30T23:00:00Z"}
    assert client.post("/events", json=[event]).json() == {"stored": 1}
    assert client.post("/events", json=[event]).json() == {"stored": 0}
    html = client.get("/?user=guest&k=5").text
    assert all(item.startswith("tea") for item in ranked(html))
    assert client.post("/events", json=[{**event, "at": "2026-01-30T23:00:00"}]).status_code == 422


def test_it_is_not_for_everybody(recommender: Recommender, store: Store) -> None:
    nobody = client_for(recommender, store)
    assert nobody.get("/").status_code != 200
    assert nobody.post("/events", json=[]).status_code != 200


def test_the_invented_shop_goes_all_the_way(tmp_path: Path) -> None:
    """From the shipped CSV files through sources, recipe and service of a configuration; and it beats popularity."""
    import mercat
    from mercat.training.train import evaluate, train
    from mercat_recommendation.values import RankRequest

    data = Path(mercat_recommendation_folder()) / "demo"
    example = Path(mercat_recommendation_folder()) / "example.toml"
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


def mercat_recommendation_folder() -> str:
    import mercat_recommendation

    return mercat_recommendation.__path__[0]
