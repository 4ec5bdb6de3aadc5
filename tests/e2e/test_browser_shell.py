"""The shell in a real browser: nothing is refused by the policy, nothing overflows, forms and charts work."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "serve" / "packages"))

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"


@pytest.fixture
def address(tmp_path: Path, serve_app: Callable[[Any], str]) -> str:
    import serve_demo

    from mercat.serve import create_app
    from mercat.serve.middleware import json_log
    from mercat.web.passwords import hash_password

    workspace = serve_demo.open_workspace(tmp_path)
    workspace.store.accounts.set_user("ana", hash_password(PASSWORD), ["admin"])
    with workspace.store.transaction() as tx:
        tx.save_cursor("tickets", "2026-01-02T03:04:05Z")
        tx.send("helpdesk", "ticket", {"title": "a"}, key="1")
    return serve_app(create_app(lambda: workspace, preload=True, log=json_log(io.StringIO())))


def sign_in(watched: Any, address: str) -> None:
    watched.page.goto(f"{address}/sign-in")
    watched.page.fill("input[name=name]", "ana")
    watched.page.fill("input[name=password]", PASSWORD)
    watched.page.click("main button[type=submit]")
    watched.page.wait_for_url(f"{address}/")


LOOKS = [
    ("light", {}),
    ("dark", {"dark": True}),
    ("phone", {"phone": True}),
    ("phone-dark-zh", {"phone": True, "dark": True, "language": "zh-CN"}),
]


@pytest.mark.parametrize(("look", "options"), LOOKS, ids=[name for name, _ in LOOKS])
def test_every_page_renders_without_a_complaint(
    address: str, browse: Callable[..., Any], look: str, options: dict[str, Any]
) -> None:
    watched = browse(**options)
    for name in ("", "sign-in", "desk/widget", "nowhere"):
        watched.page.goto(f"{address}/{name}", wait_until="networkidle")
        watched.shot(f"{look}-{name.replace('/', '-') or 'welcome'}")
        assert watched.wider_than_the_screen() <= 0, name
    sign_in(watched, address)
    for name in ("", "docs", "operations", "desk"):
        watched.page.goto(f"{address}/{name}", wait_until="networkidle")
        watched.shot(f"{look}-{name or 'home'}")
        assert watched.wider_than_the_screen() <= 0, name
        assert watched.page.locator("h1").count() == 1, name
    assert watched.page.locator(".chart canvas").count() == 1
    if options.get("language"):
        assert watched.page.locator("html").get_attribute("lang") == "zh"
        assert "客服台" in watched.page.title()
    assert [text for text in watched.complaints if "404" not in text] == []  # the one address that is not there


def test_talking_trying_and_switching(address: str, browse: Callable[..., Any]) -> None:
    watched = browse()
    page = watched.page
    sign_in(watched, address)
    page.goto(f"{address}/desk")
    page.fill("input[name=text]", "Is it <img src=x onerror=alert(1)> there?")
    page.click(".composer button")
    page.wait_for_selector(".bubble >> nth=3")
    assert page.url == f"{address}/desk"  # htmx sent it: the page stayed
    assert page.locator(".bubble").nth(2).inner_text() == "Is it <img src=x onerror=alert(1)> there?"
    page.goto(f"{address}/docs")
    page.fill("textarea", '{"text": "hello"}')
    page.click("[data-ask] button")
    page.wait_for_selector(".answer:visible")
    assert '"said": "hello"' in page.locator(".answer").inner_text()
    page.click("[data-theme-switch]")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.click("text=中文")
    page.wait_for_load_state()
    assert page.locator("html").get_attribute("lang") == "zh"
    assert page.locator("html").get_attribute("data-theme") == "dark"  # kept by the browser
    page.click("text=退出")
    page.wait_for_url(f"{address}/")
    assert page.locator("text=登录").count() > 0
    assert watched.complaints == []
