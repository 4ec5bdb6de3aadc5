"""Talking to other systems: what a source and a sink are, and a polite, guarded HTTP client.

The protocols load at once; everything that needs httpx loads on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mercat.connect.base import Batch, Message, Receipt, Rejection, Sink, Source

if TYPE_CHECKING:
    from mercat.connect.auth import ApiKey, Auth, Basic, Bearer
    from mercat.connect.client import Client
    from mercat.connect.guard import Guard
    from mercat.connect.response import RequestFailed, Response
    from mercat.connect.webhooks import sign_webhook, verify_webhook

_LATE = {
    "ApiKey": "auth",
    "Auth": "auth",
    "Basic": "auth",
    "Bearer": "auth",
    "Client": "client",
    "Guard": "guard",
    "RequestFailed": "response",
    "Response": "response",
    "sign_webhook": "webhooks",
    "verify_webhook": "webhooks",
}

__all__ = [
    "ApiKey",
    "Auth",
    "Basic",
    "Batch",
    "Bearer",
    "Client",
    "Guard",
    "Message",
    "Receipt",
    "Rejection",
    "RequestFailed",
    "Response",
    "Sink",
    "Source",
    "sign_webhook",
    "verify_webhook",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
