"""What the wallet's files hold."""

import re
from typing import Literal, Self

import msgspec

from moothall.client.address import Address, parse_address
from moothall.client.store import IssuedToken, Session
from moothall.client.trust import Trust
from moothall.client.wallet.files import FORMAT

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


def is_server_name(text: str) -> bool:
    """Tell whether a server may be called so: the name also stands in names of files."""
    return _NAME.match(text) is not None


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hall that the wallet knows, and the account that is used there.

    Two entries may have one address: two sessions at an identity server, or one resource server
    with tokens of either.

    Attributes:
        url: Its address.
        trust: What proves that it is the one meant; see :class:`Trust`.
        certificate_pem: The pinned certificate.
        kind: Whether it opens sessions itself, or takes tokens of an identity server.
        issuer: The name in the tokens it takes; None where it was never asked.
        identity: The name here of the server whose session is used at a resource server.
    """

    url: str
    trust: Literal["pinned", "system", "insecure"]
    certificate_pem: str | None = None
    kind: Literal["identity", "resource"] = "identity"
    issuer: str | None = None
    identity: str | None = None

    def as_trust(self) -> Trust:
        """Return what proves that it is the one meant."""
        return Trust(self.trust, self.certificate_pem)

    @property
    def address(self) -> Address:
        """Where it answers."""
        return parse_address(self.url, insecure=self.trust == "insecure")

    def is_same_place(self, other: Self) -> bool:
        """Tell whether a session or token for one may be shown to the other."""
        return (self.url, self.trust, self.certificate_pem, self.kind, self.identity) == (
            other.url,
            other.trust,
            other.certificate_pem,
            other.kind,
            other.identity,
        )


class ServersFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``servers.json``: no secrets."""

    format: int = FORMAT
    current: str | None = None
    servers: dict[str, Server] = {}

    def users_of(self, name: str) -> list[str]:
        """Return the resource servers that use the session at an identity server."""
        return sorted(one for one, server in self.servers.items() if server.identity == name)


class SessionsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``sessions.json``: secrets, by the name of the server.

    Attributes:
        sessions: At identity servers; without refresh token where ``keyring`` has the name.
        keyring: Under which key the refresh token rests in the system's keyring.
        tokens: For resource servers.
    """

    format: int = FORMAT
    sessions: dict[str, Session] = {}
    keyring: dict[str, str] = {}
    tokens: dict[str, IssuedToken] = {}
