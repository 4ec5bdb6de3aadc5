"""Signed webhooks by the Standard Webhooks specification: HMAC-SHA-256 over `id.timestamp.body`.

Source: https://github.com/standard-webhooks/standard-webhooks (1.0.0). A signature says who sent the body and when;
that a message is taken once only is the business of whoever stores its id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from mercat.errors import AccessError, ConfigError

_PREFIX = "whsec_"


def sign_webhook(body: bytes, *, id: str, at: datetime, secret: str) -> dict[str, str]:
    """The three headers that sign a body."""
    timestamp = str(int(at.timestamp()))
    signature = _signature(_key(secret), id, timestamp, body)
    return {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Sequence[str],
    now: datetime,
    tolerance_s: float = 300.0,
) -> str:
    """Check a body as it came over the wire and return the id of the message.

    Several `secrets` are for the days in which a key is changed. Errors: AccessError, which never says by how much
    a signature was wrong.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not message_id or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 15:
        raise _refused("It has no id or no time")
    if abs(now.timestamp() - int(timestamp)) > tolerance_s:
        raise _refused(f"Its time is more than {tolerance_s:g} s away from now")
    offered = [part[3:] for part in given.get("webhook-signature", "").split() if part.startswith("v1,")]
    expected = [_signature(_key(secret), message_id, timestamp, body) for secret in secrets]
    # every pair is compared, so that the time taken does not tell which key is the right one
    if not sum(hmac.compare_digest(a.encode(), b.encode()) for a in offered for b in expected):
        raise _refused("Its signature does not fit")
    return message_id


def _signature(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigError("A webhook secret was read", "It is not base64", "a secret of the form whsec_…")
    return key


def _refused(found: str) -> AccessError:
    return AccessError("A signed webhook was received", found, "check the secret and the clock of the sender")
