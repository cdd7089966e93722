"""How a client knows that it speaks to the right hall.

A hall makes its own certificate at first start, so names and authorities prove little:
the certificate itself is pinned. It is then the only one trusted, and a hall that shows
another fails inside the TLS handshake, before a single byte of a call (and so of a
password or token) is sent. A hall with a certificate of its own domain can be trusted
through the system's authorities instead.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from moothall.client.address import Address
from moothall.client.errors import (
    CertificateChangedError,
    CertificateUntrustedError,
    HallUnreachableError,
)

FINGERPRINT_PREFIX = "sha256:"

_PEEK_TIMEOUT_S = 10.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[Address, ssl.SSLContext | None], Awaitable[Streams]]
"""Opens a connection, after its TLS handshake where there is a context."""


async def connect(address: Address, context: ssl.SSLContext | None) -> Streams:
    """Open a connection by the network.

    Raises:
        OSError: Nobody answers there, or the handshake failed (``ssl.SSLError``).
    """
    if context is None:
        return await asyncio.open_connection(address.host, address.port)
    return await asyncio.open_connection(
        address.host,
        address.port,
        ssl=context,
        server_hostname=address.host,
        ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S,
        # Whoever closes does not wait for the word of a hall that may be dead.
        ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT_S,
    )


_HANDSHAKE_TIMEOUT_S = 10.0
_SHUTDOWN_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Pin:
    """By what a hall is to be known; without either, by an authority of the system."""

    certificate_pem: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """What proves that a hall is the one meant.

    Attributes:
        kind: ``pinned`` (this certificate and no other), ``system`` (an authority
            that the system trusts) or ``insecure`` (plain text to this machine).
        certificate_pem: The pinned certificate.
    """

    kind: Literal["pinned", "system", "insecure"]
    certificate_pem: str | None = None

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the pinned certificate."""
        return None if self.certificate_pem is None else fingerprint_of(self.certificate_pem)


class TrustFinder:
    """Finds once what proves that a hall is the one meant; all its doors show the same."""

    def __init__(self, pin: Pin, connect: Connect = connect) -> None:
        self._pin = pin
        self._connect = connect
        self._found: Trust | None = None
        self._finding = asyncio.Lock()

    async def find(self, address: Address) -> Trust:
        """Return it; a fingerprint is compared with the certificate shown, and then pinned.

        Raises:
            CertificateUntrustedError: The hall shows another certificate.
            HallUnreachableError: Nobody answers there.
        """
        if not address.is_tls:
            return Trust("insecure")
        async with self._finding:
            if self._found is None:
                self._found = await self._look(address)
            return self._found

    async def explain(self, address: Address, trust: Trust, reason: str) -> Exception:
        """Return what to tell after a handshake that failed on the certificate."""
        return await explain_refusal(address, trust, reason, self._connect)

    async def _look(self, address: Address) -> Trust:
        if self._pin.certificate_pem is not None:
            return Trust("pinned", self._pin.certificate_pem)
        if self._pin.fingerprint is None:
            return Trust("system")
        shown = await fetch_certificate(address, self._connect)
        check_fingerprint(address, self._pin.fingerprint, shown)
        return Trust("pinned", shown)


def check_fingerprint(address: Address, expected: str, certificate_pem: str) -> None:
    """Refuse a certificate that has not the fingerprint expected.

    Raises:
        CertificateUntrustedError: It has another one.
    """
    shown = fingerprint_of(certificate_pem)
    if not is_same_fingerprint(expected, shown):
        raise CertificateUntrustedError(
            f"{address.url} shows another certificate than the expected one",
            "ask the operator of the hall for the fingerprint",
            expected=expected,
            shown=shown,
        )


def fingerprint_of(certificate_pem: str) -> str:
    """Return ``sha256:`` and the hexadecimal SHA-256 of the certificate in DER form.

    Raises:
        CertificateUntrustedError: The text is no certificate.
    """
    try:
        der = ssl.PEM_cert_to_DER_cert(certificate_pem.strip())
    except ValueError:
        raise CertificateUntrustedError("the pinned text is no PEM certificate") from None
    return FINGERPRINT_PREFIX + hashlib.sha256(der).hexdigest()


