"""Which network addresses a fetcher may reach: a table of networks, independent of the Python version.

`ipaddress.is_private` and `is_global` disagree between Python releases and let some embedded forms through
(NAT64, 6to4, 100.64/10), so the networks are written out. Sources: the IANA special-purpose address registries
(RFC 6890 and its updates), RFC 6052 and RFC 8215 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214 (ISATAP).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_V4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by carriers (100.64/10)",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "reserved for documentation",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "reserved for benchmarks",
    "198.51.100.0/24": "reserved for documentation",
    "203.0.113.0/24": "reserved for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
# Only 2000::/3 is handed out for use on the Internet; the rest is named for the sake of the message.
_V6 = {
    "::1/128": "loopback",
    "::/128": "unspecified",
    "::ffff:0:0/96": "IPv4-mapped",
    "::ffff:0:0:0/96": "IPv4-translated",
    "::/96": "IPv4-compatible",
    "64:ff9b::/32": "NAT64",  # holds the well-known 64:ff9b::/96 and the local-use 64:ff9b:1::/48
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
    "2001::/32": "Teredo",
    "2001::/23": "reserved",
    "2001:db8::/32": "reserved for documentation",
    "2002::/16": "6to4",
    "3fff::/20": "reserved for documentation",
}
_NETWORKS_V4 = [(IPv4Network(text), why) for text, why in _V4.items()]
_NETWORKS_V6 = [(IPv6Network(text), why) for text, why in _V6.items()]
_GLOBAL_V6 = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)


def refusal(address: str | IPv4Address | IPv6Address) -> str:
    """Say why this address must not be reached; "" when it may."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(parsed, IPv4Address):
        return next((why for network, why in _NETWORKS_V4 if parsed in network), "")
    if parsed.scope_id:
        return "link-local (it names an interface)"
    if (int(parsed) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "ISATAP"
    reason = next((why for network, why in _NETWORKS_V6 if parsed in network), "")
    return reason or ("" if parsed in _GLOBAL_V6 else "reserved")


def odd_number(host: str) -> bool:
    """Tell whether a host is a number that resolvers read as an IPv4 address though it is not written as one.

    The C library takes `127.1`, `2130706433`, `0x7f000001` and `0177.0.0.1` for 127.0.0.1.
    """
    labels = host.rstrip(".").split(".")
    if not labels[-1] or not _numeric(labels[-1]):
        return False
    try:
        return str(IPv4Address(host)) != host
    except ValueError:
        return True


def _numeric(label: str) -> bool:
    if label[:2].lower() == "0x":
        return all(c in "0123456789abcdefABCDEF" for c in label[2:])
    return label.isdigit()
