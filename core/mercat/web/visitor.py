"""Tokens of visitors: a signed right to take part in one conversation, for a limited time, and nothing else."""

from __future__ import annotations

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from mercat.web.access import Caller, NotSignedIn

PREFIX = "mcv_"
VISITOR_COOKIE = "mercat_visitor"


class VisitorTokens:
    """Issues and reads tokens under a secret key. `max_age_s` is how long one is good for."""

    def __init__(self, key: bytes, *, max_age_s: int = 24 * 3600) -> None:
        self._signer = URLSafeTimedSerializer(key, salt="mercat visitor 1")
        self._max_age_s = max_age_s

    def issue(self, conversation: str) -> str:
        """Return a token for one conversation."""
        if not conversation:
            raise ValueError("A visitor token needs a conversation")
        return PREFIX + self._signer.dumps({"c": conversation})

    def read(self, token: str) -> Caller:
        """Return the visitor. Raises NotSignedIn when the token is forged, changed or too old."""
        try:
            content = self._signer.loads(token.removeprefix(PREFIX), max_age=self._max_age_s)
        except SignatureExpired:
            raise _refused("It has expired") from None
        except BadSignature:
            raise _refused("It was not issued here") from None
        conversation = content.get("c") if isinstance(content, dict) else None
        if not isinstance(conversation, str) or not conversation:
            raise _refused("It names no conversation")
        return Caller(f"visitor of {conversation}", frozenset({"visitor"}), "visitor", conversation)


def _refused(found: str) -> NotSignedIn:
    return NotSignedIn("The conversation token cannot be used", found, "open the conversation again")
