from __future__ import annotations

import time
from typing import Any

import pytest

from mercat.web.access import NotSignedIn
from mercat.web.visitor import VISITOR_COOKIE, VisitorTokens

KEY = b"k" * 32


def test_a_visitor_reads_its_own_conversation_and_no_other(demo: Any) -> None:
    token = demo.app.state.gate.visitors.issue("c1")
    own = demo.client.get("/desk/conversations/c1", headers={"Authorization": f"Bearer {token}"})
    assert own.json() == {"conversation": "c1", "caller": "visitor"}
    for other in ("c2", "C1", "c1%20", "c1%00", "..%2Fc1"):
        for method, path in (("GET", ""), ("POST", "/turns")):
            answer = demo.client.request(
                method, f"/desk/conversations/{other}{path}", headers={"Authorization": f"Bearer {token}"}
            )
            assert answer.status_code in (401, 404), (other, method)
    assert demo.client.get("/v1/services", headers={"Authorization": f"Bearer {token}"}).status_code == 403


def test_a_forged_or_changed_token_is_nobody(demo: Any) -> None:
    token = demo.app.state.gate.visitors.issue("c1")
    foreign = VisitorTokens(KEY).issue("c1")
    middle = token[:8] + ("A" if token[8] != "A" else "B") + token[9:]
    for bad in (foreign, middle, token[:-1], token + "x", "mcv_", "mcv_e30.x.y"):
        answer = demo.client.get("/desk/conversations/c1", headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401, bad


def test_a_token_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = VisitorTokens(KEY, max_age_s=60)
    token = tokens.issue("c1")
    assert tokens.read(token).conversation == "c1"
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 62)
    with pytest.raises(NotSignedIn, match="expired"):
        tokens.read(token)


def test_a_token_is_for_one_conversation() -> None:
    with pytest.raises(ValueError):
        VisitorTokens(KEY).issue("")


def test_a_visitors_cookie_needs_the_forms_token_too(demo: Any, csrf: Any) -> None:
    browser = demo.browser()
    browser.cookies.set(VISITOR_COOKIE, demo.app.state.gate.visitors.issue("c1"))
    assert browser.get("/desk/conversations/c1").status_code == 200
    assert browser.get("/desk/conversations/c2").status_code == 401
    assert browser.post("/desk/conversations/c1/turns").status_code == 403
    token = csrf(browser.get("/desk/widget").text)
    sent = browser.post("/desk/conversations/c1/turns", headers={"X-CSRF-Token": token})
    assert sent.status_code == 200
