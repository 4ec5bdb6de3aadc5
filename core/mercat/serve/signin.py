"""Signing in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from mercat.serve.gate import SESSION_COOKIE, StoreGate
from mercat.serve.system import local
from mercat.web.access import TooMany, require
from mercat.web.csrf import CSRF_COOKIE, new_nonce
from mercat.web.pages import Page, Router, set_cookie

Short = Annotated[str, Form(max_length=256)]
TEMPLATE = "sign_in.html"


def sign_in_router() -> Router:
    """Return the sign-in page and the two forms that it and the bar post."""
    router = Router("mercat.serve")

    @router.page(Page("sign_in.title", "/sign-in", TEMPLATE, scope="public"))
    def sign_in(next: str = "/") -> dict[str, str]:
        return {"next": local(next), "name": "", "problem": ""}

    @router.post("/sign-in", dependencies=[require("public", csrf=True)], include_in_schema=False)
    def send(request: Request, name: Short = "", password: Short = "", next: Short = "/") -> Response:
        gate: StoreGate = request.app.state.gate
        try:
            session = gate.sign_in(request, name, password)
        except TooMany as error:
            return again(request, "sign_in.too_many", 429, name, next, {"Retry-After": str(error.retry_after_s)})
        if session is None:
            return again(request, "sign_in.wrong", 401, name, next, {})
        response = RedirectResponse(local(next), 303)
        set_cookie(request, response, SESSION_COOKIE, session.cookie, max_age_s=gate.session_age_s)
        set_cookie(request, response, CSRF_COOKIE, new_nonce())
        return response

    def again(request: Request, problem: str, status: int, name: str, next: str, headers: dict[str, str]) -> Response:
        filled = {"title": "sign_in.title", "next": local(next), "name": name, "problem": problem}
        return router.render(request, TEMPLATE, status=status, response_headers=headers, **filled)

    @router.post("/sign-out", dependencies=[require("public")], include_in_schema=False)
    def sign_out() -> Response:
        response = RedirectResponse("/", 303)
        response.delete_cookie(SESSION_COOKIE, path="/")
        response.delete_cookie(CSRF_COOKIE, path="/")
        return response

    return router
