"""How often a caller, an address and an account may ask, in sliding windows of a minute."""

from __future__ import annotations

import ipaddress
import math
import time

from fastapi import Request
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from mercat.serve.settings import Settings
from mercat.web.access import ANONYMOUS, Caller, TooMany

FREE = {"/healthz", "/readyz"}


class Rates:
    """Counts requests of one process. A fleet of processes multiplies the limits by their number."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._asks = RateLimitItemPerMinute(settings.asks_per_minute, namespace="asks")
        self._public = RateLimitItemPerMinute(settings.public_per_minute, namespace="public")
        self._from_address = RateLimitItemPerMinute(settings.address_per_minute, namespace="from address")
        self._account = RateLimitItemPerMinute(settings.sign_ins_per_account, namespace="account")
        self._address = RateLimitItemPerMinute(settings.sign_ins_per_address, namespace="address")

    def admit(self, request: Request, caller: Caller) -> None:
        """Count a request by its key, account or conversation, and by its address; without any by its address alone.

        Raises TooMany. The address counts first, so that one address cannot use up what many keys may ask.
        """
        if request.url.path in FREE:
            return
        if caller == ANONYMOUS:
            self._hit(self._public, address_of(request))
            return
        self._hit(self._from_address, address_of(request))
        if caller.kind == "visitor":
            self._hit(self._public, f"{caller.kind} {caller.conversation}")
        else:
            self._hit(self._asks, f"{caller.kind} {caller.name}")

    def admit_sign_in(self, request: Request, account: str) -> None:
        """Count a try to sign in by its address and by its account, before the password is looked at."""
        self._hit(self._address, address_of(request))
        self._hit(self._account, account.casefold())

    def _hit(self, item: RateLimitItem, who: str) -> None:
        if self._limiter.hit(item, who):
            return
        reset = self._limiter.get_window_stats(item, who).reset_time
        wait_s = max(1, math.ceil(reset - time.time()))
        raise TooMany(
            "This request", f"{item.amount} in a minute is the limit", f"again in {wait_s} s", retry_after_s=wait_s
        )


def address_of(request: Request) -> str:
    """Return the address that a request came from; of IPv6 the /64, which one household or server has whole."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)
