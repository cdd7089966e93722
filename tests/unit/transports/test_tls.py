import datetime as dt
import ipaddress
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from moothall.core.errors import ConfigurationError
from moothall.transports import tls
from moothall.transports.tls import CertificateFiles, ServerTls, ensure_certificate, fingerprint

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> bytes:
    """Do a handshake in memory; return the certificate that the client saw."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    seen = ours.getpeercert(binary_form=True)
    assert seen is not None
    return seen


def test_a_self_made_certificate_serves_this_machine(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", ["hall.example", "192.0.2.7", "0.0.0.0"], NOW)  # noqa: S104
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "hall.example"} <= set(names.get_values_for_type(x509.DNSName))
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address(address) for address in ("127.0.0.1", "::1", "192.0.2.7")
    }
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.not_valid_before_utc < NOW
    assert certificate.not_valid_after_utc > NOW + dt.timedelta(days=3_650)


def test_its_key_is_for_the_owner_only(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", [], NOW)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["tls"]


def test_a_second_start_keeps_it(tmp_path: Path) -> None:
    first = ensure_certificate(tmp_path / "tls", [], NOW)
    before = first.key.read_bytes(), first.certificate.read_bytes()
    second = ensure_certificate(tmp_path / "tls", ["other"], NOW)
    assert (second.key.read_bytes(), second.certificate.read_bytes()) == before


@pytest.mark.parametrize("damaged", ["certificate.pem", "key.pem"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN", b"\xff"])
def test_a_damaged_one_is_told_and_left_alone(
    tmp_path: Path, damaged: str, content: bytes | None
) -> None:
    files = ensure_certificate(tmp_path / "tls", [], NOW)
    path = tmp_path / "tls" / damaged
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="Restore the files"):
        ServerTls(ensure_certificate(tmp_path / "tls", [], NOW))
    assert (path.read_bytes() if path.exists() else None) == content
    assert files.certificate.parent == path.parent


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot write the certificate") as told:
        ensure_certificate(tmp_path / "nowhere" / "tls", [], NOW)
    assert str(tmp_path / "nowhere" / "tls") in str(told.value)
    assert f"make the folder {tmp_path / 'nowhere'}, or name another one" in str(told.value)


def test_something_else_in_its_place_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"Not a directory; .* move .*tls away"):
        ensure_certificate(tmp_path / "tls", [], NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["tls"], "no draft is left"
    assert (tmp_path / "tls").read_text() == "mine"


def test_a_start_that_comes_second_takes_the_certificate_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tls.make_certificate

    def make_late(*arguments: Any) -> tuple[bytes, bytes]:
        monkeypatch.setattr(tls, "make_certificate", make)
        ensure_certificate(tmp_path / "tls", [], NOW)
        return make(*arguments)

    monkeypatch.setattr(tls, "make_certificate", make_late)
    files = ensure_certificate(tmp_path / "tls", [], NOW)
    ServerTls(files)
    assert [path.name for path in tmp_path.iterdir()] == ["tls"]


def test_tls_is_1_3_at_least_and_shows_the_pinned_certificate(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", [], dt.datetime.now(dt.UTC))
    tls = ServerTls(files)
    trusting = ssl.create_default_context(cafile=files.certificate)
    for name in ("localhost", "127.0.0.1"):
        assert fingerprint(shake_hands(tls.context, trusting, name)) == tls.fingerprint
    assert tls.fingerprint.startswith("sha256:")
    assert len(tls.fingerprint) == len("sha256:") + 64
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake_hands(tls.context, trusting)


def test_ones_own_certificate_replaces_another_kind_while_it_runs(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path / "chain.pem", tmp_path / "key.pem")
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def place(kind: trustme.KeyType) -> bytes:
        issued = authority.issue_cert("localhost", "127.0.0.1", key_type=kind)
        files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        files.key.write_bytes(issued.private_key_pem.bytes())
        leaf = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        return leaf.public_bytes(serialization.Encoding.DER)

    first = place(trustme.KeyType.ECDSA)
    tls = ServerTls(files)
    assert shake_hands(tls.context, trusting) == first
    assert not tls.has_changed()
    assert not tls.reload()
    for kind in (trustme.KeyType.RSA, trustme.KeyType.ECDSA):
        renewed = place(kind)
        assert tls.has_changed()
        assert tls.reload()
        assert tls.fingerprint == fingerprint(renewed)
        for name in ("localhost", "127.0.0.1"):
            assert shake_hands(tls.context, trusting, name) == renewed


def test_a_bad_renewal_keeps_the_old_one(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", [], dt.datetime.now(dt.UTC))
    tls = ServerTls(files)
    trusting = ssl.create_default_context(cafile=files.certificate)
    other = ensure_certificate(tmp_path / "other", [], NOW)
    files.key.write_bytes(other.key.read_bytes())
    with pytest.raises(ConfigurationError):
        tls.reload()
    assert fingerprint(shake_hands(tls.context, trusting)) == tls.fingerprint
    files.key.unlink()
    assert not tls.has_changed()


def test_a_key_with_a_password_is_told(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", [], NOW)
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hush"),
        )
    )
    with pytest.raises(ConfigurationError, match="password"):
        ServerTls(files)
