"""The chat page, the desk and the trend page in a real browser, in the looks that people have."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).parents[1] / "plugins"
sys.path[:0] = [str(PLUGINS / "customer_service"), str(PLUGINS / "financial_sentiment")]

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"
LOOKS = [
    ("light", {}),
    ("dark", {"dark": True}),
    ("phone", {"phone": True}),
    ("phone-dark-zh", {"phone": True, "dark": True, "language": "zh-CN"}),
]
Browse = Callable[..., Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    import small_desk
    import small_news

    desk, news = tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("news")
    small_desk.prepare(desk)
    small_news.prepare(news)
    return desk, news


def served(workspace: Any, serve_app: Callable[[Any], str]) -> str:
    from mercat.serve import create_app
    from mercat.serve.middleware import json_log
    from mercat.web.passwords import hash_password

    workspace.store.accounts.set_user("olga", hash_password(PASSWORD), ["operate"])
    return serve_app(create_app(lambda: workspace, preload=True, log=json_log(io.StringIO())))


@pytest.fixture(params=[{}])
def desk(request: Any, folders: tuple[Path, Path], tmp_path: Path, serve_app: Callable[[Any], str]) -> Iterator[str]:
    import shutil

    import small_desk

    folder = Path(shutil.copytree(folders[0], tmp_path / "desk"))
    with small_desk.open_desk(folder, routers={"visitors": True}, **request.param) as workspace:
        small_desk.fill(workspace)
        yield served(workspace, serve_app)


@pytest.fixture
def news(folders: tuple[Path, Path], tmp_path: Path, serve_app: Callable[[Any], str]) -> Iterator[str]:
    import shutil

    import small_news

    folder = Path(shutil.copytree(folders[1], tmp_path / "news"))
    with small_news.open_monitor(folder) as workspace:
        calm, surge = small_news.calm(), small_news.burst("negative", 12)
        small_news.take_in(workspace, [*calm, *small_news.calm(topic="Globex"), *surge])
        yield served(workspace, serve_app)


def sign_in(watched: Any, address: str) -> None:
    watched.page.goto(f"{address}/sign-in")
    watched.page.fill("input[name=name]", "olga")
    watched.page.fill("input[name=password]", PASSWORD)
    watched.page.click("main button[type=submit]")
    watched.page.wait_for_url(f"{address}/")


def say(page: Any, text: str, expected: str) -> None:
    page.fill("textarea[name=text]", text)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#turns .bubble.bot:last-of-type >> text={expected}")


@pytest.mark.parametrize(("look", "options"), LOOKS, ids=[name for name, _ in LOOKS])
def test_a_visitor_asks_gets_sources_and_a_person(
    desk: str, browse: Browse, look: str, options: dict[str, Any]
) -> None:
    visitor, olga = browse(**options), browse(**options)
    page = visitor.page
    page.goto(f"{desk}/desk/chat", wait_until="networkidle")
    visitor.shot(f"{look}-chat-empty")
    taller = "document.documentElement.scrollHeight - document.documentElement.clientHeight"
    assert page.evaluate(taller) <= 0, "the page fills the window and only the thread scrolls"
    say(page, "when will my new card arrive", "Cards arrive within 5 days.")
    say(page, "wire transfers abroad take how many days fees", "Wire transfers abroad take two days.")
    assert page.locator(".source a").inner_text() == "Wire transfers abroad"
    assert page.locator(".why").count() == 0, "how sure the desk was is not for visitors"
    say(page, "<img src=x onerror=alert(1)> can I talk to a person", "I am passing this to a colleague")
    assert page.locator(".bubble.visitor").last.locator(".bubble-text").inner_text().startswith("<img src=x")
    assert page.locator(".state-line").count() == 1
    visitor.shot(f"{look}-chat")

    sign_in(olga, desk)
    olga.page.goto(f"{desk}/desk/conversations", wait_until="networkidle")
    olga.shot(f"{look}-desk-list")
    olga.page.click(".conversation.waits")
    olga.page.fill("textarea[name=text]", "Mia here, how can I help?")
    olga.page.keyboard.press("Enter")
    olga.page.wait_for_selector(".bubble.agent >> text=Mia here")
    olga.shot(f"{look}-desk")
    page.wait_for_selector(".bubble.agent >> text=Mia here", timeout=10_000)  # by itself, within a poll
    for watched in (visitor, olga):
        assert watched.wider_than_the_screen() <= 0
        assert watched.complaints == []


@pytest.mark.parametrize("desk", [{"answer": 0.999, "choice": 0.1, "article": 0.99}], indirect=True, ids=["unsure"])
def test_options_are_buttons_and_a_failed_message_is_not_lost(desk: str, browse: Browse) -> None:
    watched = browse()
    page = watched.page
    page.goto(f"{desk}/desk/chat", wait_until="networkidle")
    say(page, "hm card my money back", "Which of these do you mean?")
    watched.shot("light-chat-options")
    page.click(".option >> text=Refund")
    page.wait_for_selector(".bubble.bot >> text=We pay back within 5 days.")
    assert page.locator(".option").count() == 0, "only the last question has its buttons"
    page.route("**/desk/chat/*", lambda route: route.abort())
    page.fill("textarea[name=text]", "are you still there")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-problem]:visible")
    assert page.input_value("textarea[name=text]") == "are you still there"
    page.unroute("**/desk/chat/*")
    page.keyboard.press("Enter")
    page.wait_for_selector(".bubble.visitor >> text=are you still there")
    assert page.locator(".bubble.visitor >> text=are you still there").count() == 1


def test_the_desk_keeps_what_is_being_typed_while_it_refreshes(desk: str, browse: Browse) -> None:
    visitor, olga = browse(), browse()
    visitor.page.goto(f"{desk}/desk/chat", wait_until="networkidle")
    say(visitor.page, "when will my new card arrive", "Cards arrive")
    sign_in(olga, desk)
    olga.page.goto(f"{desk}/desk/conversations")
    olga.page.click(".conversation")
    olga.page.wait_for_selector("#pane")
    olga.page.fill("textarea[name=text]", "half a sent")
    say(visitor.page, "can I talk to a person", "I am passing this to a colleague")
    olga.page.wait_for_selector("#pane-turns >> text=can I talk to a person", timeout=10_000)
    olga.page.wait_for_selector("#pane-head .pill.warn")
    assert olga.page.input_value("textarea[name=text]") == "half a sent"
    olga.page.click("#pane-head button >> nth=0")  # give back
    olga.page.wait_for_selector("#pane-head .pill.good")
    assert olga.page.input_value("textarea[name=text]") == "half a sent"
    assert olga.complaints == []


@pytest.mark.parametrize(("look", "options"), LOOKS, ids=[name for name, _ in LOOKS])
def test_the_trend_page_has_a_chart_and_alerts(news: str, browse: Browse, look: str, options: dict[str, Any]) -> None:
    watched = browse(**options)
    page = watched.page
    sign_in(watched, news)
    page.goto(f"{news}/signals", wait_until="networkidle")
    page.wait_for_selector(".trend canvas")
    watched.shot(f"{look}-trends")
    assert watched.wider_than_the_screen() <= 0
    assert page.locator(".topic").count() == 2
    assert page.locator(".alert.firing .drivers li").count() == 5
    before = page.locator("#day h2").inner_text()
    page.click("#day .step >> nth=0")
    page.wait_for_selector(f"#day h2:not(:text-is('{before}'))")
    box = page.locator(".trend .u-over").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.985, box["y"] + box["height"] / 2)
    page.wait_for_selector(f"#day h2:text-is('{before}')")
    page.click("[data-theme-switch]")
    page.wait_for_selector(".trend canvas")
    page.click(".alert form button")
    page.wait_for_selector(".alert.acknowledged")
    assert watched.complaints == []
