"""Security headers on every answer: no inline code, no foreign frames, nothing of a signed-in page in a cache."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors {}"
)

FIXED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class SecurityHeaders:
    """ASGI middleware. A page declared with `embed=True` leaves the sites that may frame it in the request's state."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message), scope, allowed=state.get("embed", ()))
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _add(self, headers: MutableHeaders, scope: Scope, *, allowed: Sequence[str]) -> None:
        for name, value in FIXED.items():
            headers.setdefault(name, value)
        headers["Content-Security-Policy"] = CSP.format(" ".join(("'self'", *allowed)) if allowed else "'none'")
        if not allowed:
            headers["X-Frame-Options"] = "DENY"
        if not scope["path"].startswith("/assets/"):
            headers["Cache-Control"] = "private, no-store"
        if scope.get("scheme") == "https":
            headers["Strict-Transport-Security"] = "max-age=31536000"