def is_same_fingerprint(left: str, right: str) -> bool:
    """Compare fingerprints as people write them: upper case, with colons or spaces."""
    return _plain(left) == _plain(right)


def _plain(fingerprint: str) -> str:
    text = fingerprint.strip().lower().removeprefix(FINGERPRINT_PREFIX)
    return text.replace(":", "").replace(" ", "")


def make_tls(trust: Trust) -> ssl.SSLContext | None:
    """Return the TLS context for a hall, or None for plain text.

    Raises:
        CertificateUntrustedError: The pinned text is no certificate.
    """
    if trust.kind == "insecure":
        return None
    if trust.certificate_pem is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The certificate itself is checked, byte for byte, which says more than a name in it.
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=certificate_text(trust.certificate_pem))
    except (ssl.SSLError, ValueError):
        raise CertificateUntrustedError("the pinned text is no PEM certificate") from None
    # A leaf may be the anchor. Without this an authority would have to stand above it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def certificate_text(certificate_pem: str) -> str:
    """Return the first certificate of a PEM text alone.

    A chain also names authorities; as anchors they would let in every certificate
    that they sign.
    """
    end = "-----END CERTIFICATE-----"
    start = certificate_pem.find("-----BEGIN CERTIFICATE-----")
    stop = certificate_pem.find(end)
    if start < 0 or stop < start:
        raise CertificateUntrustedError("the pinned text is no PEM certificate")
    return certificate_pem[start : stop + len(end)] + "\n"


async def fetch_certificate(address: Address, connect: Connect = connect) -> str:
    """Return the certificate that a hall shows, as PEM. Proves nothing; sends nothing.

    Raises:
        HallUnreachableError: Nobody answers there, or not with TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_PEEK_TIMEOUT_S):
            _, writer = await connect(address, context)
    except ssl.SSLError as error:
        raise HallUnreachableError(
            f"{address.url} does not answer with TLS: {error.reason or error}",
            "a hall served with --insecure is reached by http:// and --insecure",
        ) from error
    except (OSError, TimeoutError) as error:
        raise unreachable(address, error) from error
    shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
    der = shown.getpeercert(binary_form=True)
    writer.transport.abort()
    if not der:
        raise HallUnreachableError(f"{address.url} shows no certificate")
    return ssl.DER_cert_to_PEM_cert(der)


async def is_certified(address: Address) -> bool:
    """Tell whether an authority that the system trusts vouches for this hall.

    Raises:
        HallUnreachableError: Nobody answers there.
    """
    try:
        async with asyncio.timeout(_PEEK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=ssl.create_default_context()
            )
    except ssl.SSLError:
        return False
    except (OSError, TimeoutError) as error:
        raise unreachable(address, error) from error
    writer.transport.abort()
    return True


def unreachable(address: Address, error: BaseException) -> HallUnreachableError:
    """Return the error for an address where nobody answers."""
    reason = str(error).strip() or type(error).__name__
    return HallUnreachableError(
        f"no hall answers at {address.url} ({reason})",
        "check the address and that the hall is running",
    )


async def explain_refusal(
    address: Address, trust: Trust, reason: str, connect: Connect = connect
) -> CertificateUntrustedError:
    """Return what to tell after a handshake that failed on the certificate."""
    pinned = trust.fingerprint
    if pinned is None:
        return CertificateUntrustedError(
            f"no authority vouches for {address.url} ({reason})",
            "pin its certificate: moothall server add NAME URL --fingerprint sha256:...",
        )
    try:
        shown = fingerprint_of(await fetch_certificate(address, connect))
    except HallUnreachableError:
        shown = "unknown"
    if shown == pinned:
        return CertificateUntrustedError(
            f"the pinned certificate of {address.url} is not valid any more ({reason})",
            "ask the operator of the hall to renew it, then pin the new one",
            pinned=pinned,
        )
    return CertificateChangedError(
        f"{address.url} shows another certificate than the pinned one",
        "ask the operator for the fingerprint; if it is the shown one, pin it: "
        "moothall server edit NAME --fingerprint sha256:...",
        pinned=pinned,
        shown=shown,
    )
