"""Who asks: an API key, a signed-in person, a visitor of one conversation, or nobody in particular."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from mercat.serve.rates import Rates
from mercat.serve.settings import Settings
from mercat.web.access import ANONYMOUS, Caller, NotSignedIn
from mercat.web.csrf import CsrfTokens
from mercat.web.passwords import verify_password
from mercat.web.visitor import PREFIX, VISITOR_COOKIE, VisitorTokens

if TYPE_CHECKING:
    from mercat.store import Store
    from mercat.store.accounts import User

SESSION_COOKIE = "mercat_session"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person whose password fits, and the cookie's value that says so."""

    name: str
    cookie: str


class StoreGate:
    """Knows the keys and accounts of a store; `store` is None while the server starts, and then nobody is known.

    A session's cookie is signed, not stored. It ends after `session_hours`, and at once when the account is disabled,
    removed, or gets another password.
    """

    def __init__(self, key: bytes, settings: Settings, *, store: Callable[[], Store] | None = None) -> None:
        self.csrf = CsrfTokens(key)
        self.visitors = VisitorTokens(key, max_age_s=int(settings.visitor_hours * 3600))
        self.rates = Rates(settings)
        self.session_age_s = int(settings.session_hours * 3600)
        self._sessions = URLSafeTimedSerializer(key, salt="mercat session 1")
        self._store = store

    def identify(self, request: Request) -> Caller:
        """Return the caller by Authorization header, else by cookie. Raises NotSignedIn when that is not good."""
        authorization = request.headers.get("authorization", "")
        if authorization:
            return self._bearer(authorization)
        if cookie := request.cookies.get(SESSION_COOKIE):
            return self._session(cookie)
        if cookie := request.cookies.get(VISITOR_COOKIE):
            visitor = self.visitors.read(cookie)
            return Caller(visitor.name, visitor.scopes, "visitor", visitor.conversation, session=cookie)
        return ANONYMOUS

    def admit(self, request: Request, caller: Caller, scope: str) -> None:
        self.rates.admit(request, caller)

    def sign_in(self, request: Request, name: str, password: str) -> SignedIn | None:
        """Return the session of a person whose password fits, else None. Raises TooMany.

        An unknown name takes as long as a known one.
        """
        self.rates.admit_sign_in(request, name)
        user = self._user(name)
        fits = verify_password(password, user.password_hash if user else None)
        if not fits or user is None or user.disabled:
            return None
        content = {"n": user.name, "s": secrets.token_urlsafe(12), "f": _fingerprint(user)}
        return SignedIn(user.name, self._sessions.dumps(content))

    def _bearer(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise NotSignedIn("The Authorization header", "It is not a bearer token", "Authorization: Bearer KEY")
        if token.startswith(PREFIX):
            return self.visitors.read(token)
        key = self._store().accounts.find_key(token) if self._store else None
        if key is None:
            raise NotSignedIn("The API key", "It is not known, or revoked", "mercat keys list")
        return Caller(f"{key.name} ({key.prefix})", frozenset(key.scopes), "key")

    def _session(self, cookie: str) -> Caller:
        try:
            content = self._sessions.loads(cookie, max_age=self.session_age_s)
        except BadSignature:  # SignatureExpired is one
            raise _ended() from None
        user = self._user(str(content["n"]))
        if user is None or user.disabled or not hmac.compare_digest(_fingerprint(user), str(content["f"])):
            raise _ended()
        return Caller(user.name, frozenset(user.scopes), "account", session=str(content["s"]))

    def _user(self, name: str) -> User | None:
        return self._store().accounts.user(name) if self._store else None


def _fingerprint(user: User) -> str:
    return hashlib.sha256(user.password_hash.encode()).hexdigest()[:24]


def _ended() -> NotSignedIn:
    return NotSignedIn("Your session", "It has ended", "sign in again")
