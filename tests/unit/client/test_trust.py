"""Addresses and certificates: what is trusted, and what never gets a connection."""

import ssl

import pytest
import trustme

from moothall.client import AddressError, CertificateUntrustedError
from moothall.client.address import parse_address
from moothall.client.trust import (
    Trust,
    certificate_text,
    fingerprint_of,
    is_same_fingerprint,
    make_tls,
)

AUTHORITY = trustme.CA()
LEAF = AUTHORITY.issue_cert("localhost").cert_chain_pems[0].bytes().decode()
OTHER = AUTHORITY.issue_cert("localhost").cert_chain_pems[0].bytes().decode()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("hall.example", "https://hall.example:8443"),
        ("hall.example:9", "https://hall.example:9"),
        ("https://hall.example", "https://hall.example:443"),
        ("https://Hall.Example:8443/", "https://hall.example:8443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_address(text: str, url: str) -> None:
    assert parse_address(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://hall.example",
        "https://",
        "https://hall.example:x",
        "https://hall.example:99999",
        "https://ann:secret@hall.example",
        "https://hall.example/path",
        "https://hall.example?x=1",
        "http://hall.example",
        "http://127.0.0.1.example",
        "http://10.0.0.1",
    ],
)
@pytest.mark.parametrize("insecure", [False, True])
def test_no_address(text: str, insecure: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with pytest.raises(AddressError):
        parse_address(text, insecure=insecure)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_plain_text_needs_loopback_and_a_word(host: str) -> None:
    with pytest.raises(AddressError, match="not encrypted"):
        parse_address(f"http://{host}:8080")
    assert not parse_address(f"http://{host}:8080", insecure=True).is_tls


def test_fingerprints_are_compared_as_people_write_them() -> None:
    shown = fingerprint_of(LEAF)
    assert shown.startswith("sha256:")
    digits = shown.removeprefix("sha256:").upper()
    colons = ":".join(digits[at : at + 2] for at in range(0, 64, 2))
    assert is_same_fingerprint(colons, shown)
    assert is_same_fingerprint(digits, shown)
    assert not is_same_fingerprint(shown, fingerprint_of(OTHER))
    assert not is_same_fingerprint("", shown)


@pytest.mark.parametrize("text", ["", "no certificate", LEAF[:-40], LEAF.replace("M", "*")])
def test_what_is_no_certificate_is_never_a_pin(text: str) -> None:
    with pytest.raises(CertificateUntrustedError):
        make_tls(Trust("pinned", text))


def handshake(trust: Trust, server_certificate: trustme.LeafCert) -> None:
    """Shake hands through memory."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_certificate.configure_cert(server_context)
    client_context = make_tls(trust)
    assert client_context is not None
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname="hall.example")
    server = server_context.wrap_bio(up, down, server_side=True)
    is_done = False
    while not is_done:
        is_done = True
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                is_done = False


@pytest.mark.requirement("R15")
def test_only_the_pinned_certificate_passes_the_handshake() -> None:
    pinned = AUTHORITY.issue_cert("localhost")
    pem = pinned.cert_chain_pems[0].bytes().decode()
    handshake(Trust("pinned", pem), pinned)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(Trust("pinned", pem), AUTHORITY.issue_cert("localhost"))


@pytest.mark.requirement("R15")
def test_pinned_chain_does_not_let_its_authority_in() -> None:
    pinned = AUTHORITY.issue_cert("localhost")
    chain = pinned.cert_chain_pems[0].bytes() + AUTHORITY.cert_pem.bytes()
    assert certificate_text(chain.decode()).count("BEGIN") == 1
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(Trust("pinned", chain.decode()), AUTHORITY.issue_cert("localhost"))
