"""The address guard: which URL may be fetched, and at which address its host is then reached.

Every connection of this room asks the guard, at the moment it connects, for the addresses of its host. What was
checked is what is connected to, so a name that resolves differently the second time (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence

import httpx

from mercat.connect.addresses import odd_number, refusal
from mercat.errors import AddressRefused, ConfigError, ConnectError

Resolver = Callable[[str, int], Sequence[str]]

_PORTS = {"http": 80, "https": 443}


def system_resolver(host: str, port: int) -> list[str]:
    """Every address of a host, in the order of the operating system. Errors: OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """Refuses URLs and addresses that lead into private networks, unless their host is allowed by name.

    `allow` holds hosts (`"intranet.example"`, every port) or hosts with a port (`"localhost:8080"`, `"[::1]:80"`).
    An allowed name may resolve to any address.
    """

    def __init__(self, *, allow: Iterable[str] = (), resolver: Resolver = system_resolver) -> None:
        self._allowed = frozenset(_allowed(entry) for entry in allow)
        self._resolver = resolver

    def check_url(self, url: str) -> httpx.URL:
        """Read a URL and refuse what needs no name service to refuse. Errors: AddressRefused."""
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError, ValueError, TypeError) as error:
            raise _refused("The URL that was given", f"It cannot be read ({type(error).__name__})") from None
        shown = shown_url(parsed)
        if parsed.scheme not in _PORTS:
            raise _refused(shown, f"The scheme '{parsed.scheme}' is not http or https")
        if parsed.userinfo:
            raise _refused(shown, "It carries a user name before the host", "give credentials in their own keys")
        if not parsed.host:
            raise _refused(shown, "It names no host")
        if parsed.port == 0:
            raise _refused(shown, "It names port 0")
        self._check_host(parsed.raw_host.decode("ascii"), parsed.port or _PORTS[parsed.scheme])
        return parsed

    def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host once and return its addresses, all of them checked.

        Errors: AddressRefused when any of the addresses is not public, ConnectError when there is none.
        """
        self._check_host(host, port)
        try:
            found = list(self._resolver(host, port))
        except (OSError, UnicodeError) as error:
            raise _unresolved(host, str(error)) from None
        if not found:
            raise _unresolved(host, "no address")
        if not self._is_allowed(host, port):
            for address in found:
                if reason := refusal(address):
                    raise _not_public(host, port, address, reason)
        return found

    def _check_host(self, host: str, port: int) -> None:
        name = _bare(host)
        if odd_number(name):
            raise _refused(f"Host '{name}'", "It is a number that is not written as an address", "write a.b.c.d")
        if "%" in name:
            raise _refused(f"Host '{name}'", "It is escaped or names an interface")
        is_address = ":" in name or name.replace(".", "").isdigit()
        if is_address and not self._is_allowed(host, port) and (reason := refusal(name)):
            raise _not_public(name, port, name, reason)

    def _is_allowed(self, host: str, port: int) -> bool:
        name = _bare(host)
        return (name, None) in self._allowed or (name, port) in self._allowed


def shown_url(url: httpx.URL) -> str:
    """A URL fit for messages and logs: without user name, query and fragment, which may hold secrets."""
    port = f":{url.port}" if url.port is not None else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}{port}{url.path}"


def _bare(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _allowed(entry: str) -> tuple[str, int | None]:
    try:
        parsed = httpx.URL(f"http://{entry}")
        port = int(entry.rsplit(":", 1)[1]) if _has_port(entry) else None
    except (httpx.InvalidURL, ValueError):
        raise _bad_allow(entry) from None
    if not parsed.host or parsed.userinfo or parsed.path != "/" or "*" in entry or "/" in entry:
        raise _bad_allow(entry)
    return _bare(parsed.raw_host.decode("ascii")), port


def _has_port(entry: str) -> bool:
    return ":" in entry.rsplit("]", 1)[-1]


def _bad_allow(entry: str) -> ConfigError:
    return ConfigError(f"'{entry}' in allow", "It is not a host or host:port", 'allow = ["intranet.example:8080"]')


def _refused(asked: str, found: str, next: str = "a public http or https address") -> AddressRefused:
    return AddressRefused(f"{asked} is not fetched", found, next)


def _not_public(host: str, port: int, address: str, reason: str) -> AddressRefused:
    found = f"Its address {address} is {reason}" if _bare(host) != address else f"The address is {reason}"
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return _refused(f"Host '{host}'", found, f'allow = ["{shown}"] in this section, if you trust it')


def _unresolved(host: str, why: str) -> ConnectError:
    return ConnectError(
        f"Host '{host}' was looked up", f"It has no address ({why})", "check the spelling and the network"
    )
