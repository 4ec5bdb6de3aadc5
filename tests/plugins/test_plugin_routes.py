"""Every route of the three plugins by every caller: a new route fails here until it is written down."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

sys.path.extend(
    str(Path(__file__).parent / name) for name in ("customer_service", "financial_sentiment", "recommendation")
)

import small_desk
import small_news
import small_shop

from mercat.config import Config
from mercat.serve import create_app
from mercat.serve.middleware import json_log
from mercat.serve.mount import requirements
from mercat.web.access import IMPLIED
from mercat.workspace import Workspace
from mercat_customer_service.values import Turn

CALLERS = ("anonymous", "visitor", "ask", "operate", "admin")
SECTIONS = ("/desk", "/signals", "/shop")
DAY = f"{small_news.SURGE:%Y-%m-%d}"
EVENT = {"id": "new", "user_id": "u00", "item_id": "tea00", "kind": "click", "at": "2026-02-01T00:00:00Z"}


@dataclass(frozen=True)
class Row:
    """The scope of a route, and how it is asked."""

    scope: str
    asked: dict[str, Any] = field(default_factory=dict)


ROUTES = {
    "GET /desk": Row("ask"),
    "GET /desk/chat": Row("ask"),
    "GET /desk/chat/{conversation}": Row("visitor"),
    "POST /desk/chat/{conversation}": Row("visitor", {"data": {"text": "refund request", "id": "said"}}),
    "GET /desk/conversations": Row("operate"),
    "GET /desk/conversations/{conversation}": Row("operate"),
    "GET /desk/list": Row("operate"),
    "GET /desk/conversations/{conversation}/pane": Row("operate"),
    "POST /desk/conversations/{conversation}/state": Row("operate", {"data": {"state": "person"}}),
    "POST /desk/conversations/{conversation}/answer": Row("operate", {"data": {"text": "Hello", "id": "answered"}}),
    "POST /desk/api/conversations": Row("ask", {"json": {}}),
    "POST /desk/api/conversations/{conversation}/turns": Row("visitor", {"json": {"text": "refund", "id": "sent"}}),
    "GET /desk/api/conversations/{conversation}/turns": Row("visitor"),
    "GET /signals": Row("ask"),
    "GET /signals/series.json": Row("ask", {"params": {"topic": "acme"}}),
    "GET /signals/days/{topic}/{day}": Row("ask"),
    "POST /signals/alerts/{alert}/acknowledge": Row("operate"),
    "GET /shop": Row("ask", {"params": {"user": "u00"}}),
    "POST /shop/events": Row("ask", {"json": [EVENT]}),
}
WITH_VISITORS = {**ROUTES, "GET /desk": Row("public"), "GET /desk/chat": Row("public")}
TABLES = {"signed in": ROUTES, "visitors": WITH_VISITORS}


@dataclass
class Site:
    """All three plugins behind one server, and the table that it is held to."""

    app: Any
    client: TestClient
    table: dict[str, Row]
    keys: dict[str, str]
    alert: str

    def bearer(self, caller: str, conversation: str = "c1") -> dict[str, str]:
        if caller == "visitor":
            return {"Authorization": f"Bearer {self.app.state.gate.visitors.issue(conversation)}"}
        return {"Authorization": f"Bearer {self.keys[caller]}"} if caller in self.keys else {}

    def ask(self, route: str, headers: dict[str, str]) -> Any:
        method, path = route.split(" ")
        self.client.cookies.clear()  # the chat page remembers its visitor
        path = path.format(conversation="c1", topic="acme", day=DAY, alert=self.alert)
        return self.client.request(method, path, headers=headers, **self.table[route].asked)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("all")
    small_desk.prepare(folder)
    small_news.prepare(folder)
    small_shop.prepare(folder / "workspace")
    return folder


def configured(folder: Path, *, visitors: bool) -> Config:
    data: dict[str, Any] = {
        "mercat": {"serve": {"public_per_minute": 5000, "asks_per_minute": 5000, "address_per_minute": 5000}}
    }
    desk = small_desk.config(folder, routers={"visitors": visitors})
    with small_shop.open_shop(folder) as shop:
        configs = (desk, small_news.config(folder), shop.config)
    for config in configs:
        for kind in config.kinds():
            data.setdefault(kind, {}).update(config.get(kind))
    data["encoders"] = {"small": desk.get("encoders.small"), "shop": shop.config.get("encoders.small")}
    data["services"]["shop"] = {**data["services"]["shop"], "encoder": "shop"}
    return Config(data, folder=folder)


@pytest.fixture(scope="module", params=list(TABLES))
def site(request: pytest.FixtureRequest, prepared: Path) -> Iterator[Site]:
    config = configured(prepared, visitors=request.param == "visitors")
    with Workspace(config, clock=lambda: small_news.NOW) as workspace:
        workspace.store.upgrade()
        small_desk.fill(workspace)
        small_news.take_in(workspace, [*small_news.calm(), *small_news.burst("negative", 14)])
        workspace.get("services", "desk").answer(Turn(id="first", conversation="c1", text="refund request"))
        (alert, *_) = workspace.get("services", "signals").alerts(limit=1)
        keys = {
            scope: workspace.store.accounts.create_key(f"{request.param} {scope}", [scope])[0] for scope in CALLERS[2:]
        }
        app = create_app(lambda: workspace, preload=True, log=json_log(io.StringIO()))
        with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
            yield Site(app, client, TABLES[request.param], keys, alert.id)


def test_every_route_of_a_plugin_is_written_down_with_its_scope(site: Site) -> None:
    found = {
        route: requirement and requirement.scope
        for route, requirement in requirements(site.app.routes)
        if route.split(" ")[1].startswith(SECTIONS)
    }
    assert found == {route: row.scope for route, row in site.table.items()}


@pytest.mark.parametrize("caller", CALLERS)
def test_who_may_what_with_a_plugin(site: Site, caller: str) -> None:
    held = {"anonymous": "public"}.get(caller, caller)
    for route, row in site.table.items():
        answer = site.ask(route, site.bearer(caller))
        if row.scope in IMPLIED[held]:
            assert answer.status_code in (200, 303), (route, caller, answer.text[:300])
        else:
            assert answer.status_code == (401 if caller == "anonymous" else 403), (route, caller, answer.text[:300])
            assert answer.json()["asked"], route


def test_a_visitor_reaches_no_other_conversation(site: Site) -> None:
    of_another = site.bearer("visitor", "c2")
    for route, row in site.table.items():
        if row.scope == "visitor":
            assert site.ask(route, of_another).status_code == 401, route
