"""Every route by every caller: a new route fails here until it is written down."""

from __future__ import annotations

from typing import Any

import pytest

from mercat.serve.mount import requirements
from mercat.web.access import IMPLIED

CALLERS = ("anonymous", "visitor", "ask", "operate", "admin")

ROUTES = {
    "GET /healthz": "public",
    "GET /readyz": "public",
    "GET /metrics": "operate",
    "GET /openapi.json": "ask",
    "GET /language/{code}": "public",
    "GET /sign-in": "public",
    "POST /sign-in": "public",
    "POST /sign-out": "public",
    "GET /": "public",
    "GET /docs": "ask",
    "GET /operations": "operate",
    "GET /v1/services": "ask",
    "POST /v1/services/echo": "ask",
    "GET /desk": "ask",
    "GET /desk/widget": "public",
    "POST /desk/turns": "ask",
    "GET /desk/series.json": "ask",
    "GET /desk/conversations/{conversation}": "visitor",
    "POST /desk/conversations/{conversation}/turns": "visitor",
    "GET /desk/events": "ask",
    "DELETE /desk/everything": "admin",
}


def test_every_route_is_written_down_with_its_scope(demo: Any) -> None:
    found = {route: requirement and requirement.scope for route, requirement in requirements(demo.app.routes)}
    assert found == ROUTES


@pytest.mark.parametrize("caller", CALLERS)
def test_who_may_what(demo: Any, caller: str) -> None:
    held = {"anonymous": "public"}.get(caller, caller)
    for route, scope in ROUTES.items():
        method, path = route.split(" ")
        url = path.replace("{conversation}", "c1").replace("{code}", "en")
        body = {"json": {"text": "a"}} if path.startswith("/v1/services/") else {}
        if path == "/desk/turns":
            body = {"data": {"text": "a"}}
        answer = demo.client.request(method, url, headers=demo.bearer(caller), **body)
        if route == "POST /sign-in":  # public, and asks everybody for the token of its own form
            assert answer.status_code == 403, (route, caller)
        elif scope in IMPLIED[held]:
            assert answer.status_code in (200, 303), (route, caller, answer.text)
        else:
            assert answer.status_code == (401 if caller == "anonymous" else 403), (route, caller, answer.text)
            assert answer.json()["asked"], route


def test_every_answer_carries_the_security_headers(demo: Any) -> None:
    paths = [route.split(" ") for route in ROUTES] + [["GET", "/nowhere"], ["GET", "/assets/mercat.web/mercat.css"]]
    for method, path in paths:
        for accept in ("text/html", "application/json"):
            answer = demo.client.request(
                method, path.replace("{code}", "en"), headers={**demo.bearer("admin"), "Accept": accept}
            )
            csp = answer.headers["content-security-policy"]
            assert "default-src 'self'" in csp
            assert "unsafe" not in csp
            assert "frame-ancestors 'none'" in csp
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["x-request-id"]
            cached = answer.headers["cache-control"]
            assert cached.startswith("public") if path.startswith("/assets") else cached == "private, no-store"


def test_a_failure_carries_them_too_and_tells_nothing(demo: Any) -> None:
    answer = demo.client.post("/v1/services/echo", json={"text": "poison and sesame"}, headers=demo.bearer("ask"))
    assert answer.status_code == 500
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.json()["next"].endswith(answer.headers["x-request-id"])
    assert "sesame" not in answer.text + demo.log.getvalue()
    assert "answer_many" in demo.log.getvalue()  # the trace is there


def test_only_allowed_sites_may_frame_the_widget(serve: Any) -> None:
    demo = serve(frame_origins=["https://shop.example"])
    widget = demo.client.get("/desk/widget")
    assert "frame-ancestors 'self' https://shop.example" in widget.headers["content-security-policy"]
    assert "x-frame-options" not in widget.headers
    assert "frame-ancestors 'none'" in demo.client.get("/").headers["content-security-policy"]
