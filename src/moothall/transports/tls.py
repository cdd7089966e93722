"""Certificates and the server side of TLS, for every door (R30).

TLS 1.3 at least; no early data (Python's ssl has none) and no session tickets, so nothing of
a connection can be replayed or resumed. A hall without a certificate of its own makes one at
its first start; clients then pin its fingerprint (R15). What is there is never overwritten:
a new key would look like an attack to every client.
"""

import contextlib
import datetime as dt
import hashlib
import ipaddress
import os
import secrets
import shutil
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moothall.core.disk import describe_failure, sync_path
from moothall.core.errors import ConfigurationError

CERTIFICATE_NAME = "certificate.pem"
KEY_NAME = "key.pem"
VALID_DAYS = 3_652
CLOCK_SKEW = dt.timedelta(days=1)
"""A client whose clock is a little behind must not refuse a fresh certificate."""
NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where certificate (with its chain) and private key lie, both PEM."""

    certificate: Path
    key: Path


def fingerprint(certificate_der: bytes) -> str:
    """Return the name by which clients pin a certificate: ``sha256:`` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(certificate_der).hexdigest()}"


def ensure_certificate(folder: Path, hosts: Iterable[str], now: dt.datetime) -> CertificateFiles:
    """Return the hall's self-made certificate in ``folder``, made if there is none.

    Both files appear at once, by renaming a folder, so that a crash leaves none or both, and
    of two halls that start together both use the same.

    Args:
        folder: ``<data>/tls``; its parent exists.
        hosts: Names and addresses it is valid for, beside this machine's own.
        now: Time zone aware.

    Raises:
        ConfigurationError: One of both is missing or cannot be used; it is left as it is.
    """
    files = CertificateFiles(folder / CERTIFICATE_NAME, folder / KEY_NAME)
    if not _is_there(files):
        certificate, key = make_certificate([*NAMES, socket.gethostname(), *hosts], now)
        _place(folder, {CERTIFICATE_NAME: certificate, KEY_NAME: key})
    return files


def _is_there(files: CertificateFiles) -> bool:
    """Tell whether there is anything in the place of one of the files."""
    try:
        return files.certificate.exists() or files.key.exists()
    except OSError as error:
        raise _unusable(files.certificate, error.strerror or "cannot be read", files.key) from error


def make_certificate(hosts: Iterable[str], now: dt.datetime) -> tuple[bytes, bytes]:
    """Return a self-signed certificate for ``hosts`` and its EC P-256 key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Moothall")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    """Return the subject alternative names of ``hosts``, each once."""
    names: dict[str, x509.GeneralName] = {}
    for host in hosts:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # A host name beyond ASCII that IDNA does not know has no certificate either.
            with contextlib.suppress(UnicodeError):
                text = host.rstrip(".").encode("idna").decode("ascii").lower()
                if text:
                    names.setdefault(text, x509.DNSName(text))
        else:
            if not address.is_unspecified:
                names.setdefault(str(address), x509.IPAddress(address))
    return list(names.values())


def _place(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files into a new folder, durably and all at once, readable by the owner only."""
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.new")
    try:
        draft.mkdir(mode=0o700)
        for name, content in contents.items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(draft / name, flags, 0o600), "wb") as file:  # noqa: PTH123 - flags
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_path(draft)
        try:
            draft.rename(folder)
        except OSError:
            if not (folder / CERTIFICATE_NAME).exists():
                raise
            # Another start has filled the folder meanwhile; theirs is as good.
        sync_path(folder.parent)
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: cannot write the certificate: {describe_failure(error, folder)}; "
            "or give a certificate and a key of your own"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class ServerTls:
    """The server side of TLS with a certificate that can be renewed while it runs.

    Attributes:
        context: What doors accept with; it stays the same object.
        fingerprint: Of the certificate that new connections see.
    """

    def __init__(self, files: CertificateFiles, *, alpn: tuple[str, ...] = ()) -> None:
        """Load the certificate.

        Raises:
            ConfigurationError: A file is missing, damaged, locked by a password, or the key
                belongs to another certificate.
        """
        self._files = files
        self._alpn = alpn
        self._stamp = self._read_stamp()
        self._current, self.fingerprint = self._load()
        self.context = self._current
        # Each new handshake takes what is current. Loading into the context itself would
        # keep an old certificate beside a new one of another kind (RSA, EC).
        self.context.sni_callback = self._choose

    def reload(self) -> bool:
        """Take the certificate as it is now, for new connections; tell whether it is another.

        Raises:
            ConfigurationError: It cannot be used; the old one goes on being used.
        """
        stamp = self._read_stamp()
        current, name = self._load()
        is_new = name != self.fingerprint
        self._stamp, self._current, self.fingerprint = stamp, current, name
        return is_new

    def has_changed(self) -> bool:
        """Tell whether the files were written since they were last loaded."""
        try:
            return self._read_stamp() != self._stamp
        except ConfigurationError:
            # Between removing and writing; the next look will see it.
            return False

    def _choose(self, connection: object, _name: str | None, _context: ssl.SSLContext) -> None:
        assert isinstance(connection, ssl.SSLObject | ssl.SSLSocket)
        connection.context = self._current

    def _read_stamp(self) -> tuple[tuple[int, int, int], ...]:
        stats = []
        for path in (self._files.certificate, self._files.key):
            try:
                stat = path.stat()
            except OSError as error:
                raise _unusable(path, error.strerror or "cannot be read") from error
            stats.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
        return tuple(stats)

    def _load(self) -> tuple[ssl.SSLContext, str]:
        """Return a context with the certificate, and its fingerprint."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
        if self._alpn:
            context.set_alpn_protocols(list(self._alpn))
        certificate, key = self._files.certificate, self._files.key
        try:
            text = certificate.read_text("ascii")
            der = ssl.PEM_cert_to_DER_cert(_first_block(text))
            context.load_cert_chain(certificate, key, password=_refuse_password)
        except ssl.SSLError as error:
            reason = f"certificate and key do not load: {error.reason or error}"
            raise _unusable(certificate, reason, key) from error
        except (OSError, ValueError) as error:
            raise _unusable(certificate, str(error), key) from error
        return context, fingerprint(der)


def _first_block(text: str) -> str:
    """Return the first certificate of a chain: the server's own.

    Raises:
        ValueError: There is none.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    if begin not in text or end not in text:
        raise ValueError("it holds no PEM certificate")
    return begin + text.partition(begin)[2].partition(end)[0] + end


def _refuse_password() -> str:
    # Without this, OpenSSL would ask at the terminal, where there may be none.
    raise ValueError("the key is locked by a password; give one without")


def _unusable(path: Path, reason: str, *others: Path) -> ConfigurationError:
    files = " and ".join(map(str, (path, *others)))
    return ConfigurationError(
        f"{files}: {reason}. Nothing was changed. Restore the files from a backup; or remove "
        "them to start with a new self-made certificate, which every client must then accept"
    )
