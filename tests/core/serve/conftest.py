from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "packages"))

import serve_demo
from fastapi.testclient import TestClient

from mercat.serve import create_app
from mercat.serve.middleware import json_log
from mercat.web.passwords import hash_password

PASSWORD = "correct horse battery"
HASHED = hash_password(PASSWORD)
SCOPES = ("ask", "operate", "admin")


@dataclass
class Served:
    """One served workspace: its app, a client without credentials, the keys by scope, and what was logged."""

    app: Any
    client: TestClient
    keys: dict[str, str] = field(default_factory=dict)
    log: io.StringIO = field(default_factory=io.StringIO)

    @property
    def workspace(self) -> Any:
        return self.app.state.host.workspace

    @property
    def echo(self) -> Any:
        return self.workspace.get("services", "echo")

    def bearer(self, scope: str) -> dict[str, str]:
        if scope == "visitor":
            return {"Authorization": f"Bearer {self.app.state.gate.visitors.issue('c1')}"}
        return {"Authorization": f"Bearer {self.keys[scope]}"} if scope in self.keys else {}

    def browser(self, address: str = "10.0.0.1") -> TestClient:
        browser = TestClient(self.app, base_url="http://localhost", client=(address, 4000), follow_redirects=False)
        browser.portal = self.client.portal  # one event loop for all
        return browser

    def sign_in(self, browser: TestClient, name: str = "ana", password: str = PASSWORD, **more: str) -> Any:
        token = csrf_of(browser.get("/sign-in").text)
        return browser.post("/sign-in", data={"name": name, "password": password, "csrf_token": token, **more})

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def csrf_of(html: str) -> str:
    found = re.search(r'name="csrf-token" content="([0-9a-f]+)"', html)
    assert found
    return found[1]


@pytest.fixture
def csrf() -> Callable[[str], str]:
    return csrf_of


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    opened: list[TestClient] = []

    def start(data: dict[str, Any] = serve_demo.DATA, **settings: Any) -> Served:
        log = io.StringIO()
        workspace = serve_demo.open_workspace(tmp_path, data, **settings)
        app = create_app(lambda: workspace, preload=True, log=json_log(log))
        client = TestClient(app, base_url="http://localhost", follow_redirects=False, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        accounts = workspace.store.accounts
        keys = {scope: accounts.create_key(f"key {scope}", [scope])[0] for scope in SCOPES}
        accounts.set_user("ana", HASHED, ["admin"])
        accounts.set_user("out", HASHED, ["admin"], disabled=True)
        return Served(app, client, keys, log)

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def demo(serve: Callable[..., Served]) -> Served:
    return serve(public_per_minute=5000, asks_per_minute=5000, address_per_minute=5000)
