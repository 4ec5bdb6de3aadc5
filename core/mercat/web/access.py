"""Who may ask what: scopes, callers, and `require(scope)`, which every route of mercat carries.

    public      anybody, also without signing in
    visitor     one conversation, by a token for that conversation; or whoever may `ask`
    ask         put questions to services
    operate     `ask`, and see the operations pages and metrics
    admin       `operate`, and change accounts and keys

`serve` refuses to start with a route that declares none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from mercat.errors import AccessError, ConfigError
from mercat.web.csrf import CsrfTokens, check_csrf

if TYPE_CHECKING:
    from mercat.web.visitor import VisitorTokens

Scope = Literal["public", "visitor", "ask", "operate", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

IMPLIED: dict[str, frozenset[str]] = {
    "admin": frozenset({"admin", "operate", "ask", "visitor", "public"}),
    "operate": frozenset({"operate", "ask", "visitor", "public"}),
    "ask": frozenset({"ask", "visitor", "public"}),
    "visitor": frozenset({"visitor", "public"}),
    "public": frozenset({"public"}),
}
"""What each scope that a caller holds lets it do."""


class NotSignedIn(AccessError):
    """No credentials, or credentials that are unknown, expired or forged (HTTP 401)."""


class NotAllowed(AccessError):
    """The caller is known and may not do this (HTTP 403)."""


class TooMany(AccessError):
    """The caller or its address asked too often (HTTP 429)."""

    def __init__(self, asked: str, found: str = "", next: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(asked, found, next)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `name` is an account or key name; a visitor is known by its `conversation` alone.

    `session` names the signed-in browser session and is empty for keys; unsafe requests of a session need a CSRF token.
    """

    name: str = ""
    scopes: frozenset[str] = field(default=frozenset())
    kind: Literal["anonymous", "visitor", "key", "account"] = "anonymous"
    conversation: str = ""
    session: str = ""

    def may(self, scope: str) -> bool:
        """Return whether one of the caller's scopes implies `scope`."""
        return scope == "public" or any(scope in IMPLIED.get(held, ()) for held in self.scopes)


ANONYMOUS = Caller()


class Gate(Protocol):
    """Tells who asks; found on `request.app.state.gate`. `serve` brings the one that knows keys and accounts."""

    @property
    def csrf(self) -> CsrfTokens:
        """Issues and checks the tokens of forms."""
        ...

    @property
    def visitors(self) -> VisitorTokens:
        """Issues the tokens of conversations: `request.app.state.gate.visitors.issue(conversation)`."""
        ...

    def identify(self, request: Request) -> Caller:
        """Return the caller, ANONYMOUS without credentials. Raises NotSignedIn when credentials are not good."""
        ...

    def admit(self, request: Request, caller: Caller, scope: str) -> None:
        """Count this request. Raises TooMany when the caller or its address asked too often."""
        ...


class Requirement:
    """What a route asks of its caller; `serve` finds it in the route's dependencies.

    Raises ConfigError for an unknown scope.
    """

    def __init__(self, scope: Scope, *, conversation: str = "", csrf: bool = False) -> None:
        if scope not in SCOPES:
            raise ConfigError(f"No scope '{scope}'", f"Known: {', '.join(SCOPES)}", 'require("ask")')
        self.scope, self.conversation, self.csrf = scope, conversation, csrf

    async def __call__(self, request: Request) -> Caller:
        gate: Gate = request.app.state.gate
        caller = await run_in_threadpool(self._admitted, gate, request)
        await check_csrf(request, gate.csrf, caller.session, always=self.csrf)
        return caller

    def _admitted(self, gate: Gate, request: Request) -> Caller:
        try:
            caller = gate.identify(request)
        except NotSignedIn:
            gate.admit(request, ANONYMOUS, self.scope)
            if self.scope == "public":  # a session that has ended must not keep anybody from the sign-in page
                request.state.caller = ANONYMOUS
                return ANONYMOUS
            raise
        request.state.caller = caller
        gate.admit(request, caller, self.scope)
        self.check(caller, request.path_params)
        return caller

    def check(self, caller: Caller, path_params: Any) -> None:
        """Raise NotSignedIn or NotAllowed unless `caller` may use this route with these path parameters."""
        if not caller.may(self.scope):
            raise self._refusal(caller)
        if caller.kind != "visitor" or self.scope == "public":
            return
        if self.conversation and path_params.get(self.conversation) != caller.conversation:
            raise NotSignedIn("This conversation", "The token is for another one", "open the conversation again")

    def _refusal(self, caller: Caller) -> AccessError:
        asked = f"This needs the scope '{self.scope}'"
        if caller.kind == "anonymous":
            return NotSignedIn(asked, "The request carries no key and no session", "sign in, or send a key")
        held = ", ".join(sorted(caller.scopes)) or "no scope"
        return NotAllowed(asked, f"The {caller.kind} holds {held}", "ask an administrator")


def require(scope: Scope, *, conversation: str = "", csrf: bool = False) -> Any:
    """Return the dependency that lets only callers with `scope` pass; as a parameter's value it is the Caller.

    `conversation` names the path parameter that a visitor's token must be for. `csrf` asks for a CSRF token even
    without a session, as the sign-in form does; with a session every unsafe method needs one anyway.

        @router.get("/{conversation}/turns")
        def turns(conversation: str, caller: Caller = require("visitor", conversation="conversation")) -> ...
    """
    return Depends(Requirement(scope, conversation=conversation, csrf=csrf))


def requirement_of(dependant: Any) -> Requirement | None:
    """Return the Requirement in a route's dependency tree, or None."""
    for found in getattr(dependant, "dependencies", ()):
        if isinstance(found.call, Requirement):
            return found.call
        if (deeper := requirement_of(found)) is not None:
            return deeper
    return None
