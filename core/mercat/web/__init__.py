"""What a plugin's `web.py` needs: a router with pages, `require(scope)`, server-sent events, problems."""

from mercat.web.access import ANONYMOUS, SCOPES, Caller, Gate, NotAllowed, NotSignedIn, Scope, TooMany, require
from mercat.web.asking import ask
from mercat.web.pages import NavEntry, Page, Router
from mercat.web.problems import problem
from mercat.web.schema import model_of, to_dataclass, to_json
from mercat.web.sse import stream
from mercat.web.visitor import VISITOR_COOKIE, VisitorTokens

__all__ = [
    "ANONYMOUS",
    "SCOPES",
    "VISITOR_COOKIE",
    "Caller",
    "Gate",
    "NavEntry",
    "NotAllowed",
    "NotSignedIn",
    "Page",
    "Router",
    "Scope",
    "TooMany",
    "VisitorTokens",
    "ask",
    "model_of",
    "problem",
    "require",
    "stream",
    "to_dataclass",
    "to_json",
]
