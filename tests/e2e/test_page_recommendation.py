"""The page of rankings in a real browser, in the looks that people have."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "recommendation"))

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"
LOOKS = [
    ("light", {}),
    ("dark", {"dark": True}),
    ("phone", {"phone": True}),
    ("phone-dark-zh", {"phone": True, "dark": True, "language": "zh-CN"}),
]
STRANGER = {"en": "Nothing is known of 'somebody-new': this is what is popular", "zh": "对“somebody-new”还一无所知"}
Browse = Callable[..., Any]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import small_shop

    folder = tmp_path_factory.mktemp("shop")
    small_shop.prepare(folder)
    return folder


@pytest.fixture
def serve_shop(prepared: Path, tmp_path: Path, serve_app: Callable[[Any], str]) -> Iterator[Callable[..., str]]:
    """Return a function that serves a shop of its own, with Olga as a user who may ask, and returns its address."""
    import small_shop

    from mercat.serve import create_app
    from mercat.serve.middleware import json_log
    from mercat.web.passwords import hash_password

    opened: list[Any] = []

    def start(**service: Any) -> str:
        workspace = small_shop.open_shop(Path(shutil.copytree(prepared, tmp_path / "shop")), **service)
        opened.append(workspace)
        workspace.store.accounts.set_user("olga", hash_password(PASSWORD), ["ask"])
        return serve_app(create_app(lambda: workspace, preload=True, log=json_log(io.StringIO())))

    yield start
    for workspace in opened:
        workspace.close()


def sign_in(watched: Any, address: str) -> None:
    watched.page.goto(f"{address}/sign-in")
    watched.page.fill("input[name=name]", "olga")
    watched.page.fill("input[name=password]", PASSWORD)
    watched.page.click("main button[type=submit]")
    watched.page.wait_for_url(f"{address}/")


def ask_for(page: Any, user: str) -> None:
    """Type a user and press Enter."""
    page.fill("input[name=user]", user)
    with page.expect_navigation(wait_until="networkidle"):
        page.keyboard.press("Enter")


@pytest.mark.parametrize(("look", "options"), LOOKS, ids=[name for name, _ in LOOKS])
def test_known_and_unknown_users_see_items_with_reasons(
    serve_shop: Callable[..., str], browse: Browse, look: str, options: dict[str, Any]
) -> None:
    watched = browse(**options)
    page, address = watched.page, serve_shop()
    sign_in(watched, address)
    page.click(".bar-nav a[href='/shop']")
    page.wait_for_url(f"{address}/shop")
    ask_for(page, "u00")
    watched.shot(f"{look}-shop-user")
    assert watched.wider_than_the_screen() <= 0
    places = page.locator(".places > li")
    assert places.count() == 10
    assert all(text.strip() for text in places.locator(".why").all_inner_texts())
    assert page.locator("[data-test=touched] li").count() == 8
    places.first.locator("summary").click()
    assert places.first.locator("dl").is_visible()
    assert places.first.locator("dd").count() >= 3

    ask_for(page, "somebody-new")
    watched.shot(f"{look}-shop-stranger")
    assert watched.wider_than_the_screen() <= 0
    language = "zh" if options.get("language") else "en"
    assert STRANGER[language] in page.locator(".said").inner_text()
    assert places.count() == 10
    assert all(text.strip() for text in places.locator(".why").all_inner_texts())
    assert page.locator("h1").count() == 1
    assert watched.complaints == []


def test_a_visitor_clicks_takes_back_filters_and_slides(serve_shop: Callable[..., str], browse: Browse) -> None:
    watched = browse()
    page, address = watched.page, serve_shop()
    sign_in(watched, address)
    page.goto(f"{address}/shop?k=5", wait_until="networkidle")
    for _ in range(2):
        with page.expect_navigation():
            page.click("[data-test=shelf] [data-add^=cycling]")
    assert page.locator("[data-test=touched] li").count() == 2
    assert page.locator(".places > li[data-item^=cycling]").count() == 5
    assert page.locator(".source[data-source=tied], .source[data-source=index]").count() > 0
    watched.shot("light-shop-visitor")
    with page.expect_navigation():
        page.locator(".undo").first.click()
    assert page.locator("[data-test=touched] li").count() == 1
    with page.expect_navigation():  # a choice shows its ranking without the button
        page.select_option("select[name=category]", "tea")
    assert page.locator(".places > li[data-item^=tea]").count() == 5
    with page.expect_navigation():
        page.locator("input[type=range]").fill("0.5")
    assert page.locator("output").inner_text() == "0.5"
    page.fill("input[name=q]", "mint")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.locator("[data-test=shelf] li").count() == 4
    assert page.locator(".places > li[data-item^=tea]").count() == 5
    assert page.locator("[data-test=touched] li").count() == 1
    assert watched.complaints == []


def test_a_withheld_ranking_says_so_and_shows_no_item(serve_shop: Callable[..., str], browse: Browse) -> None:
    from mercat.plugins import discover

    watched = browse(phone=True)
    point = EntryPoint("objecting", "objecting_to_tea", "mercat")
    with mock.patch("mercat.plugins.discover", lambda: {**discover(), "objecting": point}):
        address = serve_shop(review=["objecting"])
    sign_in(watched, address)
    watched.page.goto(f"{address}/shop?user=u00", wait_until="networkidle")
    watched.shot("phone-shop-withheld")
    assert watched.page.locator(".withheld li").all_inner_texts() == ["it lists tea"]
    assert watched.page.locator(".places").count() == 0
    assert watched.wider_than_the_screen() <= 0
    assert watched.complaints == []
