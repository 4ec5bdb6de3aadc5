"""TLS over a pinned address: the certificate is still checked against the host's name."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mercat.connect import Client, RequestFailed
from mercat.errors import ConfigError

NAMES: list[str | None] = []


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response_only(200)
        self.end_headers()
        self.wfile.write(self.headers["host"].encode())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.example")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("good.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    pem += key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(pem)
    return path


@pytest.fixture
def port(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda connection, name, _: NAMES.append(name)
    server = HTTPServer(("127.0.0.1", 0), Hello)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_name_and_host_are_kept_while_the_address_is_pinned(certificate: Path, port: int) -> None:
    NAMES.clear()
    client = Client(
        allow=["good.example"], ca_file=certificate, retries=0, timeout_s=5, resolver=lambda host, port: ["127.0.0.1"]
    )
    assert client.get(f"https://good.example:{port}/").text == f"good.example:{port}"
    assert NAMES == ["good.example"]


@pytest.mark.parametrize(("host", "trusted"), [("other.example", True), ("good.example", False)])
def test_a_wrong_name_or_an_unknown_authority_is_refused(
    certificate: Path, port: int, host: str, trusted: bool
) -> None:
    client = Client(
        allow=[host],
        ca_file=certificate if trusted else None,
        retries=0,
        timeout_s=5,
        resolver=lambda host, port: ["127.0.0.1"],
    )
    with pytest.raises(RequestFailed, match=r"No connection.*certificate verify failed"):
        client.get(f"https://{host}:{port}/")


def test_a_file_without_certificates_stops_early(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="holds no certificates"):
        Client(ca_file=tmp_path / "ca.pem")
