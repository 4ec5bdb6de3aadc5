"""Cross-site request forgery: a signed double-submit token, bound to the browser and to its session.

The browser holds a random value in an HttpOnly cookie; the page holds an HMAC of that value and the session. A request
that changes something must send the HMAC back in the form field `csrf_token` or the header `X-CSRF-Token` (OWASP
"Signed Double-Submit Cookie").
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from fastapi import Request

from mercat.errors import AccessError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"
CSRF_COOKIE = "mercat_csrf"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class CsrfMissing(AccessError):
    """The form was not sent from a page of this browser session (HTTP 403)."""


class CsrfTokens:
    """Makes and checks tokens under a secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(b"mercat csrf\0" + key).digest()

    def token(self, nonce: str, session: str) -> str:
        """Return the token for a browser's cookie value and its session."""
        message = f"{len(nonce)}:{nonce}{session}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def matches(self, nonce: str, session: str, token: str) -> bool:
        return bool(nonce) and hmac.compare_digest(self.token(nonce, session).encode(), token.encode())


def new_nonce() -> str:
    return secrets.token_urlsafe(18)


async def check_csrf(request: Request, tokens: CsrfTokens, session: str, *, always: bool = False) -> None:
    """Raise CsrfMissing for an unsafe request of a browser session (or any, with `always`) without its token."""
    if request.method in SAFE_METHODS or not (session or always):
        return
    token = request.headers.get(CSRF_HEADER, "")
    if not token and request.headers.get("content-type", "").startswith(FORMS):
        token = str((await request.form()).get(CSRF_FIELD, ""))
    if not tokens.matches(request.cookies.get(CSRF_COOKIE, ""), session, token):
        raise CsrfMissing(
            "This form", "It was not sent from an open page of this session", "reload the page, send again"
        )
