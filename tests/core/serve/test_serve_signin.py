from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer

from mercat.serve.gate import SESSION_COOKIE
from mercat.serve.signing import signing_key
from mercat.web.passwords import hash_password, verify_password


def test_signing_in_opens_the_pages_and_signing_out_closes_them(demo: Any, csrf: Callable[[str], str]) -> None:
    browser = demo.browser()
    sent_away = browser.get("/operations", headers={"Accept": "text/html"})
    assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/sign-in?next=/operations")
    entered = demo.sign_in(browser, next="/operations")
    assert (entered.status_code, entered.headers["location"]) == (303, "/operations")
    cookie = next(item for item in entered.headers.get_list("set-cookie") if item.startswith(SESSION_COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # over http on this very machine a browser would not send it back
    page = browser.get("/operations")
    assert page.status_code == 200
    assert "ana" in page.text
    assert browser.post("/sign-out", data={"csrf_token": csrf(page.text)}).status_code == 303
    assert browser.get("/operations").status_code == 401


def test_away_from_this_machine_cookies_are_secure(demo: Any) -> None:
    from fastapi.testclient import TestClient

    with_https = TestClient(demo.app, base_url="https://mercat.example", follow_redirects=False)
    entered = demo.sign_in(with_https)
    assert all("Secure" in item for item in entered.headers.get_list("set-cookie"))
    assert entered.headers["strict-transport-security"]
    over_http = TestClient(demo.app, base_url="http://mercat.example")
    assert all("Secure" in item for item in over_http.get("/").headers.get_list("set-cookie"))


def test_wrong_unknown_and_disabled_say_the_same(demo: Any) -> None:
    said = set()
    for name, password in (("ana", "wrong password"), ("nobody", "wrong password"), ("out", "correct horse battery")):
        answer = demo.sign_in(demo.browser(), name, password)
        assert answer.status_code == 401
        assert SESSION_COOKIE not in answer.headers.get("set-cookie", "")
        said.add("Name or password is not right." in answer.text)
    assert said == {True}


def test_an_unknown_name_takes_as_long_as_a_known_one() -> None:
    stored = hash_password("a password of somebody")
    verify_password("x", None)

    def median_s(known: str | None) -> float:
        times = []
        for _ in range(5):
            started = time.process_time()  # not the clock on the wall: other programs share these cores
            verify_password("a wrong password", known)
            times.append(time.process_time() - started)
        return statistics.median(times)

    known_s, unknown_s = median_s(stored), median_s(None)
    assert 0.7 < unknown_s / known_s < 1.4
    assert known_s > 0.02


def test_guessing_a_password_is_stopped(demo: Any) -> None:
    browser = demo.browser()
    token_page = browser.get("/sign-in").text
    from_page = token_page.split('name="csrf-token" content="')[1].split('"')[0]
    evaluated, refused = 0, 0
    for number in range(60):
        data = {"name": "ana", "password": f"guess {number:06}", "csrf_token": from_page}
        status = browser.post("/sign-in", data=data).status_code
        evaluated += status == 401
        refused += status == 429
    assert evaluated <= 10
    assert refused >= 50
    other_address = demo.browser("10.0.0.2")
    blocked = demo.sign_in(other_address)  # the account is closed for a minute, wherever one comes from
    assert blocked.status_code == 429
    assert int(blocked.headers["retry-after"]) >= 1


def test_guessing_many_names_from_one_address_is_stopped(serve: Any) -> None:
    demo = serve(sign_ins_per_address=3)
    browser = demo.browser("2001:db8::1")
    statuses = [demo.sign_in(browser, f"user{n}", "wrong password").status_code for n in range(4)]
    assert statuses == [401, 401, 401, 429]
    neighbour = demo.browser("2001:db8::2")  # the same /64
    assert demo.sign_in(neighbour).status_code == 429
    assert demo.sign_in(demo.browser("10.0.0.3")).status_code == 303


def test_a_form_without_its_token_is_refused(demo: Any, csrf: Callable[[str], str]) -> None:
    browser = demo.browser()
    assert browser.post("/sign-in", data={"name": "ana", "password": "correct horse battery"}).status_code == 403
    demo.sign_in(browser)
    token = csrf(browser.get("/desk").text)
    assert browser.post("/desk/turns", data={"text": "hello"}).status_code == 403
    assert browser.post("/v1/services/echo", json={"text": "a"}).status_code == 403
    assert browser.delete("/desk/everything").status_code == 403
    assert browser.post("/sign-out").status_code == 403
    assert browser.post("/desk/turns", data={"text": "hello", "csrf_token": token}).status_code == 200
    assert browser.post("/v1/services/echo", json={"text": "a"}, headers={"X-CSRF-Token": token}).status_code == 200
    elsewhere = demo.browser()
    demo.sign_in(elsewhere)
    foreign = csrf(elsewhere.get("/desk").text)
    assert browser.post("/desk/turns", data={"text": "hello", "csrf_token": foreign}).status_code == 403


def test_a_session_ends_with_the_password_or_the_account(demo: Any) -> None:
    browser = demo.browser()
    demo.sign_in(browser)
    kept = browser.cookies[SESSION_COOKIE]
    demo.workspace.store.accounts.set_user("ana", hash_password("another password"), ["admin"])
    assert browser.get("/docs").status_code == 401
    assert demo.sign_in(browser, password="another password").status_code == 303
    assert browser.cookies[SESSION_COOKIE] != kept
    assert browser.get("/docs").status_code == 200
    demo.workspace.store.accounts.remove_user("ana")
    assert browser.get("/docs").status_code == 401


def test_forged_and_old_sessions_are_nobody(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"n": "ana", "s": "x", "f": "0" * 24}
    right_key = signing_key(demo.workspace.folder)
    forged = (
        URLSafeTimedSerializer(b"another key" * 4, salt="mercat session 1").dumps(content),
        URLSafeTimedSerializer(right_key, salt="mercat visitor 1").dumps(content),  # signed for something else
        URLSafeTimedSerializer(right_key, salt="mercat session 1").dumps(content),  # another password
        "nonsense",
    )
    for cookie in forged:
        browser = demo.browser()
        browser.cookies.set(SESSION_COOKIE, cookie)
        assert browser.get("/docs").status_code == 401, cookie
        assert browser.get("/sign-in").status_code == 200  # and are not kept from signing in
    browser = demo.browser()
    demo.sign_in(browser)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 13 * 3600)
    assert browser.get("/docs").status_code == 401


def test_a_bad_key_is_refused_and_a_revoked_one(demo: Any) -> None:
    good = demo.keys["ask"]
    for token in (good[:-1] + ("0" if good[-1] != "0" else "1"), "mercat_x", "", good.replace("mercat_", "other_")):
        answer = demo.client.get("/v1/services", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert demo.client.get("/v1/services", headers={"Authorization": f"Basic {good}"}).status_code == 401
    assert demo.client.get("/v1/services", headers=demo.bearer("ask")).status_code == 200
    demo.workspace.store.accounts.revoke_key(good.split("_")[1])
    assert demo.client.get("/v1/services", headers=demo.bearer("ask")).status_code == 401


def test_too_many_requests_of_one_key(serve: Any) -> None:
    demo = serve(asks_per_minute=5)
    statuses = [demo.client.get("/v1/services", headers=demo.bearer("ask")).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    last = demo.client.get("/v1/services", headers=demo.bearer("ask"))
    assert 1 <= int(last.headers["retry-after"]) <= 60
    assert demo.client.get("/v1/services", headers=demo.bearer("operate")).status_code == 200


def test_too_many_requests_of_nobody(serve: Any) -> None:
    demo = serve(public_per_minute=5)
    stranger = demo.browser("10.0.0.7")
    answers = [stranger.get(path) for path in ["/sign-in", "/v1/services"] * 4]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 401, 200, 429, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert demo.browser("10.0.0.8").get("/sign-in").status_code == 200, "another address is another one"
    assert stranger.get("/healthz").status_code == stranger.get("/readyz").status_code == 200
    assert demo.client.get("/v1/services", headers=demo.bearer("ask")).status_code == 200


def test_too_many_bad_keys_from_one_address(serve: Any) -> None:
    demo = serve(public_per_minute=5)
    guesser = demo.browser("2001:db8::1")
    headers = [{"Authorization": f"Bearer mercat_{number:08}_{'x' * 32}"} for number in range(8)]
    assert [guesser.get("/v1/services", headers=each).status_code for each in headers] == [401] * 5 + [429] * 3
    neighbour = demo.browser("2001:db8::2")
    assert neighbour.get("/v1/services", headers=headers[0]).status_code == 429, "the same /64"
    assert demo.browser("2001:db9::1").get("/v1/services", headers=headers[0]).status_code == 401
    assert guesser.get("/v1/services", headers=demo.bearer("ask")).status_code == 200, "a good key is no guess"


def test_too_many_requests_of_good_keys_from_one_address(serve: Any) -> None:
    demo = serve(address_per_minute=4)
    near = demo.browser("10.0.0.7")
    scopes = ["ask", "operate", "admin", "ask", "operate", "admin"]
    statuses = [near.get("/v1/services", headers=demo.bearer(scope)).status_code for scope in scopes]
    assert statuses == [200] * 4 + [429] * 2
    assert demo.browser("10.0.0.8").get("/v1/services", headers=demo.bearer("admin")).status_code == 200


def test_what_an_address_may_not_ask_is_not_taken_from_its_key(serve: Any) -> None:
    demo = serve(asks_per_minute=6, address_per_minute=4)
    near, far = demo.browser("10.0.0.7"), demo.browser("10.0.0.8")
    asked = [near.get("/v1/services", headers=demo.bearer("ask")).status_code for _ in range(9)]
    assert asked == [200] * 4 + [429] * 5
    assert [far.get("/v1/services", headers=demo.bearer("ask")).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/desk", "/desk"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_sent_elsewhere(demo: Any, target: str, kept: str) -> None:
    assert demo.sign_in(demo.browser(), next=target).headers["location"] == kept
    assert demo.client.get("/language/zh", params={"next": target}).headers["location"] == kept


def test_the_signing_key_is_made_once_and_for_its_owner_alone(tmp_path: Any) -> None:
    from mercat.errors import ConfigError

    first = signing_key(tmp_path)
    path = tmp_path / "secrets" / "signing.key"
    assert signing_key(tmp_path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["signing.key"]
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="Others may read it"):
        signing_key(tmp_path)
