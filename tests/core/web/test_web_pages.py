from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mercat.errors import AccessError, ConfigError
from mercat.web import ANONYMOUS, Caller, NavEntry, NotAllowed, NotSignedIn, Page, Router, require
from mercat.web.access import IMPLIED, SCOPES, Requirement, requirement_of
from mercat.web.csrf import CSRF_COOKIE, CsrfTokens
from mercat.web.language import language_of, translator
from mercat.web.pages import asset_url, environment
from mercat.web.passwords import hash_password, verify_password


class OpenGate:
    """Knows one caller, whoever asks."""

    def __init__(self, caller: Caller) -> None:
        self.caller, self.csrf = caller, CsrfTokens(b"k" * 32)

    def identify(self, request: Any) -> Caller:
        return self.caller

    def admit(self, request: Any, caller: Caller, scope: str) -> None:
        pass


def app_with(router: Router, caller: Caller = ANONYMOUS) -> TestClient:
    app = FastAPI()
    app.state.gate = OpenGate(caller)
    app.state.nav = [
        NavEntry("Secret", "/secret", "mercat.web", "admin"),
        NavEntry("Hello", "/hello", "mercat.web", "public"),
    ]
    app.include_router(router)
    return TestClient(app, base_url="http://localhost")


def test_a_page_stands_in_the_shell_and_everything_is_escaped() -> None:
    router = Router("mercat.web")

    @router.page(Page("Hello <i>", "/hello", "error.html", scope="public"))
    async def hello(name: str = "<script>alert(1)</script>") -> dict[str, Any]:
        return {"status": 200, "error": SimpleNamespace(asked=name, found='"><img>', next="")}

    html = app_with(router).get("/hello").text
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
    assert "<img>" not in html.replace('<img src="', "")
    assert "Hello &lt;i&gt; · mercat" in html
    assert 'href="/hello" aria-current="page"' in html
    assert "/secret" not in html
    assert "/secret" in app_with(router, Caller("ana", frozenset({"admin"}), "account")).get("/hello").text


def test_the_pages_token_is_bound_to_browser_and_session() -> None:
    tokens = CsrfTokens(b"k" * 32)
    token = tokens.token("nonce", "session")
    assert tokens.matches("nonce", "session", token)
    for nonce, session in (("nonce", "other"), ("other", "session"), ("", "session"), ("nonces", "ession")):
        assert not tokens.matches(nonce, session, token)
    assert not tokens.matches("", "", tokens.token("", ""))
    assert not tokens.matches("nonce", "session", "ü")
    assert not CsrfTokens(b"x" * 32).matches("nonce", "session", token)


def test_a_browser_keeps_its_nonce() -> None:
    router = Router("mercat.web")

    @router.page(Page("A", "/a", "error.html", scope="public"))
    def show() -> dict[str, Any]:
        return {"error": SimpleNamespace(asked="a", found="", next="")}

    client = app_with(router)
    first = client.get("/a")
    assert CSRF_COOKIE in first.headers["set-cookie"]
    assert "set-cookie" not in client.get("/a").headers


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "de, en;q=0.5, zh;q=0.9", "zh"),
        ("", "fr;q=x, *", "en"),
        ("", "zh;q=0, en", "en"),
        ("en", "zh", "en"),
        ("xx", "zh", "zh"),
    ],
)
def test_the_language_of_a_page(cookie: str, accept: str, language: str) -> None:
    request: Any = SimpleNamespace(cookies={"mercat_language": cookie}, headers={"accept-language": accept})
    assert language_of(request) == language


def test_a_missing_text_is_its_key() -> None:
    assert translator("mercat.web", "zh")("shell.sign_in") == "登录"
    assert translator("mercat.serve", "zh")("shell.sign_in") == "登录"  # the core's stand behind every package's
    assert translator("mercat.serve", "en")("operations.ready_in", seconds="2") == "ready in 2 s"
    assert translator("mercat.web", "zh")("Just a title") == "Just a title"


def test_scopes_imply_what_is_below_them() -> None:
    assert set(IMPLIED) == set(SCOPES)
    assert Caller(scopes=frozenset({"admin"})).may("operate")
    assert not Caller(scopes=frozenset({"operate"})).may("admin")
    assert not Caller(scopes=frozenset({"visitor"}), kind="visitor").may("ask")
    assert not Caller(scopes=frozenset({"made-up"})).may("ask")
    assert ANONYMOUS.may("public")
    assert not ANONYMOUS.may("visitor")


def test_a_requirement_tells_who_is_missing_what() -> None:
    with pytest.raises(NotSignedIn):
        Requirement("ask").check(ANONYMOUS, {})
    with pytest.raises(NotAllowed, match="The key holds ask"):
        Requirement("operate").check(Caller("k", frozenset({"ask"}), "key"), {})
    visitor = Caller("v", frozenset({"visitor"}), "visitor", "c1")
    Requirement("visitor", conversation="id").check(visitor, {"id": "c1"})
    for path in ({"id": "c2"}, {}, {"id": ""}):
        with pytest.raises(NotSignedIn, match="another one"):
            Requirement("visitor", conversation="id").check(visitor, path)
    with pytest.raises(ConfigError, match="No scope 'aks'"):
        require("aks")  # type: ignore[arg-type]


def test_a_requirement_is_found_wherever_it_stands() -> None:
    from fastapi import Depends

    def deeper(caller: Caller = require("operate")) -> str:
        return caller.name

    app = FastAPI()

    @app.get("/a", dependencies=[Depends(deeper)])
    def a() -> None: ...

    @app.get("/b")
    def b() -> None: ...

    dependants = {route.path: route.dependant for route in app.routes if hasattr(route, "dependant")}
    found = requirement_of(dependants["/a"])
    assert found
    assert found.scope == "operate"
    assert requirement_of(dependants["/b"]) is None


def test_templates_come_from_packages_alone() -> None:
    import jinja2

    for name in ("../access.py", "/etc/passwd", "mercat/../../access.py"):
        with pytest.raises(jinja2.TemplateNotFound):
            environment("mercat.serve").get_template(name)
    assert asset_url("mercat.css").startswith("/assets/mercat.web/mercat.css?v=")


def test_passwords() -> None:
    stored = hash_password("a long enough one")
    assert stored.startswith("$argon2id$")
    assert verify_password("a long enough one", stored)
    assert not verify_password("another", stored)
    assert not verify_password("nobody has this password", None)
    assert not verify_password("a", "not a hash")
    for bad in ("short", "x" * 257):
        with pytest.raises(AccessError):
            hash_password(bad)
