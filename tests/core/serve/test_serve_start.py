from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import serve_demo
from fastapi.testclient import TestClient

from mercat.errors import ConfigError, UnknownName
from mercat.serve import create_app

CODE = """
import sys, time
from fastapi.testclient import TestClient
from mercat.serve import create_app

def never():
    time.sleep(600)

client = TestClient(create_app(never))
client.app.state.host._thread = None
answer = client.get("/healthz")
heavy = [name for name in ("torch", "transformers", "faiss", "numpy", "sqlmodel", "sklearn") if name in sys.modules]
print(answer.status_code, heavy, time.process_time())
"""


def test_health_is_told_before_anything_heavy_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=True)
    status, heavy, cpu_s = (
        done.stdout.split(maxsplit=2)[0],
        done.stdout[4:-1].rpartition(" ")[0],
        done.stdout.split()[-1],
    )
    assert (status, heavy) == ("200", "[]")
    assert float(cpu_s) < 4


def wait_for(client: TestClient, state: str) -> Any:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        answer = client.get("/readyz")
        if answer.json()["status"] == state:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"never {state}: {answer.text}")


def test_ready_comes_after_health_and_says_what_was_built(tmp_path: Path) -> None:
    go = threading.Event()

    def open_late() -> Any:
        assert go.wait(20)
        return serve_demo.open_workspace(tmp_path)

    with TestClient(create_app(open_late), base_url="http://localhost") as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        early = client.get("/readyz")
        assert (early.status_code, early.json()["status"]) == (503, "loading")
        assert early.headers["retry-after"]
        asked = client.post("/v1/services/echo", json={"text": "a"})
        assert (asked.status_code, asked.json()["asked"]) == (503, "mercat is starting")
        assert client.get("/sign-in").status_code == 200
        go.set()
        ready = wait_for(client, "ready")
        assert ready.status_code == 200
        assert list(ready.json()["parts"]) == ["services.echo", "routers.desk"]
        workspace = client.app.state.host.workspace  # type: ignore[attr-defined]
        assert workspace.get("services", "echo").warm
        assert client.post("/v1/services/echo", json={"text": "a"}).status_code == 401
        assert client.get("/nowhere").status_code == 404


def test_a_start_that_fails_says_so_and_tells_who_started_it(tmp_path: Path) -> None:
    told: list[BaseException] = []

    def broken() -> Any:
        raise ConfigError("No configuration at /home/somebody/mercat.toml", "", "mercat init")

    app = create_app(broken)
    app.state.host.on_failure = told.append
    with TestClient(app) as client:
        failed = wait_for(client, "failed")
        assert failed.status_code == 503
        assert failed.json()["failure"] == "ConfigError"
        assert "somebody" not in failed.text
        assert client.get("/healthz").status_code == 200
    assert isinstance(told[0], ConfigError)


@pytest.mark.parametrize("preload", [True, False])
def test_a_route_without_a_scope_stops_the_start(tmp_path: Path, preload: bool) -> None:
    data = {**serve_demo.DATA, "routers": {"leak": {"use": "serve-demo/open"}}}
    said = r"\[routers.leak\] has the route GET /open. It does not say who may use it. Try: dependencies=\[require"
    if preload:
        with pytest.raises(ConfigError, match=said):
            create_app(lambda: serve_demo.open_workspace(tmp_path, data), preload=True)
        return
    with TestClient(create_app(lambda: serve_demo.open_workspace(tmp_path, data))) as client:
        wait_for(client, "failed")
        assert client.get("/leak/open").status_code == 503


@pytest.mark.parametrize("name", ["v1", "assets", "sign-in", "healthz", "docs", "Desk", "a b"])
def test_a_router_cannot_take_the_servers_own_addresses(tmp_path: Path, name: str) -> None:
    data = {**serve_demo.DATA, "routers": {name: {"use": "serve-demo", "service": "echo"}}}
    with pytest.raises(ConfigError, match="cannot be served at"):
        create_app(lambda: serve_demo.open_workspace(tmp_path, data), preload=True)


def test_two_sections_of_one_router_do_not_meet(serve: Any) -> None:
    desk = {"use": "serve-demo", "service": "echo"}
    demo = serve({**serve_demo.DATA, "routers": {"desk": desk, "second": desk}})
    page = demo.client.get("/second", headers=demo.bearer("ask")).text
    assert 'action="/second/turns"' in page
    assert 'href="/desk"' in page


def test_an_unknown_service_stops_the_start(tmp_path: Path) -> None:
    data = {**serve_demo.DATA, "services": {"echo": {"use": "serve-demoo"}}}
    with pytest.raises(UnknownName):
        create_app(lambda: serve_demo.open_workspace(tmp_path, data), preload=True)


def test_the_first_account_is_told_once(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    for _ in range(2):
        app = create_app(lambda: serve_demo.open_workspace(tmp_path))
        app.state.host.on_first_account = lambda name, password: told.append((name, password))
        with TestClient(app, base_url="http://localhost") as client:
            wait_for(client, "ready")
            users = app.state.host.workspace.store.accounts.users()
            assert [(user.name, tuple(user.scopes)) for user in users] == [("admin", ("admin",))]
    assert len(told) == 1
    assert len(told[0][1]) >= 20


def test_run_stops_with_the_reason_when_loading_fails(tmp_path: Path) -> None:
    code = (
        "from mercat.errors import ConfigError\n"
        "from mercat.serve.run import run\n"
        "def broken():\n    raise ConfigError('No configuration', '', 'mercat init')\n"
        "try:\n    run(broken, port=0)\nexcept ConfigError as error:\n    print('stopped:', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "stopped: No configuration. Try: mercat init"


def test_work_in_the_background_lasts_from_ready_to_stop(tmp_path: Path) -> None:
    seen: list[str] = []

    def deliver(workspace: Any, stop: threading.Event) -> None:
        seen.append("started" if workspace.get("services", "echo").warm else "early")
        assert stop.wait(20)
        seen.append("stopped")

    app = create_app(lambda: serve_demo.open_workspace(tmp_path))
    app.state.host.background = deliver
    with TestClient(app) as client:
        wait_for(client, "ready")
    assert seen == ["started", "stopped"]


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99999), ("127.0.0.1", -1), ("256.1.1.1", 1)])
def test_an_address_that_cannot_be_listened_on_is_told_before_anything_opens(host: str, port: int) -> None:
    from mercat.serve.run import run

    with pytest.raises(ConfigError, match=f"cannot listen on {host}, port {port}") as caught:
        run(lambda: pytest.fail("the workspace was opened"), host=host, port=port)
    assert caught.value.found
