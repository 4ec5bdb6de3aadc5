"""The address guard against a table of address forms, with a listener on loopback that must hear nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from mercat.connect.addresses import odd_number, refusal
from mercat.connect.client import Client
from mercat.connect.guard import Guard
from mercat.errors import AddressRefused, ConfigError, ConnectError
from mercat.testing.connect import LocalServer, Say, Seen


def _words(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split(" ") if word]


# Written as a host in a URL; each of them leads, or may lead, to the machine itself or its network.
HOSTS = _words("""
127.0.0.1 127.1 127.0.1 127.0.0.2 127.255.255.254 2130706433 0x7f000001 0x7F.0.0.1 0x7f.1 0177.0.0.1 017700000001
0177.1 00000177.0.0.1 0x7f.0x0.0x0.0x1 0x7f.0.0.0x1 127.0.0.1. 127.0.00.1 0 0.0.0.0 0x0 00 0. 0.1 1 4294967295
10.0.0.1 10.255.255.255 012.0.0.1 167772161 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1.1 3232235777
100.64.0.1 100.100.100.200 100.127.255.255 169.254.169.254 169.254.0.1 2852039166 0xa9fea9fe 0251.0376.0251.0376
192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 127.0.0.1.. 999.999.999.999 256.0.0.1 127.0.0.0x 0x100000000
[::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::] [0::0] [::2] [::127.0.0.1] [::7f00:1]
[::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::ffff:10.0.0.1] [::ffff:169.254.169.254]
[::ffff:8.8.8.8] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::8.8.8.8] [64:ff9b::a9fe:a9fe]
[64:ff9b:1::1] [64:ff9b:1::127.0.0.1] [64:ff9b:1:ffff::1] [2002:7f00:1::] [2002:7f00:0001::1] [2002:a9fe:a9fe::1]
[2002:808:808::1] [2001::1] [2001:0:7f00:1::] [2001:0:53aa:64c:0:0:80ff:fffe] [2001:10::1] [2001:20::1] [2001:db8::1]
[3fff::1] [fc00::1] [fd00::1] [fd00:ec2::254] [fe80::1] [febf::1] [fec0::1] [ff02::1] [ff05::1:3] [100::1]
[2600::5efe:127.0.0.1] [2600::200:5efe:10.0.0.1] [4000::1] [5f00::1] [8000::1] [e000::1]
localhost LOCALHOST localhost. foo.localhost localhost.localdomain metadata.internal
""")
# Whole URLs: user names, escapes, unusual letters, other schemes, nothing at all.
URLS = _words("""
http://user@127.0.0.1:PORT/ http://user:pw@example.org/ http://example.org@127.0.0.1:PORT/ http://a:b@localhost:PORT/
http://127.0.0.1:PORT#@example.org/ http://127.0.0.1:PORT?@example.org/ http://example.org\\@127.0.0.1:PORT/
http://①②⑦.⓪.⓪.①:PORT/ http://127。0。0。1:PORT/ http://１２７.0.0.1:PORT/ http://ⓛocalhost:PORT/ http://loc%61lhost:PORT/
http://%31%32%37.0.0.1:PORT/ http://127%2e0%2e0%2e1:PORT/ http://[fe80::1%25lo]:PORT/ http://[::1%25lo]:PORT/
file:///etc/passwd file://localhost/etc/passwd ftp://127.0.0.1:PORT/ gopher://127.0.0.1:PORT/_x dict://127.0.0.1:PORT/x
ldap://127.0.0.1:PORT/ jar:http://127.0.0.1:PORT/!/ data:text/plain,x javascript:alert(1) unix:///run/x.sock
//127.0.0.1:PORT/ 127.0.0.1:PORT /etc/passwd http:// http:/// http://:PORT/ http:127.0.0.1:PORT https://
http://127.0.0.1:0/ http://127.0.0.1:99999/ http://[::1 http://[127.0.0.1]:PORT/ HTTP://127.0.0.1:PORT/
https://127.0.0.1:PORT/ https://[::1]:PORT/ ws://127.0.0.1:PORT/ http://127.0.0.1\t:PORT/ http://rebind.example:PORT/
http://mixed.example:PORT/ http://nat64.example:PORT/ http://mapped.example:PORT/ http://private.example:PORT/
http://carrier.example:PORT/ http://scoped.example:PORT/ http://junk.example:PORT/
""")

# What a name service that an attacker runs may answer.
EVIL = {
    "rebind.example": ["127.0.0.1"],
    "mixed.example": ["93.184.215.14", "127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "private.example": ["192.168.0.1"],
    "carrier.example": ["100.64.0.1"],
    "scoped.example": ["fe80::1%lo"],
    "junk.example": ["not an address"],
    "metadata.internal": ["169.254.169.254"],
}


class Canary:
    """Counts the connections that reach loopback, on IPv4 and IPv6."""

    def __init__(self) -> None:
        self.connections = 0
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self._sockets[0].getsockname()[1]
        self._sockets.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        for listener in self._sockets:
            threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    try:
        canary = Canary()
    except OSError as error:
        pytest.skip(f"loopback cannot be listened on: {error}")
    with socket.create_connection(("127.0.0.1", canary.port)) as probe:  # it does hear what reaches it
        assert probe.recv(1) == b""
    assert canary.connections == 1
    canary.connections = 0
    yield canary
    canary.close()


def evil_resolver(host: str, port: int) -> list[str]:
    if host.rstrip(".") in EVIL:
        return EVIL[host.rstrip(".")]
    if "localhost" in host.lower():
        return ["127.0.0.1", "::1"]
    if host[0].isdigit() or ":" in host:  # as the C library does with numbers of any form
        return list(dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, port)))
    return ["93.184.215.14"]


def corpus(port: int) -> list[str]:
    return [f"http://{host}:{port}/" for host in HOSTS] + [url.replace("PORT", str(port)) for url in URLS]


def test_no_form_of_address_reaches_loopback(canary: Canary) -> None:
    forms = corpus(canary.port)
    assert len(forms) >= 120
    passed = []
    with Client(resolver=evil_resolver, retries=0, timeout_s=2) as client:
        for url in forms:
            try:
                client.get(url)
            except AddressRefused as error:
                assert error.asked
                assert error.found
                assert error.next
            except ConnectError as error:  # refused by an unreadable host, never by a failed connection
                passed.append((url, str(error)))
            else:
                passed.append((url, "answered"))
    assert passed == []
    assert canary.connections == 0
    print(f"address guard: {len(forms)} forms, {canary.connections} connections")


def test_no_redirect_reaches_loopback(canary: Canary) -> None:
    forms = corpus(canary.port)
    where = ""

    def answer(seen: Seen) -> Say:
        return Say(302, headers={"location": where})

    tried = 0
    with (
        LocalServer(answer) as server,
        Client(resolver=evil_resolver, allow=[f"front.example:{server.port}"], retries=0, timeout_s=2) as client,
    ):
        EVIL["front.example"] = ["127.0.0.1"]
        for form in forms:
            where = form.replace("\t", "")
            if not where.isascii() or not where.startswith(("http://", "https://")):
                continue
            with pytest.raises(ConnectError):
                client.get(f"http://front.example:{server.port}/")
            tried += 1
    assert tried > 100
    assert canary.connections == 0
    print(f"address guard: {tried} redirects, {canary.connections} connections")


def test_a_name_that_changes_its_address_is_pinned(canary: Canary) -> None:
    answers = iter([["127.0.0.1"], ["93.184.215.14"], ["127.0.0.1"]])
    asked = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    with LocalServer(lambda seen: Say(body=b"hello")) as server:
        client = Client(resolver=resolver, allow=[f"good.example:{server.port}"], retries=0)
        answer = client.get(f"http://good.example:{server.port}/")
        assert answer.content == b"hello"
        assert server.seen[0].headers["host"] == f"good.example:{server.port}"
    assert asked == ["good.example"]  # once: what was checked is what was connected to
    client.close()


def test_the_proxy_of_the_environment_is_not_used(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    with LocalServer(lambda seen: Say(body=b"direct")) as server, Client(allow=[server.host], retries=0) as client:
        assert client.get(server.url).content == b"direct"
    assert canary.connections == 0


@pytest.mark.parametrize(
    ("allow", "reached"),
    [
        (["localhost"], True),
        (["LOCALHOST."], True),
        (["localhost:PORT"], True),
        (["localhost:1"], False),
        (["127.0.0.1"], False),  # the address is allowed by name, and the name is another
        (["example.org"], False),
        ([], False),
    ],
)
def test_allowed_by_name(allow: list[str], reached: bool) -> None:
    with LocalServer(lambda seen: Say(body=b"in")) as server:
        client = Client(allow=[entry.replace("PORT", str(server.port)) for entry in allow], retries=0)
        if reached:
            assert client.get(server.url).content == b"in"
        else:
            with pytest.raises(AddressRefused):
                client.get(server.url)
        assert len(server.seen) == int(reached)
        client.close()


def test_an_address_can_be_allowed_as_it_is_written() -> None:
    with LocalServer(lambda seen: Say(body=b"in")) as server, Client(allow=["127.0.0.1"], retries=0) as client:
        assert client.get(f"http://127.0.0.1:{server.port}/").content == b"in"
        with pytest.raises(AddressRefused, match="not written as an address"):
            client.get(f"http://127.1:{server.port}/")


@pytest.mark.parametrize("entry", ["*", "*.example.org", "http://x", "a/b", "user@host", "host:port", "", "[::1"])
def test_a_wrong_allow_entry_stops_early(entry: str) -> None:
    with pytest.raises(ConfigError, match="allow"):
        Guard(allow=[entry])


@pytest.mark.parametrize(
    "address",
    _words(
        "8.8.8.8 1.1.1.1 93.184.215.14 100.63.255.255 100.128.0.1 172.32.0.1 192.0.1.1 "
        "2600::1 2a00:1450:4001::1 2606:4700:4700::1111 2001:4860:4860::8888"
    ),
)
def test_public_addresses_pass(address: str) -> None:
    assert refusal(address) == ""
    assert not odd_number(address)


def test_the_refusal_says_what_to_do() -> None:
    with pytest.raises(AddressRefused) as caught:
        Client(resolver=lambda host, port: ["10.1.2.3"], retries=0).get("http://crm.example:8069/x?key=secret")
    assert str(caught.value) == (
        "Host 'crm.example' is not fetched. Its address 10.1.2.3 is private. "
        'Try: allow = ["crm.example:8069"] in this section, if you trust it'
    )


def test_a_host_without_address() -> None:
    def nothing(host: str, port: int) -> list[str]:
        raise socket.gaierror("Name or service not known")

    with pytest.raises(ConnectError, match=r"crm.example.*has no address"):
        Client(resolver=nothing, retries=0).get("http://crm.example/")
